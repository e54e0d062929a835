"""Normalized discounted cumulative gain of a ranking by Hamming distance, by shared labels."""

from typing import NamedTuple

import numpy as np
from keras import ops

from tfhash import codes
from tfhash.labels import count_shared, is_multi_hot
from tfhash.metrics.histograms import check_integer, check_sides, divide

GAINS = ("exponential", "linear")
"""Gains of an item by the number of shared labels; see `ndcg`."""

# Pairs compared at a time; a few arrays of this size are alive.
_BLOCK_PAIRS = 2**22


class SharedLabelHistograms(NamedTuple):
    """The number of database items at each Hamming distance that share so many labels with a query.

    Attributes:
        items: NumPy `int64 [q, bits + 1, r + 1]`: items at distance d that share s labels, where r is
            the largest number that some pair shares.

    `shared_label_histograms` returns it and has an example.
    """

    items: np.ndarray


def shared_label_histograms(queries, database, query_labels, database_labels, bits):
    """Counts items at each distance from each query, by the number of labels that they share.

    Memory grows with q bits r + n, not with q n.

    Args:
        queries, database, query_labels, database_labels, bits: As in
            `tfhash.metrics.distance_histograms`.

    Returns:
        `SharedLabelHistograms`.

    Raises:
        ValueError: As `tfhash.metrics.distance_histograms`.

    Example: two items at distance 0, one of which shares both labels, and one at distance 1.

    >>> codes = np.array([[0b0], [0b0], [0b1]], "uint8")
    >>> labels = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]])
    >>> shared_label_histograms(codes[:1], codes, labels[:1], labels, bits=1).items.tolist()
    [[[0, 1, 1], [1, 0, 0]]]
    """
    queries, query_labels, database, database_labels = check_sides(
        queries, database, query_labels, database_labels, bits
    )
    # As float32, whose matrix product is fast and exact here.
    query_signs, database_signs = (
        ops.convert_to_numpy(codes.unpack(packed, bits)).astype("float32")
        for packed in (queries, database)
    )
    most = _most_shared(query_labels, database_labels)
    block = max(1, _BLOCK_PAIRS // len(database))
    found = np.empty((len(queries), (bits + 1) * (most + 1)), "int64")
    for start in range(0, len(queries), block):
        rows = slice(start, start + block)
        distance = (bits - query_signs[rows] @ database_signs.T) / 2
        bins = distance.astype("int64") * (most + 1)
        bins += count_shared(query_labels[rows], database_labels)
        for row, of_query in enumerate(bins, start):
            found[row] = np.bincount(of_query, minlength=found.shape[1])
    return SharedLabelHistograms(found.reshape(len(queries), bits + 1, most + 1))


def leave_one_out_shared_label_histograms(codes, labels, bits):
    """As `shared_label_histograms`, of items among each other: each searches all but itself.

    Args:
        codes, labels, bits: As in `tfhash.metrics.leave_one_out_histograms`.

    Returns:
        `SharedLabelHistograms`, n - 1 items for each query.

    Raises:
        ValueError: As `tfhash.metrics.distance_histograms`.

    Example: the first item shares one label with the second, which is at distance 1.

    >>> codes, labels = np.array([[0b0], [0b1]], "uint8"), np.array([[1, 1], [0, 1]])
    >>> leave_one_out_shared_label_histograms(codes, labels, bits=1).items[0].tolist()
    [[0, 0, 0], [0, 1, 0]]
    """
    labels = np.asarray(labels)
    found = shared_label_histograms(codes, codes, labels, labels, bits)
    own = (labels > 0).sum(axis=1) if is_multi_hot(labels) else 1
    found.items[np.arange(len(labels)), 0, own] -= 1
    return found


def ndcg(histograms, k=None, gain="exponential"):
    """Normalized discounted cumulative gain of each query's Hamming ranking.

    The item at rank j shares s_j labels with the query. `DCG = sum_{j=1..k} g(s_j) / log2(1 + j)`
    with `g(s) = 2^s - 1`, divided by the DCG of the ranking of the database by s. Items at the same
    distance are tied: the value is the mean over all orders of the ties, in which every place of a
    tie has the mean gain of its items.

    Args:
        histograms: `SharedLabelHistograms`.
        k: Cut-off: only the k nearest items count. By default all do.
        gain: `"exponential"`, g(s) = 2^s - 1, or `"linear"`, g(s) = s.

    Returns:
        NumPy float64 `[q]` in [0, 1]; NaN for a query that shares no label with any item.

    Raises:
        ValueError: If `k` is not an integer >= 1, or `gain` is unknown.

    Example: the item that shares two labels is tied with one that shares none.

    >>> histograms = SharedLabelHistograms(np.array([[[1, 0, 1], [0, 1, 0]]]))
    >>> float(ndcg(histograms, k=1)[0])
    0.5

    Reference: Järvelin and Kekäläinen, "Cumulated Gain-Based Evaluation of IR Techniques" (TOIS
    2002); the gain 2^s - 1 as in Burges et al., "Learning to Rank using Gradient Descent" (ICML
    2005); ties as in McSherry and Najork, "Computing Information Retrieval Performance Measures
    Efficiently in the Presence of Tied Scores" (ECIR 2008).
    """
    if gain not in GAINS:
        raise ValueError(f"`gain` must be one of {GAINS}. Received: gain={gain!r}")
    counts = np.asarray(histograms.items).astype("int64")
    total = int(counts.sum(axis=(1, 2)).max(initial=0))
    k = total if k is None else min(check_integer("k", k, least=1), total)
    # Sum of the discounts of the first m places, m = 0 to k.
    discounts = np.append(0.0, np.cumsum(1 / np.log2(np.arange(2, k + 2))))
    shared = np.arange(counts.shape[2], dtype="float64")
    gains = shared if gain == "linear" else 2**shared - 1
    at_distance = counts.sum(axis=2)
    mean_gains = divide(counts @ gains, at_distance)
    of_shared = counts.sum(axis=1)[:, ::-1]  # the best items first
    ideal = _sum(gains[::-1], of_shared, discounts, k)
    values = divide(_sum(mean_gains, at_distance, discounts, k), ideal)
    return np.where(ideal > 0, values, np.nan)


def mean_ndcg(histograms, k=None, gain="exponential"):
    """Mean of `ndcg` over the queries that share a label with some item.

    Args:
        histograms, k, gain: As in `ndcg`.

    Returns:
        A float in [0, 1]; NaN if no query shares a label with an item.

    Raises:
        ValueError: As `ndcg`.

    Example: the second query shares no label.

    >>> histograms = SharedLabelHistograms(np.array([[[0, 1], [1, 0]], [[1, 0], [1, 0]]]))
    >>> mean_ndcg(histograms)
    1.0
    """
    values = ndcg(histograms, k, gain)
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float("nan")


def _sum(gains, counts, discounts, k):
    """Sum of the discounted gains of groups of items, one group after the other, `[q]`."""
    stop = np.cumsum(counts, axis=1)
    start = stop - counts
    weights = discounts[np.minimum(stop, k)] - discounts[np.minimum(start, k)]
    return (gains * weights).sum(axis=1)


def _most_shared(query_labels, database_labels):
    """The largest number of labels that a pair can share, from the labels of one side each."""
    if query_labels.ndim == 1 or query_labels.shape[1] == 1:
        return 1
    return int(min((side > 0).sum(axis=1).max() for side in (query_labels, database_labels)))
