"""Precision and recall of a ranking by Hamming distance."""

import numpy as np

from tfhash.metrics.average_precision import mean_average_precision
from tfhash.metrics.histograms import (
    check_integer,
    cumulate,
    divide,
    has_relevant_items,
    mean_over_queries,
)


def precision_at_k(histograms, k):
    """Expected precision among the k nearest items, with ties in random order.

    Args:
        histograms: `DistanceHistograms`.
        k: Number of items retrieved, >= 1. A database of fewer items counts as padded with
            irrelevant ones.

    Returns:
        A float in [0, 1], the mean over queries with relevant items.

    Raises:
        ValueError: If `k` is not an integer >= 1.

    Example: one relevant item tied with an irrelevant one.

    >>> import numpy as np
    >>> from tfhash.metrics import DistanceHistograms
    >>> precision_at_k(DistanceHistograms(np.array([[2, 0]]), np.array([[1, 0]])), k=1)
    0.5
    """
    k = check_integer("k", k, least=1)
    n, r, before, _ = cumulate(histograms)
    hits = (divide(r, n) * np.clip(k - before, 0, n)).sum(axis=1)
    return float(mean_over_queries(hits / k, histograms))


def precision_within_radius(histograms, radius):
    """Precision among the items within a Hamming radius.

    A query that retrieves nothing counts as 0.

    Args:
        histograms: `DistanceHistograms`.
        radius: Largest distance in bits, an integer from 0 to `bits`.

    Returns:
        A float in [0, 1], the mean over queries with relevant items.

    Raises:
        ValueError: If `radius` is not an integer from 0 to `bits`.

    Example:

    >>> import numpy as np
    >>> from tfhash.metrics import DistanceHistograms
    >>> precision_within_radius(DistanceHistograms(np.array([[2, 2]]), np.array([[2, 0]])), 1)
    0.5
    """
    radius = _check_radius(histograms, radius)
    return float(precision_recall_curve(histograms)[0][radius])


def recall_within_radius(histograms, radius):
    """Fraction of a query's relevant items that lie within a Hamming radius.

    Args:
        histograms, radius: As in `precision_within_radius`.

    Returns:
        A float in [0, 1], the mean over queries with relevant items.

    Raises:
        ValueError: As `precision_within_radius`.

    Example:

    >>> import numpy as np
    >>> from tfhash.metrics import DistanceHistograms
    >>> recall_within_radius(DistanceHistograms(np.array([[2, 2]]), np.array([[1, 1]])), 0)
    0.5
    """
    radius = _check_radius(histograms, radius)
    return float(precision_recall_curve(histograms)[1][radius])


def precision_recall_curve(histograms):
    """Precision and recall within every Hamming radius from 0 to `bits`.

    Args:
        histograms: `DistanceHistograms`.

    Returns:
        NumPy `(precision, recall)`, each float64 `[bits + 1]`: means over the queries with
        relevant items. A query that retrieves nothing within a radius has precision 0 there.

    Example:

    >>> import numpy as np
    >>> from tfhash.metrics import DistanceHistograms
    >>> histograms = DistanceHistograms(np.array([[2, 2]]), np.array([[2, 0]]))
    >>> [values.tolist() for values in precision_recall_curve(histograms)]
    [[1.0, 0.5], [1.0, 1.0]]
    """
    n, r, before, relevant_before = cumulate(histograms)
    hits = relevant_before + r
    precision = divide(hits, before + n)
    recall = divide(hits, hits[:, -1:])
    return mean_over_queries(precision, histograms), mean_over_queries(recall, histograms)


def count_queries_with_relevant_items(histograms):
    """Number of queries that have at least one relevant item in the database.

    Args:
        histograms: `DistanceHistograms`.

    Returns:
        An `int`.

    Example:

    >>> import numpy as np
    >>> from tfhash.metrics import DistanceHistograms
    >>> histograms = DistanceHistograms(np.array([[1, 1], [1, 1]]), np.array([[1, 0], [0, 0]]))
    >>> count_queries_with_relevant_items(histograms)
    1
    """
    return int(has_relevant_items(histograms).sum())


def summarize(histograms, radius=2, k=100, map_k=None, denominator="possible", without_hits="zero"):
    """The usual ranking metrics in one dictionary.

    Args:
        histograms: `DistanceHistograms`.
        radius: Hamming radius of precision and recall, an integer >= 0; at most `bits` is used.
        k: Cut-off of `precision_at_k`, and of `map_at_k` in its default variant.
        map_k, denominator, without_hits: Another cut-off of mAP and its variant, see
            `mean_average_precision`; by default none.

    Returns:
        Dictionary from name to float. `map` is over whole rankings; `map_at_<map_k>` is beside it
        where there is a `map_k`, in the given variant also if `map_k` is `k`. mAP in the best and
        worst order of ties is included only where these two orders are bounds on all others.

    Raises:
        ValueError: If an argument is out of range or unknown.

    Example:

    >>> import numpy as np
    >>> from tfhash.metrics import DistanceHistograms
    >>> histograms = DistanceHistograms(np.array([[1, 1]]), np.array([[1, 0]]))
    >>> summarize(histograms, radius=0)["precision_radius_0"]
    1.0
    """
    radius = min(check_integer("radius", radius, least=0), _bits(histograms))
    precision, recall = precision_recall_curve(histograms)
    at_cut_off = {}
    if map_k is not None:
        variant = {"k": map_k, "denominator": denominator, "without_hits": without_hits}
        is_bounded = denominator != "retrieved" and without_hits == "zero"
        at_cut_off = _map_of_ties(histograms, f"map_at_{map_k}", is_bounded, variant)
    return {
        **_map_of_ties(histograms, "map"),
        f"map_at_{k}": mean_average_precision(histograms, k=k),
        **at_cut_off,
        f"precision_at_{k}": precision_at_k(histograms, k),
        f"precision_radius_{radius}": float(precision[radius]),
        f"recall_radius_{radius}": float(recall[radius]),
    }


def _map_of_ties(histograms, name, is_bounded=True, variant=None):
    """mAP under its name, and in the best and worst order of ties where these are bounds."""
    variant = variant or {}
    found = {name: mean_average_precision(histograms, **variant)}
    for ties in ("best", "worst"):
        if is_bounded:
            found[f"{name}_{ties}_ties"] = mean_average_precision(histograms, ties=ties, **variant)
    return found


def _bits(histograms):
    return histograms.items.shape[1] - 1


def _check_radius(histograms, radius):
    return check_integer("radius", radius, least=0, most=_bits(histograms))
