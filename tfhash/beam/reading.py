"""How a worker reads and encodes the inputs of a shard."""

import functools

import numpy as np
import tensorflow as tf

from tfhash import data
from tfhash.beam import storage
from tfhash.beam.elements import Bad
from tfhash.errors import in_words, translated
from tfhash.text import escaped

# Bytes of files that are in memory at a time, and not decoded: some photos.
_MOST_BYTES = 2**26

# Names of the feature with the image, where none is given.
IMAGE_KEYS = ("image/encoded", "image")


def encode_shard(encoder, source, entries, batch_size):
    """Encodes the inputs of a shard.

    Args:
        encoder: `Encoder`.
        source, entries: Of `tfhash.beam.inputs.Inputs`.
        batch_size: Images that go through the model at a time.

    Returns:
        A list of `Code` and a list of `Bad`.
    """
    reading = {"files": _files, "records": _records, "dataset": _dataset}[source["kind"]]
    codes, bad = [], []
    for names, images, left_out in reading(encoder, source, entries, batch_size):
        codes += encoder.encode_images(names, images, batch_size)
        bad += left_out
    return codes, bad


def _files(encoder, source, entries, batch_size):
    def contents():
        for name, size, _ in entries:
            try:
                yield name, storage.read(storage.join(source["root"], name)), size
            except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
                yield name, Bad(name, error.strerror or str(error)), 0
            except OSError as error:
                # A disk or a network that may work again: the shard stays to be made.
                raise OSError(
                    f"{escaped(name)} could not be read: {error.strerror or error}. Give the same "
                    "command again, without `overwrite`"
                ) from error

    return _decoded(encoder, contents(), batch_size)


def _records(encoder, source, entries, batch_size):
    def contents():
        for path, *_ in entries:
            with storage.local_copy(storage.join(source["root"], path)) as copy:
                packed = "GZIP" if path.endswith(".gz") else None
                records = tf.data.TFRecordDataset(str(copy), packed).as_numpy_iterator()
                number = -1
                try:
                    for number, record in enumerate(records):
                        yield _image_of(record, f"{path}/{number}", source)
                except tf.errors.OpError as error:
                    reason = f"the file is damaged after {number + 1:,} records: {in_words(error)}"
                    yield path, Bad(path, reason), 0

    return _decoded(encoder, contents(), batch_size)


def _image_of(record, name, source):
    """Name, file and size of the image of an example."""
    try:
        feature = tf.train.Example.FromString(record).features.feature
    except Exception:  # that of the installed protobuf
        return name, Bad(name, "the record is not a tf.train.Example"), 0

    def value_of(key):
        found = list(feature[key].bytes_list.value) if key in feature else []
        return found[0] if len(found) == 1 else None

    if source["name_key"] is not None:
        found = value_of(source["name_key"])
        if found is None:
            reason = f"the example has no feature {source['name_key']!r} of one value of bytes"
            return name, Bad(name, reason), 0
        name = found.decode("utf-8", "surrogateescape")
    keys = IMAGE_KEYS if source["image_key"] is None else (source["image_key"],)
    image = next((found for key in keys if (found := value_of(key)) is not None), None)
    if image is None:
        reason = f"the example has no feature {' or '.join(map(repr, keys))} of one value of bytes"
        return name, Bad(name, reason), 0
    return name, image, len(image)


def _decoded(encoder, contents, batch_size):
    """Names, images and `Bad` of batches of files.

    Args:
        encoder: `Encoder`.
        contents: Iterable of name, bytes (or `Bad`) and size.
        batch_size: Files of a batch.
    """
    names, images, bad = [], [], []
    files: list[tuple[str, bytes]] = []
    taken = waiting = 0

    def decode():
        found, decoded, left_out = encoder.decode(files)
        names.extend(found)
        images.append(decoded)
        bad.extend(left_out)
        files.clear()

    for name, found, size in contents:
        if isinstance(found, Bad):
            bad.append(found)
            continue
        files.append((name, found))
        taken, waiting = taken + 1, waiting + size
        if taken == batch_size or waiting >= _MOST_BYTES:
            decode()
            waiting = 0
        if taken == batch_size:
            yield names, np.concatenate(images), bad
            names, images, bad, taken = [], [], [], 0
    decode()
    yield names, np.concatenate(images), bad


def _dataset(encoder, source, entries, batch_size):
    split = _load(source["dataset"], encoder.model.image_shape, source["split"], source["data_dir"])
    for first, end in entries:
        for start in range(first, end, batch_size):
            part = split.pick(np.arange(start, min(start + batch_size, end)))
            with translated():
                images = part.images()
            yield part.names, images, []


@functools.cache
def _load(dataset, image_shape, split, data_dir):
    return data.load_images(dataset, image_shape, split, data_dir)[0]
