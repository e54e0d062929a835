"""Codes of a directory, or of a pipeline, as blocks."""

import numpy as np

from tfhash.beam import storage
from tfhash.beam.elements import as_block
from tfhash.beam.extra import apache_beam as beam
from tfhash.codes import as_packed
from tfhash.index import shards
from tfhash.index.arguments import as_integer
from tfhash.index.shard_files import read_shard


class ReadCodes(beam.PTransform):
    """Reads the directory of codes that `tfhash encode --runner` wrote.

    Returns a collection of `tfhash.index.shards.CodeBlock`, one for each shard.

    Args:
        path: The directory.

    Raises:
        ValueError: If not all shards are there yet.
        FileNotFoundError: If there is no manifest.
        IndexFileError: If it is something else, or of a newer version.

    Example:

        blocks = pipeline | tfhash.beam.ReadCodes("codes/")
    """

    def __init__(self, path):
        super().__init__()
        self._path = str(path) if storage.is_local(path) else path.rstrip("/")
        self.manifest = self._read_manifest()

    def expand(self, pipeline):
        names = pipeline | beam.Create(self.manifest.files()) | beam.Reshuffle()
        return names | beam.Map(_read, self._path, self.manifest)

    def _read_manifest(self):
        if storage.is_local(self._path):
            return shards.complete_manifest(self._path)
        path = storage.join(self._path, shards.MANIFEST)
        manifest = shards.Manifest.from_json(storage.read(path), path)
        return shards.check_complete(manifest, self._path)


class ToBlocks(beam.PTransform):
    """Puts codes together, as `Search` and `NearPairs` take them.

    Takes `Code`, what `Encode` returns, and returns `tfhash.index.shards.CodeBlock`.

    Args:
        bits: Length of a code.
        size: Codes of a block at most, >= 1.

    Raises:
        ValueError: If `bits` or `size` is not an integer >= 1.

    Example:

        pairs = codes | tfhash.beam.ToBlocks(bits=64) | tfhash.beam.NearPairs(bits=64, radius=2)
    """

    def __init__(self, bits, size=16_384):
        super().__init__()
        self._bits, self._size = as_integer("bits", bits, 1), as_integer("size", size, 1)

    def expand(self, codes):
        return (
            codes
            | beam.BatchElements(min_batch_size=min(1_000, self._size), max_batch_size=self._size)
            | beam.Map(as_block, self._bits)
        )


def _read(name, path, manifest):
    with storage.local_copy(storage.join(path, name)) as copy:
        return read_shard(copy, manifest.bits, manifest.file_format)


def check_block(block, bits):
    """A block whose codes are checked to have a length.

    Args:
        block: `tfhash.index.shards.CodeBlock`.
        bits: Length of a code.

    Raises:
        ValueError: If they have another one.
    """
    codes = as_packed(np.asarray(block.codes), bits)
    return block._replace(ids=np.asarray(block.ids, np.int64), codes=codes)
