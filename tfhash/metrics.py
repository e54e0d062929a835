"""Retrieval quality of binary codes, computed from histograms over the Hamming distance.

Items at the same distance are tied: no ranking among them is right or wrong. A value here
is the expectation over all orders of the ties, unless best or worst order is asked for, so
that it does not depend on the order in which items happen to be stored.

Every mean is taken over the queries that have at least one relevant item in the database;
`count_answerable_queries` says how many there are.
"""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

import tfhash_ops
from tfhash import codes
from tfhash.labels import check_same_kind, is_multi_hot, similar

TIES = ("expected", "best", "worst")

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


def average_precision(histograms, k=None, ties="expected"):
    """Average precision of the Hamming ranking of each query.

    With N items and R relevant ones nearer than distance d, n items at d of which r are
    relevant, the t-th of them adds `(r / n) (R + 1 + (t - 1)(r - 1) / (n - 1)) / (N + t)`.

    Args:
        histograms: `DistanceHistograms`.
        k: Length of the ranking that counts; by default all of it. The sum of precisions
            is divided by min(relevant items, k).
        ties: `"expected"` over random orders of the ties, or the `"best"` or `"worst"`
            order.

    Returns:
        Float32 `[q]` in [0, 1]; NaN for a query without relevant items.

    Raises:
        ValueError: If `k` is below 1 or `ties` unknown.

    Example: one relevant item tied with one that is not.

    >>> import numpy as np
    >>> histograms = DistanceHistograms(np.array([[2, 0]]), np.array([[1, 0]]))
    >>> [float(average_precision(histograms, ties=t)[0]) for t in ("expected", "best", "worst")]
    [0.75, 1.0, 0.5]

    Reference: McSherry and Najork, "Computing Information Retrieval Performance Measures
    Efficiently in the Presence of Tied Scores" (ECIR 2008).
    """
    if ties not in TIES:
        raise ValueError(f"`ties` must be one of {TIES}. Received: ties={ties!r}")
    n, r, before, relevant_before = _cumulated(histograms)
    total = ops.sum(r, axis=1)
    if k is None:
        room, ideal = n, total
    else:
        room = ops.clip(_check_k(k) - before, 0, n)
        ideal = ops.minimum(total, float(k))
    if ties == "expected":
        growth = _divide(r - 1, n - 1)
        weight = _divide(r, n)
        offset, first, count = relevant_before + 1 - growth, before, room
    else:
        growth, weight, offset = 1.0, 1.0, relevant_before
        # Relevant items come first or last within their tie.
        first = before if ties == "best" else before + (n - r)
        count = ops.clip(before + room - first, 0, r)
    # sum_{t=1..count} (offset + growth t) / (first + t)
    precisions = growth * count + (offset - growth * first) * _harmonic_difference(first, count)
    value = ops.sum(weight * precisions, axis=1)
    return ops.where(total > 0, value / ops.maximum(ideal, 1), np.nan)


def mean_average_precision(histograms, k=None, ties="expected"):
    """Mean of `average_precision` over the queries that have relevant items.

    Args:
        histograms, k, ties: As in `average_precision`.

    Returns:
        A float in [0, 1]; NaN if no query has a relevant item.

    Example:

    >>> import numpy as np
    >>> histograms = DistanceHistograms(np.array([[1, 1]]), np.array([[1, 0]]))
    >>> mean_average_precision(histograms)
    1.0
    """
    return _mean_over_answerable(average_precision(histograms, k, ties), histograms)


def precision_at_k(histograms, k):
    """Expected share of relevant items among the k nearest, ties in random order.

    Args:
        histograms: `DistanceHistograms`.
        k: Number of items retrieved, >= 1. A database of fewer items counts as padded with
            irrelevant ones.

    Returns:
        A float in [0, 1], the mean over queries.
    """
    n, r, before, _ = _cumulated(histograms)
    room = ops.clip(_check_k(k) - before, 0, n)
    return _mean_over_answerable(ops.sum(_divide(r, n) * room, axis=1) / k, histograms)


def precision_within_radius(histograms, radius):
    """Share of relevant items among those within a Hamming radius, mean over queries.

    A query that retrieves nothing counts as 0.

    Args:
        histograms: `DistanceHistograms`.
        radius: Distance in bits, 0 to `bits`; items at this distance are in.

    Returns:
        A float in [0, 1].
    """
    return float(precision_recall_curve(histograms)[0][_check_radius(histograms, radius)])


def recall_within_radius(histograms, radius):
    """Share of a query's relevant items that lie within a Hamming radius, mean over queries.

    Args:
        histograms, radius: As in `precision_within_radius`.

    Returns:
        A float in [0, 1].
    """
    return float(precision_recall_curve(histograms)[1][_check_radius(histograms, radius)])


def precision_recall_curve(histograms):
    """Precision and recall within every Hamming radius from 0 to `bits`.

    Args:
        histograms: `DistanceHistograms`.

    Returns:
        NumPy `(precision, recall)`, each float32 `[bits + 1]`, means over queries; a query
        that retrieves nothing within a radius has precision 0 there.

    Example:

    >>> import numpy as np
    >>> histograms = DistanceHistograms(np.array([[2, 2]]), np.array([[2, 0]]))
    >>> [values.tolist() for values in precision_recall_curve(histograms)]
    [[1.0, 0.5], [1.0, 1.0]]
    """
    n, r, before, relevant_before = _cumulated(histograms)
    found = relevant_before + r
    precision = _divide(found, before + n)
    recall = _divide(found, ops.sum(r, axis=1, keepdims=True))
    answerable = _answerable(histograms)
    return tuple(
        np.mean(ops.convert_to_numpy(values)[answerable], axis=0)
        if answerable.any()
        else np.full(values.shape[1], np.nan, "float32")
        for values in (precision, recall)
    )


def count_answerable_queries(histograms):
    """Number of queries that have at least one relevant item in the database."""
    return int(_answerable(histograms).sum())


def bit_balance(packed, bits):
    """Share of items in which each bit is +1; 0.5 carries the most information.

    Args:
        packed: Packed codes, `uint8 [n, ceil(bits / 8)]`, n >= 1.
        bits: Number of bits of a code.

    Returns:
        NumPy float `[bits]` in [0, 1].

    Example:

    >>> import numpy as np
    >>> bit_balance(np.array([[0b01], [0b11]], "uint8"), bits=2).tolist()
    [1.0, 0.5]
    """
    return (_signs(packed, bits).mean(axis=0) + 1) / 2


def bit_correlation(packed, bits):
    """Pearson correlation of every pair of bits over the items.

    Args:
        packed, bits: As in `bit_balance`.

    Returns:
        NumPy float `[bits, bits]` in [-1, 1]; 0 in row and column of a constant bit.

    Example:

    >>> import numpy as np
    >>> bit_correlation(np.array([[0b00], [0b11]], "uint8"), bits=2).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    centred = _signs(packed, bits)
    centred = centred - centred.mean(axis=0)
    deviation = np.sqrt((centred**2).mean(axis=0))
    covariance = centred.T @ centred / len(centred)
    scale = np.outer(deviation, deviation)
    return np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0)


def count_distinct_codes(packed):
    """Number of different codes among packed codes `uint8 [n, bytes]`.

    Example:

    >>> import numpy as np
    >>> count_distinct_codes(np.array([[1], [2], [1]], "uint8"))
    2
    """
    return len(np.unique(np.asarray(packed), axis=0))


def summarize(histograms, radius=2, k=100):
    """The usual figures of a ranking in one dictionary of floats.

    Args:
        histograms: `DistanceHistograms`.
        radius: Hamming radius of `precision_within_radius` and recall; cut to `bits`.
        k: Cut-off of `precision_at_k` and of `map_at_k`.

    Returns:
        Dictionary from name to value.
    """
    radius = min(radius, histograms.items.shape[1] - 1)
    return {
        "map": mean_average_precision(histograms),
        "map_best_ties": mean_average_precision(histograms, ties="best"),
        "map_worst_ties": mean_average_precision(histograms, ties="worst"),
        f"map_at_{k}": mean_average_precision(histograms, k=k),
        f"precision_at_{k}": precision_at_k(histograms, k),
        f"precision_radius_{radius}": precision_within_radius(histograms, radius),
        f"recall_radius_{radius}": recall_within_radius(histograms, radius),
    }


def _cumulated(histograms):
    """Items and relevant items at each distance, and those at smaller distances."""
    n, r = (ops.cast(h, "float32") for h in histograms)
    return n, r, ops.cumsum(n, axis=1) - n, ops.cumsum(r, axis=1) - r


def _harmonic_difference(start, count):
    """`1/(start + 1) + ... + 1/(start + count)`, within float32 rounding.

    The difference of two harmonic numbers would cancel. The first terms are summed one by
    one, the others by the Euler-Maclaurin expansion of the difference itself.
    """
    head = 8
    total = 0.0
    for t in range(1, head + 1):
        total = total + ops.where(count >= t, 1 / (start + t), 0.0)
    low = start + head
    high = ops.maximum(start + count, low)
    tail = ops.log1p((high - low) / low)
    tail = tail + (1 / high - 1 / low) / 2 - (1 / high**2 - 1 / low**2) / 12
    return total + tail


def _divide(numerator, denominator):
    """Quotient, 0 where the denominator is 0."""
    safe = ops.where(denominator == 0, 1.0, denominator)
    return ops.where(denominator == 0, 0.0, numerator / safe)


def _answerable(histograms):
    return np.asarray(ops.convert_to_numpy(histograms.relevant)).sum(axis=1) > 0


def _mean_over_answerable(values, histograms):
    answerable = _answerable(histograms)
    if not answerable.any():
        return float("nan")
    return float(np.mean(ops.convert_to_numpy(values)[answerable], dtype="float64"))


def _signs(packed, bits):
    if len(packed) == 0:
        raise ValueError("`packed` must hold at least one code. Received: 0 codes")
    return ops.convert_to_numpy(codes.unpack(packed, bits)).astype("float64")


def _check_k(k):
    if k < 1:
        raise ValueError(f"`k` must be >= 1. Received: k={k}")
    return float(k)


def _check_radius(histograms, radius):
    bits = histograms.items.shape[1] - 1
    if not 0 <= radius <= bits:
        raise ValueError(f"`radius` must be in 0 to {bits} (bits). Received: radius={radius}")
    return int(radius)
