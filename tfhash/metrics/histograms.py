"""Items of a database by their distance from each query: what all metrics of a ranking derive from."""

import numbers
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

import tfhash_ops
from tfhash import codes
from tfhash.labels import check_same_kind, is_multi_hot, similar

# Pairs of a block: a few float32 tensors of this size are alive at a time.
_BLOCK_PAIRS = 2**22


class DistanceHistograms(NamedTuple):
    """Items of the database by Hamming distance, for every query.

    Attributes:
        items: Number of items at distance d from query i, `int64 [q, bits + 1]`.
        relevant: Number of those that share a label with the query, of the same shape.
    """

    items: Any
    relevant: Any


def distance_histograms(queries, database, query_labels, database_labels, bits):
    """Counts items and relevant items at each distance from each query.

    All metrics of a ranking derive from these counts. Memory is in proportion to q bits + n.
    On TensorFlow the compiled `tfhash_ops.hamming_histogram` counts; on other backends of Keras,
    or where it was not built, `keras.ops` do, at a far lower speed.

    Args:
        queries: Packed codes of the queries, `uint8 [q, ceil(bits / 8)]`.
        database: Packed codes of the database items, `uint8 [n, ceil(bits / 8)]`.
        query_labels: Integers `[q]`, or multi-hot `[q, C]`.
        database_labels: Integers `[n]`, or multi-hot `[n, C]`.
        bits: Number of bits of a code.

    Returns:
        `DistanceHistograms`.

    Raises:
        ValueError: If codes are no packed codes of `bits` bits, labels do not fit codes, or one
            side is empty.

    Example:

    >>> import numpy as np
    >>> codes = np.array([[0b00], [0b01], [0b11]], "uint8")
    >>> histograms = distance_histograms(codes[:1], codes, [7], [7, 7, 8], bits=2)
    >>> histograms.items.tolist(), histograms.relevant.tolist()
    ([[1, 1, 1]], [[1, 1, 0]])
    """
    sides = (queries, query_labels), (database, database_labels)
    (queries, query_labels), (database, database_labels) = (
        (ops.convert_to_numpy(packed), np.asarray(labels)) for packed, labels in sides
    )
    for name, packed, labels in (
        ("queries", queries, query_labels),
        ("database", database, database_labels),
    ):
        if len(packed) == 0 or len(packed) != len(labels):
            raise ValueError(
                f"`{name}` must hold at least one code, and one label for each code. "
                f"Received: {len(packed)} codes and {len(labels)} labels"
            )
        codes.check_packed(packed, bits)
        if packed.dtype != np.uint8 or (packed[:, -1] >> ((bits - 1) % 8 + 1)).any():
            raise ValueError(
                f"`{name}` must be packed codes, uint8 with padding bits zero. "
                f"Received: {packed.dtype} with the largest last byte {packed[:, -1].max()}"
            )
    check_same_kind(query_labels, database_labels)
    if not is_multi_hot(query_labels):
        # Labels of any type as integers.
        both = np.concatenate([query_labels.reshape(-1), database_labels.reshape(-1)])
        _, numbers = np.unique(both, return_inverse=True)
        query_labels, database_labels = np.split(numbers, [len(queries)])
    if keras.backend.backend() == "tensorflow" and tfhash_ops.is_compiled():
        count = _count_by_compiled_op
    else:
        tfhash_ops.warn_if_not_compiled()
        count = _count_by_blocks
    return DistanceHistograms(*count(queries, database, query_labels, database_labels, bits))


def _count_by_compiled_op(queries, database, query_labels, database_labels, bits):
    if is_multi_hot(query_labels):
        query_labels, database_labels = (
            np.packbits(side > 0, axis=1) for side in (query_labels, database_labels)
        )
    counts = tfhash_ops.hamming_histogram(queries, database, query_labels, database_labels, bits)
    return map(ops.convert_to_numpy, counts)


def _count_by_blocks(queries, database, query_labels, database_labels, bits):
    query_codes = ops.cast(codes.unpack(queries, bits), "float32")
    database_codes = ops.transpose(ops.cast(codes.unpack(database, bits), "float32"))
    block = max(1, _BLOCK_PAIRS // len(database))
    items, relevant = [], []
    for start in range(0, len(queries), block):
        stop = start + block
        distance = (bits - ops.matmul(query_codes[start:stop], database_codes)) / 2
        shared = similar(query_labels[start:stop], database_labels)
        # One histogram counts both: a relevant item at distance d falls into bin
        # bits + 1 + d, any other into bin d.
        bins = ops.cast(distance, "int32") + (bits + 1) * ops.cast(shared, "int32")
        both = ops.convert_to_numpy(ops.bincount(bins, minlength=2 * (bits + 1)))
        relevant.append(both[:, bits + 1 :])
        items.append(both[:, : bits + 1] + both[:, bits + 1 :])
    return (np.concatenate(counts).astype("int64") for counts in (items, relevant))


def cumulated(histograms):
    """Items and relevant items at each distance, and those at smaller distances."""
    n, r = (ops.cast(h, "float32") for h in histograms)
    return n, r, ops.cumsum(n, axis=1) - n, ops.cumsum(r, axis=1) - r


def divide(numerator, denominator):
    """Quotient, 0 where the denominator is 0."""
    safe = ops.where(denominator == 0, 1.0, denominator)
    return ops.where(denominator == 0, 0.0, numerator / safe)


def has_relevant_items(histograms):
    """Marks the queries that have a relevant item in the database, NumPy `[q]`."""
    return np.asarray(ops.convert_to_numpy(histograms.relevant)).sum(axis=1) > 0


def mean_over_queries_with_relevant_items(values, histograms):
    """Mean of `values`, one for each query, over the answerable ones; NaN if there are none."""
    counted = has_relevant_items(histograms)
    if not counted.any():
        return float("nan")
    return float(np.mean(ops.convert_to_numpy(values)[counted], dtype="float64"))


def check_k(k):
    """Returns `k` as a float, or raises `ValueError` if it is no integer >= 1."""
    if not isinstance(k, numbers.Integral) or k < 1:
        raise ValueError(f"`k` must be an integer >= 1. Received: k={k!r}")
    return float(k)
