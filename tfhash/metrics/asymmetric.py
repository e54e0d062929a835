"""Ranking metrics of relaxed queries that search binary codes by the expected Hamming distance.

`tfhash.metrics.average_precision` and `precision_at_k` take what is counted here as they take
histograms over Hamming distances: items at one distance are tied.
"""

import numpy as np
from keras import ops

from tfhash import codes, expected_distance
from tfhash.labels import count_shared, is_multi_hot
from tfhash.metrics.average_precision import average_precision, weights_of_queries
from tfhash.metrics.histograms import (
    DistanceHistograms,
    check_integer,
    check_sides,
    has_relevant_items,
)
from tfhash.metrics.ranking import precision_at_k

# Pairs compared at a time; a dozen arrays of 8 bytes each are alive.
_BLOCK_PAIRS = 2**20


def asymmetric_histograms(queries, database, query_labels, database_labels):
    """Counts items and relevant items at each expected Hamming distance from relaxed queries.

    The distance is `(B - <h, b>) / 2` (see `tfhash.index.HammingIndex.search_asymmetric`), which has
    nearly as many values as there are different codes. Column j of a row is the j-th smallest
    distance of its query; items with equal codes are in one column, and so are codes at equal distances.
    Memory grows with the number of different codes of the database, for some queries at a time.

    Args:
        queries: Relaxed codes of the queries, float `[q, bits]` in [-1, 1].
        database: Packed codes of the database items, `uint8 [n, ceil(bits / 8)]`.
        query_labels: Integers `[q]`, or multi-hot `[q, C]`.
        database_labels: Integers `[n]`, or multi-hot `[n, C]`.

    Returns:
        An iterator over `DistanceHistograms` of NumPy arrays, each of some queries, in their order.
        Columns beyond the last distance of a query are 0.

    Raises:
        ValueError: If queries are no relaxed codes, or as `tfhash.metrics.distance_histograms`.

    Example: the second bit of the query is less certain, so the second item is nearer.

    >>> codes = np.array([[0b10], [0b01], [0b11]], "uint8")
    >>> (found,) = asymmetric_histograms(np.array([[0.5, 0.2]]), codes[:2], [7], [8, 7])
    >>> found.items.tolist(), found.relevant.tolist()
    ([[1, 1]], [[1, 0]])
    """
    relaxed, signs = _as_queries(queries)
    sides = check_sides(signs, database, query_labels, database_labels, relaxed.shape[1])
    _, query_labels, database, database_labels = sides
    query_labels, database_labels = _numbered(query_labels, database_labels)
    return _count(relaxed, query_labels, _Groups(database, database_labels))


def leave_one_out_asymmetric_histograms(queries, labels):
    """As `asymmetric_histograms`, of items among each other: each searches all but itself.

    Every item is a relaxed query, and the others are binary codes, by the sign rule.

    Args:
        queries: Relaxed codes, float `[n, bits]` in [-1, 1].
        labels: Integers `[n]`, or multi-hot `[n, C]`.

    Returns:
        As `asymmetric_histograms`, n - 1 items in each row.

    Raises:
        ValueError: As `asymmetric_histograms`.

    Example:

    >>> relaxed = np.array([[0.5, 0.2], [0.5, -0.2], [-0.5, -0.2]])
    >>> (found,) = leave_one_out_asymmetric_histograms(relaxed, [7, 7, 8])
    >>> found.items.tolist(), found.relevant.tolist()
    ([[0, 1, 1], [0, 1, 1], [0, 1, 1]], [[0, 1, 0], [0, 1, 0], [0, 0, 0]])
    """
    relaxed, signs = _as_queries(queries)
    _, labels, _, _ = check_sides(signs, signs, labels, labels, relaxed.shape[1])
    labels, _ = _numbered(labels, labels)
    groups = _Groups(signs, labels)
    return _count(relaxed, labels, groups, groups.of_item)


def summarize_asymmetric(
    histograms, k=100, map_k=None, denominator="possible", without_hits="zero"
):
    """mAP and precision of relaxed queries, under the names of `tfhash.metrics.summarize`.

    Args:
        histograms: What `asymmetric_histograms` or `leave_one_out_asymmetric_histograms` yields.
        k, map_k, denominator, without_hits: As in `tfhash.metrics.summarize`.

    Returns:
        Dictionary from name to float: `map`, `map_at_<k>`, `map_at_<map_k>` and `precision_at_<k>`,
        means over the queries with relevant items; empty if there are none.

    Raises:
        ValueError: If an argument is out of range or unknown.

    Example:

    >>> codes = np.array([[0b10], [0b01], [0b11]], "uint8")
    >>> found = asymmetric_histograms(np.array([[0.5, 0.2]]), codes[:2], [7], [7, 8])
    >>> summarize_asymmetric(found, k=1)
    {'map': 0.5, 'map_at_1': 0.0, 'precision_at_1': 0.0}
    """
    check_integer("k", k, least=1)
    sums: dict[str, np.ndarray] = {}
    for block in histograms:
        if has_relevant_items(block).any():
            for name, found in _sums(block, k, map_k, denominator, without_hits).items():
                sums[name] = sums.get(name, 0) + np.array(found)
    return {
        name: float(value / weight) if weight else float("nan")
        for name, (value, weight) in sums.items()
    }


def _sums(histograms, k, map_k, denominator, without_hits):
    """Of each figure, the sum over the queries with relevant items, and their weight."""
    count = has_relevant_items(histograms).sum()
    found = {
        "map": (np.nansum(average_precision(histograms)), count),
        f"map_at_{k}": (np.nansum(average_precision(histograms, k)), count),
    }
    if map_k is not None:
        values = average_precision(histograms, map_k, denominator=denominator)
        weights = weights_of_queries(histograms, map_k, "expected", without_hits)
        found[f"map_at_{map_k}"] = np.nansum(values), weights.sum()
    return {**found, f"precision_at_{k}": (precision_at_k(histograms, k) * count, count)}


def _as_queries(queries):
    """Relaxed codes, rounded as the index rounds them, and their packed signs."""
    queries = ops.convert_to_numpy(queries)
    bits = queries.shape[-1] if queries.ndim else 0
    return expected_distance.as_relaxed(queries, bits, "queries"), codes.pack_signs(queries)


def _numbered(query_labels, database_labels):
    """Labels that are not multi-hot as numbers `[n]`, whatever their type."""
    if is_multi_hot(query_labels):
        return query_labels, database_labels
    both = np.concatenate([query_labels.reshape(-1), database_labels.reshape(-1)])
    _, numbers = np.unique(both, return_inverse=True)
    return np.split(numbers.reshape(-1), [len(query_labels)])


class _Groups:
    """Items that have the same code and the same labels, counted.

    Args:
        packed: Packed codes, `uint8 [n, bytes]`.
        labels: Integers `[n]`, or multi-hot `[n, C]`.

    Attributes:
        packed, labels: Those of each group.
        counts: Number of items of each group.
        of_item: Group of each item, `[n]`.
    """

    def __init__(self, packed, labels):
        _, code = np.unique(packed, axis=0, return_inverse=True)
        values, label = np.unique(labels, axis=0, return_inverse=True)
        pairs = code.reshape(-1) * len(values) + label.reshape(-1)
        _, first, self.of_item, self.counts = np.unique(
            pairs, return_index=True, return_inverse=True, return_counts=True
        )
        self.packed, self.labels = packed[first], labels[first]


def _count(relaxed, labels, groups, own_groups=None):
    """Yields `DistanceHistograms` of blocks of queries; each leaves out itself if it has a group."""
    bits = relaxed.shape[1]
    signs = ops.convert_to_numpy(codes.unpack(groups.packed, bits)).astype("float64")
    block = max(1, _BLOCK_PAIRS // len(signs))
    for start in range(0, len(relaxed), block):
        rows = slice(start, start + block)
        # Exact, as the distances of the index, because values are rounded.
        distances = ((bits - relaxed[rows] @ signs.T) / 2).astype("float32")
        items = np.repeat(groups.counts[None], len(distances), axis=0)
        if own_groups is not None:
            items[np.arange(len(items)), own_groups[rows]] -= 1
        is_relevant = count_shared(labels[rows], groups.labels) > 0
        yield _by_distance(distances, items, items * is_relevant)


def _by_distance(distances, items, relevant):
    """Adds up the groups of each query at equal distances, in ascending order of these."""
    order = np.argsort(distances, axis=1)
    ranked = np.take_along_axis(distances, order, axis=1)
    columns = np.zeros(order.shape, "int64")
    np.cumsum(ranked[:, 1:] != ranked[:, :-1], axis=1, out=columns[:, 1:])
    width = columns.max() + 1
    bins = (columns + width * np.arange(len(columns))[:, None]).reshape(-1)
    shape = len(columns), width
    return DistanceHistograms(
        *(
            np.bincount(
                bins,
                np.take_along_axis(counts, order, axis=1).reshape(-1),
                minlength=shape[0] * width,
            )
            .astype("int64")
            .reshape(shape)
            for counts in (items, relevant)
        )
    )
