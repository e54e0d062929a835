"""What is encoded: a list of inputs, in an order that depends on them alone.

An input is a list of JSON values: the name, size and time of change of a file, or the first and last
item of a part of a dataset.
"""

import dataclasses
import hashlib
import os
import re

from tfhash import data
from tfhash.beam import storage
from tfhash.beam.extra import apache_beam as beam
from tfhash.data.formats import why_left_out

_WILDCARD = re.compile(r"[*?\[]")


@dataclasses.dataclass(frozen=True)
class Inputs:
    """A list of inputs.

    Attributes:
        source: What a worker needs to read them, a dictionary of JSON values.
        folder: Absolute path of the folder that names begin in; "" if there is none.
        shards: The inputs of each shard, a list of lists.
        left_out: `tfhash.data.LeftOut` of what was found beside them.
    """

    source: dict
    folder: str
    shards: list[list[list]]
    left_out: list = dataclasses.field(default_factory=list)

    @property
    def digest(self):
        """SHA-256 of the names of all inputs."""
        digest = hashlib.sha256()
        for shard in self.shards:
            for name, *_ in shard:
                digest.update(str(name).encode("utf-8", "surrogateescape") + b"\0")
        return digest.hexdigest()


def of_images(images, shard_size):
    """Image files in a folder, or those that match a pattern.

    Args:
        images: Path of a folder, or a pattern: `*` stands for any characters but `/`, and `**` for any.
        shard_size: Inputs of a shard.

    Returns:
        `Inputs`.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If there are no images.
    """
    root, pattern = _divide(images)
    found, left_out = (_local if storage.is_local(root) else _remote)(root)
    if pattern:
        matching = re.compile(beam.io.filesystem.FileSystem.translate_pattern(pattern))
        found = [entry for entry in found if matching.match(entry[0])]
        left_out = [item for item in left_out if matching.match(item.name)]
    if not found:
        raise ValueError(f"`images` must match image files. There are none: {images}")
    folder = os.path.realpath(root) if storage.is_local(root) else root
    return Inputs({"kind": "files", "root": folder}, folder, _divided(found, shard_size), left_out)


def of_records(records, image_key, name_key):
    """TFRecord files of `tf.train.Example`, each a shard.

    Args:
        records: Path or pattern, as in `of_images`.
        image_key: Feature that holds the file of an image.
        name_key: Feature that holds its name; `None` for `FILE/NUMBER`.

    Raises:
        FileNotFoundError: If there are none.
        ValueError: If it is a folder.
    """
    if storage.is_local(records):
        if os.path.isdir(records):
            raise ValueError(
                f"`records` must be a file or a pattern, such as {os.path.join(records, '*')}. "
                f"Received: the folder {records}"
            )
        records = os.path.abspath(records)
    root, pattern = _divide(records)
    if not pattern:
        root = os.path.dirname(records)
    (match,) = beam.io.filesystems.FileSystems.match([records])
    found = sorted(
        (file.path, file.size_in_bytes, int(1e9 * file.last_updated_in_seconds))
        for file in match.metadata_list
    )
    if not found:
        raise FileNotFoundError(f"`records` must match TFRecord files. There are none: {records}")
    entries = [[path.removeprefix(root).lstrip("/"), *stamp] for path, *stamp in found]
    source = {"kind": "records", "root": root, "image_key": image_key, "name_key": name_key}
    return Inputs(source, "", [[entry] for entry in entries])


def of_dataset(dataset, split, data_dir, image_shape, shard_size):
    """A dataset of tensorflow-datasets, or the digits.

    Args:
        dataset, split, data_dir: As `source`, `split` and `data_dir` of `tfhash.data.load_images`.
        image_shape: `(height, width, channels)`.
        shard_size: Images of a shard.
    """
    count = len(data.load_images(dataset, image_shape, split, data_dir)[0])
    source = {"kind": "dataset", "dataset": dataset, "split": split, "data_dir": data_dir}
    parts = [[[i, min(i + shard_size, count)]] for i in range(0, count, shard_size)]
    return Inputs(source, "", parts)


def _divide(pattern):
    """The folder before the first wildcard, and the pattern below it; "" where there is no wildcard.

    A folder of this machine is none, whatever characters its name has.
    """
    if storage.is_local(pattern) and os.path.isdir(pattern):
        return pattern, ""
    wildcard = _WILDCARD.search(pattern)
    if wildcard is None:
        return (pattern if storage.is_local(pattern) else pattern.rstrip("/")), ""
    root = pattern[: wildcard.start()].rpartition("/")[0]
    rest = pattern[len(root) :].lstrip("/") if root else pattern
    return root or ("/" if pattern.startswith("/") else "."), rest


def _local(root):
    files = data.ImageFiles.below(root)
    return [[name, *files.stamps[name]] for name in files.names], files.left_out


def _remote(root):
    (match,) = beam.io.filesystems.FileSystems.match([f"{root}/**"])
    found, left_out = [], []
    for file in match.metadata_list:
        name = file.path.removeprefix(f"{root}/")
        if reason := why_left_out(name):
            left_out.append(data.LeftOut(name, reason))
        else:
            stamp = file.size_in_bytes, int(1e9 * file.last_updated_in_seconds)
            found.append([name, *stamp])
    return sorted(found, key=lambda entry: entry[0].split("/")), left_out


def _divided(entries, size):
    return [entries[i : i + size] for i in range(0, len(entries), size)]
