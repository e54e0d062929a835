"""Items of tensorflow-datasets by index.

Prepared datasets are TFRecord files, which store only the length of each record. The files are scanned
once for the start of each record; then any item takes one read. Unlike holding the encoded images in
memory, this works for a dataset of any size.
"""

import mmap
import os
import struct

import numpy as np
import tensorflow as tf

from tfhash.data.decoding import decode_image, on_background, to_uint8
from tfhash.data.images import decode_and_resize
from tfhash.data.sources import Source

# Before a record: its length and a checksum of the length. After it: a checksum of its bytes.
_LENGTH = struct.Struct("<Q")
_BEFORE_RECORD, _AFTER_RECORD = 12, 4

# Records whose labels are parsed at a time.
_CHUNK = 1024


class RecordSource(Source):
    """Items of splits of a prepared dataset of tensorflow-datasets, in their prepared order.

    Color images that differ in size are decoded as files are, large JPEGs at reduced size; those of
    one size as tensorflow-datasets does.

    Args:
        builder: Its builder.
        splits: Expressions of splits, as `"train"` or `"test[:10%]"`; their items follow each other.
        label_key: Feature that holds the labels; see `find_label_feature`. With `None`, there are none.
        is_read_once: As in `Source`.

    Raises:
        ValueError: If the images are not of integers, or the files not TFRecords.
    """

    def __init__(self, builder, splits, label_key, is_read_once=False):
        import tensorflow_datasets as tfds

        self._label_key = label_key
        self._features = builder.info.features
        images = self._features["image"]
        dtype = tf.as_dtype(images.np_dtype)
        if dtype not in (tf.uint8, tf.uint16):
            raise ValueError(
                f"the images of {builder.name!r} must be uint8 or uint16, whose range is known. "
                f"Received: {dtype.name}"
            )
        if builder.info.file_format != tfds.core.FileFormat.TFRECORD:
            raise ValueError(
                f"the dataset {builder.name!r} must be prepared as TFRecord files. "
                f"Received: {builder.info.file_format.value}"
            )
        # Not a class derived from it, which may store something else.
        self.are_files = (
            type(images) is tfds.features.Image
            and dtype == tf.uint8
            and images.shape == (None, None, 3)
        )
        self._paths: list[str] = []
        files, starts, lengths, names = [], [], [], []
        for split in splits:
            for file in builder.info.splits[split].file_instructions:
                found = _find_records(file.filename)
                end = None if file.take == -1 else file.skip + file.take
                found = found[file.skip : end]
                files.append(np.full(len(found), len(self._paths)))
                starts.append(found[:, 0])
                lengths.append(found[:, 1])
                self._paths.append(os.fspath(file.filename))
            names += [f"{builder.name}/{item}" for item in _item_ids(builder, split)]
        self._files, self._starts, self._lengths = map(np.concatenate, (files, starts, lengths))
        labels = np.full(len(names), -1)
        if label_key is not None:
            feature, self._is_sequence = find_label_feature(builder, label_key)
            self._num_classes = feature.num_classes
            chunks = range(0, len(names), _CHUNK)
            labels = np.concatenate(
                [self._labels(np.arange(i, min(i + _CHUNK, len(names)))) for i in chunks]
            )
        super().__init__(names, labels, is_read_once)

    def image(self, index):
        record = self._record(index)
        if self.are_files:
            return decode_image(_contents(record))
        image = to_uint8(self._features.deserialize_example(record)["image"])
        return on_background(image) if image.shape[-1] == 4 else image

    def resized_image(self, index, image_shape):
        if self.are_files:
            return decode_and_resize(_contents(self._record(index)), image_shape, self.keep_aspect)
        return super().resized_image(index, image_shape)

    def _record(self, index):
        return tf.ensure_shape(tf.numpy_function(self._read, [index], tf.string), ())

    def _read(self, index):
        with open(self._paths[self._files[index]], "rb") as file:
            file.seek(self._starts[index])
            return file.read(self._lengths[index])

    def _labels(self, indices):
        """Integers `[n]`, or multi-hot `[n, C]` of sequences; a negative label means none."""
        key = {self._label_key: tf.io.VarLenFeature(tf.int64)}
        records = [self._read(index) for index in indices]
        found = tf.io.parse_example(records, key)[self._label_key]
        items, labels = found.indices.numpy()[:, 0], found.values.numpy()
        if not self._is_sequence:
            return labels
        marks = np.zeros((len(records), self._num_classes), "uint8")
        marks[items[labels >= 0], labels[labels >= 0]] = 1
        return marks


def find_label_feature(builder, key):
    """A feature of a dataset that holds labels.

    Args:
        builder: Its builder.
        key: Name of the feature, with `/` between those of nested ones.

    Returns:
        `(feature, is_sequence)`: the `tfds.features.ClassLabel`, and whether an item has a sequence
        of them.

    Raises:
        ValueError: If there is no such feature, or it holds something else.
    """
    known = _label_features(builder.info.features)
    if key not in known:
        raise ValueError(
            f"`label_key` must be a feature of {builder.name!r} that holds class labels: "
            f"{', '.join(known) or 'it has none'}. Received: label_key={key!r}"
        )
    return known[key]


def label_keys(builder):
    """Names of the features of a dataset that hold class labels."""
    return list(_label_features(builder.info.features))


def _label_features(feature, name="", depth=0):
    import tensorflow_datasets as tfds

    if isinstance(feature, tfds.features.ClassLabel):
        # A sequence of sequences is stored in another way.
        return {name: (feature, depth > 0)} if depth < 2 and feature.num_classes else {}
    if (
        type(feature) is tfds.features.Sequence
    ):  # not what derives from it, which is stored otherwise
        return _label_features(feature.feature, name, depth + 1)
    if isinstance(feature, tfds.features.FeaturesDict):
        found: dict[str, tuple] = {}
        for key, inner in feature.items():
            found |= _label_features(inner, f"{name}/{key}" if name else key, depth)
        return found
    return {}


def image_shape_of(builder, size):
    """Shape of the images of a dataset as they are loaded, brought to `size` where it is given."""
    height, width, channels = builder.info.features["image"].shape
    # Alpha is composited on the background.
    return (*(size or (height, width)), 3 if channels == 4 else channels)


def _contents(record):
    """The encoded image of a record."""
    return tf.io.parse_single_example(record, {"image": tf.io.FixedLenFeature((), tf.string)})[
        "image"
    ]


def _item_ids(builder, split):
    """`SPLIT/NUMBER` of every item of a split or of slices of splits."""
    import tensorflow_datasets as tfds

    infos = builder.info.splits
    for part in tfds.core.ReadInstruction.from_spec(split).to_absolute(infos):
        # An open end of a slice stays open here.
        end = infos[part.splitname].num_examples if part.to is None else part.to
        for i in range(part.from_ or 0, end):
            yield f"{part.splitname}/{i}"


def _find_records(path):
    """Start and length of every record of a TFRecord file, `int64 [n, 2]`."""
    found, position, size = [], 0, os.path.getsize(path)
    if size:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            while position + _BEFORE_RECORD <= size:
                (length,) = _LENGTH.unpack_from(data, position)
                found.append((position + _BEFORE_RECORD, length))
                position += _BEFORE_RECORD + length + _AFTER_RECORD
    if position != size:
        raise ValueError(f"{path} is damaged: a record ends beyond the file. Prepare it again")
    return np.array(found, "int64").reshape(-1, 2)
