"""Codes in a directory of shards, as `tfhash encode --runner` writes them.

| file | holds |
| --- | --- |
| `manifest.json` | bits, model, number of shards, and whether all are there |
| `codes-00000-of-00008.parquet`, ... | columns `id`, `name` and `code` |

Parquet needs pyarrow; shards of TFRecords need TensorFlow.
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Iterator

import numpy as np

from tfhash.index.shard_files import CodeBlock, read_shard
from tfhash.index.storage import DamagedFileError, IndexFileError, OtherModelError

__all__ = [
    "CodeBlock",
    "Manifest",
    "add_shards",
    "blocks",
    "complete_manifest",
    "id_of",
    "read_manifest",
]

FORMAT, VERSION = "tfhash.codes", 1
MANIFEST = "manifest.json"

# Items that `add_shards` adds at a time, at least: an engine takes a statement for each portion.
PORTION = 50_000
# Ids that are compared with each other at a time: half a gigabyte.
COMPARED = 2**26


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a directory of codes says of itself.

    Attributes:
        bits: Length of a code.
        model: Fingerprint of the model, see `tfhash.models.fingerprint`.
        model_path: Absolute path of its run or `.keras` file.
        folder: Absolute path of the folder that names begin in; "" if there is none.
        source: What was encoded, a dictionary.
        inputs: SHA-256 of the names of all inputs.
        file_format: One of `shard_files.FILE_FORMATS`.
        shards: Number of shards.
        complete: Whether all shards are there.
        items, bad: Numbers of codes, and of images that could not be read; 0 until it is complete.

    `read_manifest` returns it and has an example.
    """

    bits: int
    model: str
    model_path: str
    folder: str
    source: dict
    inputs: str
    file_format: str
    shards: int
    complete: bool = False
    items: int = 0
    bad: int = 0

    def to_json(self):
        """The manifest as text."""
        values = {"format": FORMAT, "version": VERSION, **dataclasses.asdict(self)}
        return json.dumps(values, indent=2) + "\n"

    @classmethod
    def from_json(cls, text, where):
        """Reads what `to_json` wrote.

        Args:
            text: The text.
            where: The file, for messages.

        Raises:
            IndexFileError: If it is something else, or of a newer version.
        """
        try:
            values = json.loads(text)
            known = values.pop("format") == FORMAT
            version = int(values.pop("version"))
        except (ValueError, KeyError, TypeError, AttributeError):
            known, version, values = False, 0, {}
        if version > VERSION:
            raise IndexFileError(
                f"{where} has version {version} of the format, and this tfhash reads up to "
                f"{VERSION}. Update tfhash"
            )
        fields = {field.name: field.type for field in dataclasses.fields(cls)}
        if not known or {name: type(value) for name, value in values.items()} != fields:
            raise IndexFileError(
                f"{where} is not the manifest of a directory of codes, or damaged. Give a directory "
                "that `tfhash encode --runner` wrote"
            )
        return cls(**values)

    def files(self):
        """Names of the shards, in their order."""
        return [shard_name(i, self.shards, self.file_format) for i in range(self.shards)]


def id_of(name):
    """The id of an item: the first 63 bits of SHA-256 of its name.

    So ids depend on names alone, not on workers, on the order of images or on other images.

    Args:
        name: A string.

    Returns:
        An integer from 0 to 2^63 - 1.

    Example:

    >>> id_of("deep/a.jpg")
    8532538120055653425
    """
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def shard_name(number, shards, file_format):
    """File name of a shard.

    Args:
        number: Which shard, from 0.
        shards: Number of shards.
        file_format: One of `shard_files.FILE_FORMATS`; any other ending for what belongs to a shard.

    Example:

    >>> shard_name(3, 128, "parquet")
    'codes-00003-of-00128.parquet'
    """
    return f"codes-{number:05d}-of-{shards:05d}.{file_format}"


def read_manifest(path):
    """Reads the manifest of a directory of codes.

    Args:
        path: The directory.

    Returns:
        `Manifest`.

    Raises:
        FileNotFoundError: If there is none.
        IndexFileError: If it is something else, or of a newer version.

    Example:

        tfhash.index.shards.read_manifest("codes/").items
    """
    file = pathlib.Path(path) / MANIFEST
    if not file.is_file():
        raise FileNotFoundError(
            f"{path} must be a directory of codes that `tfhash encode --runner` wrote. There is no "
            f"{file}"
        )
    return Manifest.from_json(file.read_text(encoding="utf-8", errors="replace"), file)


def blocks(path) -> Iterator[CodeBlock]:
    """Reads a directory of codes, a shard at a time.

    Args:
        path: The directory.

    Returns:
        An iterator of `CodeBlock`.

    Raises:
        FileNotFoundError: If there is no manifest.
        ValueError: If not all shards are there yet.
        DamagedFileError: If a shard is missing, cut off, or does not fit the manifest.
        ImportError: If pyarrow is not installed.

    Example:

        for block in tfhash.index.shards.blocks("codes/"):
            print(block.names[0], block.codes[0])
    """
    manifest = complete_manifest(path)
    found = 0
    for name in manifest.files():
        block = read_shard(pathlib.Path(path) / name, manifest.bits, manifest.file_format)
        found += len(block.ids)
        yield block
    if found != manifest.items:
        raise DamagedFileError(
            f"{path} is damaged: its shards hold {found:,} codes in place of {manifest.items:,}. "
            "Encode the images again"
        )


def complete_manifest(path):
    """The manifest of a directory of codes all of whose shards are there.

    Args:
        path: The directory.

    Returns:
        `Manifest`.

    Raises:
        ValueError: If not all shards are there yet.
        FileNotFoundError, IndexFileError: As `read_manifest`.

    Example:

        tfhash.index.shards.complete_manifest("codes/").shards
    """
    return check_complete(read_manifest(path), path)


def check_complete(manifest, path):
    """A manifest, or `ValueError` if not all shards are there yet.

    Args:
        manifest: `Manifest`.
        path: Its directory.

    Raises:
        ValueError: If not all shards are there yet.
    """
    if not manifest.complete:
        raise ValueError(
            f"{path} is not complete. Give the command that makes it again, without --overwrite: it "
            "continues where it was"
        )
    return manifest


def add_shards(index, path):
    """Adds the codes of a directory to an index, those that are not in it yet.

    Portions of some shards are added one after the other, each whole or not at all. A call that was
    interrupted, or the process killed, is given again: nothing is lost and nothing added twice.

    Codes of names that the index has are not replaced. Where an image has changed, remove its item first:
    `index.remove([tfhash.index.shards.id_of(name)])`.

    Args:
        index: `HammingIndex`, or what `connect` returns, made with the `model` of the codes.
        path: The directory.

    Returns:
        The number of items that were added.

    Raises:
        ValueError: If the bits differ, the index was made without `model`, or an item of the index has
            the id of another name.
        OtherModelError: If index and codes come from different models.
        FileNotFoundError, DamagedFileError, ImportError: As `blocks`.
        EngineError: As `EngineIndex.add`.

    Example:

        made = tfhash.index.shards.read_manifest("codes/")
        index = tfhash.index.HammingIndex(made.bits, model=made.model)
        tfhash.index.add_shards(index, "codes/")
    """
    manifest = complete_manifest(path)
    if manifest.bits != index.bits:
        raise ValueError(
            f"the codes of {path} have {manifest.bits} bits. Expected: the {index.bits} bits of the "
            "index"
        )
    if not index.model:
        # Items of an index without one may be of any model: distances to them would mean nothing.
        raise ValueError(
            f"the index does not say which model makes its codes. Expected: that of {path}. Make an "
            f"index with model={manifest.model!r}"
        )
    if index.model != manifest.model:
        raise OtherModelError(
            f"the codes of {path} come from the model {manifest.model!r}. Expected: the model of "
            f"the index, {index.model!r}"
        )
    added = 0
    for block in _portions(blocks(path)):
        known = index.names_of(block.ids)
        there = np.array([name is not None for name in known], bool)
        for name, other, item in zip(known[there], _some(block.names, there), block.ids[there]):
            if name != other:
                raise ValueError(
                    f"the index has an item of id {item} and name {name!r}, which is the id of "
                    f"{other!r}, too. Rename one of them"
                )
        if not there.all():
            rest = ~there
            index.add(block.codes[rest], block.ids[rest], _some(block.names, rest))
            added += int(rest.sum())
    return added


def check_distinct(columns, most=COMPARED):
    """Checks that no id comes twice.

    Args:
        columns: Function that returns an iterator of arrays of ids, `int64 [n]`, each time anew: they
            are read several times where all of them are too many for memory.
        most: Ids that are held in memory, about.

    Raises:
        ValueError: If one does.
    """
    total = sum(len(ids) for ids in columns())
    parts = max(1, -(-total // most))
    for part in range(parts):
        ids = np.concatenate([np.empty(0, np.int64), *(c[c % parts == part] for c in columns())])
        ids.sort()
        again = ids[1:][ids[1:] == ids[:-1]]
        if len(again):
            raise ValueError(
                f"{len(again):,} ids come more than once, the first is {again[0]}: inputs have the "
                "same name. Give each image a name of its own"
            )


def _portions(found):
    """Blocks put together, so that each has `PORTION` items at least but the last."""
    waiting: list[CodeBlock] = []
    for block in found:
        waiting.append(block)
        if sum(len(b.ids) for b in waiting) >= PORTION:
            yield together(waiting)
            waiting = []
    if waiting:
        yield together(waiting)


def together(found):
    """One `CodeBlock` of several, at least one."""
    ids, codes, names = zip(*found)
    return CodeBlock(
        np.concatenate(ids), np.concatenate(codes), [n for some in names for n in some]
    )


def _some(names, marked):
    return [name for name, is_marked in zip(names, marked.tolist()) if is_marked]
