"""Exact search in a collection of codes that grows and shrinks.

    from tfhash.index import HammingIndex

    index = HammingIndex(bits=64)
    index.add(codes, names=file_names)
    distances, ids = index.search(queries, k=10)

`connect` gives the same calls on tables of ClickHouse, chDB or PostgreSQL.

Needs neither TensorFlow nor Keras.
"""

from tfhash.index.engines import ApproximateItems, EngineError, OtherWriterError, connect
from tfhash.index.hamming_index import HammingIndex
from tfhash.index.results import ItemsWithin, NearestItems
from tfhash.index.shards import add_shards
from tfhash.index.storage import DamagedFileError, IndexFileError, OtherModelError

__all__ = [
    "ApproximateItems",
    "DamagedFileError",
    "EngineError",
    "HammingIndex",
    "IndexFileError",
    "ItemsWithin",
    "NearestItems",
    "OtherModelError",
    "OtherWriterError",
    "add_shards",
    "connect",
]
