"""Exact search in a collection of codes that grows and shrinks.

    from tfhash.index import HammingIndex

    index = HammingIndex(bits=64)
    index.add(codes, names=file_names)
    distances, ids = index.search(queries, k=10)

Needs neither TensorFlow nor Keras.
"""

from tfhash.index.hamming_index import HammingIndex
from tfhash.index.results import ItemsWithin, NearestItems
from tfhash.index.storage import DamagedFileError, IndexFileError, OtherModelError

__all__ = [
    "DamagedFileError",
    "HammingIndex",
    "IndexFileError",
    "ItemsWithin",
    "NearestItems",
    "OtherModelError",
]
