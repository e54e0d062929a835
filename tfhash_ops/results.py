"""What the ops return, on TensorFlow and on JAX alike."""

from typing import Any, NamedTuple


class TopK(NamedTuple):
    """The nearest items of each query, in ascending order of (distance, index).

    Attributes:
        distances: `int32 [q, k]`.
        indices: Rows of the database, `[q, k]`; `int64`, or `int32` where JAX has no 64-bit types.

    `tfhash_ops.hamming_top_k` returns it and has an example.
    """

    distances: Any
    indices: Any


class Neighbors(NamedTuple):
    """Rows of different lengths, each in ascending order of (distance, index).

    Attributes:
        row_splits: Row i spans `row_splits[i]` to `row_splits[i + 1]`, `[q + 1]`, as in
            `tf.RaggedTensor.from_row_splits`; integers of the type of `indices`.
        distances: `int32 [row_splits[q]]`.
        indices: Rows of the database, of the same length; `int64`, or `int32` where JAX has no
            64-bit types.

    `tfhash_ops.hamming_within` returns it and has an example.
    """

    row_splits: Any
    distances: Any
    indices: Any


class DistanceHistograms(NamedTuple):
    """The number of database items at each Hamming distance from each query.

    Attributes:
        items: Number of items at distance d from query i, `int64 [q, bits + 1]` (`int32` where
            JAX has no 64-bit types).
        relevant: Number of those that share a label with the query, of the same shape.

    `tfhash_ops.hamming_histogram` returns it and has an example.
    """

    items: Any
    relevant: Any
