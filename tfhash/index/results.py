"""What an index returns."""

from typing import NamedTuple

import numpy as np


class NearestItems(NamedTuple):
    """The nearest items of each query, in ascending order of (distance, id).

    Attributes:
        distances: Hamming distances in bits, `int32 [q, k]`; expected ones, `float32`, where the queries
            are relaxed codes.
        ids: Ids of the items, `int64 [q, k]`.

    `HammingIndex.search` returns it and has an example.
    """

    distances: np.ndarray
    ids: np.ndarray


class ItemsWithin(NamedTuple):
    """Rows of different lengths, each in ascending order of (distance, id).

    Attributes:
        row_splits: Row i spans `row_splits[i]` to `row_splits[i + 1]`, `int64 [q + 1]`, as in
            `tf.RaggedTensor.from_row_splits`.
        distances: Hamming distances in bits, `int32 [row_splits[q]]`.
        ids: Ids of the items, `int64`, of the same length.

    `HammingIndex.within` returns it and has an example.
    """

    row_splits: np.ndarray
    distances: np.ndarray
    ids: np.ndarray
