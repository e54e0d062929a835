"""Directories of codes for tests, written without a model."""

import numpy as np
from index_cases import make_codes

from tfhash.index import shards
from tfhash.index.shard_files import write_shard


def write_directory(path, counts, bits=16, file_format="parquet", **changes):
    """Writes a directory of shards of so many random codes; returns its blocks."""
    rng = np.random.default_rng(0)
    path.mkdir(parents=True, exist_ok=True)
    blocks, first = [], 0
    for number, count in enumerate(counts):
        names = [f"deep/ü{i}.jpg" for i in range(first, first + count)]
        ids = np.array([shards.id_of(name) for name in names], np.int64)
        block = shards.CodeBlock(ids, make_codes(rng, count, bits), names)
        write_shard(path / shards.shard_name(number, len(counts), file_format), block, file_format)
        blocks.append(block)
        first += count
    values = {"complete": True, "items": first, "model": "m", **changes}
    settings = {"model_path": "", "folder": "", "source": {}, "inputs": "", **values}
    manifest = shards.Manifest(bits, file_format=file_format, shards=len(counts), **settings)
    (path / shards.MANIFEST).write_text(manifest.to_json(), "utf-8")
    return blocks


def together(blocks):
    """Ids, codes and names of all blocks."""
    ids, codes, names = zip(*blocks)
    return np.concatenate(ids), np.concatenate(codes), [name for some in names for name in some]


def contents_of(index):
    """Codes and names by id."""
    codes, ids = index.items()
    return dict(zip(ids.tolist(), zip(map(bytes, codes), index.names_of(ids).tolist())))
