"""Precision and recall of a ranking by Hamming distance."""

import numpy as np
from keras import ops

from tfhash.metrics.average_precision import mean_average_precision
from tfhash.metrics.histograms import (
    check_k,
    cumulated,
    divide,
    has_relevant_items,
    mean_over_queries_with_relevant_items,
)


def precision_at_k(histograms, k):
    """Expected share of relevant items among the k nearest, ties in random order.

    Args:
        histograms: `DistanceHistograms`.
        k: Number of items retrieved, >= 1. A database of fewer items counts as padded with
            irrelevant ones.

    Returns:
        A float in [0, 1], the mean over queries.
    """
    n, r, before, _ = cumulated(histograms)
    room = ops.clip(check_k(k) - before, 0, n)
    return mean_over_queries_with_relevant_items(
        ops.sum(divide(r, n) * room, axis=1) / k, histograms
    )


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
    >>> from tfhash.metrics import DistanceHistograms
    >>> histograms = DistanceHistograms(np.array([[2, 2]]), np.array([[2, 0]]))
    >>> [values.tolist() for values in precision_recall_curve(histograms)]
    [[1.0, 0.5], [1.0, 1.0]]
    """
    n, r, before, relevant_before = cumulated(histograms)
    found = relevant_before + r
    precision = divide(found, before + n)
    recall = divide(found, ops.sum(r, axis=1, keepdims=True))
    counted = has_relevant_items(histograms)
    return tuple(
        np.mean(ops.convert_to_numpy(values)[counted], axis=0)
        if counted.any()
        else np.full(values.shape[1], np.nan, "float32")
        for values in (precision, recall)
    )


def count_queries_with_relevant_items(histograms):
    """Number of queries that have at least one relevant item in the database."""
    return int(has_relevant_items(histograms).sum())


def summarize(histograms, radius=2, k=100, map_k=None, denominator="possible", without_hits="zero"):
    """The usual figures of a ranking in one dictionary of floats.

    Args:
        histograms: `DistanceHistograms`.
        radius: Hamming radius of `precision_within_radius` and recall; cut to `bits`.
        k: Cut-off of `precision_at_k` and of `map_at_k`, which is in the default variant.
        map_k, denominator, without_hits: The variant of `map`; see `mean_average_precision`.

    Returns:
        Dictionary from name to value. The best and worst order of ties are there only in variants
        in which they bound the others.
    """
    variant = {"k": map_k, "denominator": denominator, "without_hits": without_hits}
    is_bounded = map_k is None or (denominator != "retrieved" and without_hits == "zero")
    radius = min(radius, histograms.items.shape[1] - 1)
    return {
        "map": mean_average_precision(histograms, **variant),
        **{
            f"map_{ties}_ties": mean_average_precision(histograms, ties=ties, **variant)
            for ties in ("best", "worst")
            if is_bounded
        },
        f"map_at_{k}": mean_average_precision(histograms, k=k),
        f"precision_at_{k}": precision_at_k(histograms, k),
        f"precision_radius_{radius}": precision_within_radius(histograms, radius),
        f"recall_radius_{radius}": recall_within_radius(histograms, radius),
    }


def _check_radius(histograms, radius):
    bits = histograms.items.shape[1] - 1
    if not 0 <= radius <= bits:
        raise ValueError(f"`radius` must be in 0 to {bits} (bits). Received: radius={radius}")
    return int(radius)
