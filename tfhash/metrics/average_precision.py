"""Average precision of a ranking by Hamming distance, in the variants found in the literature."""

import numpy as np

from tfhash.metrics.histograms import check_integer, cumulate, divide, has_relevant_items

TIES = ("expected", "best", "worst")
"""Orders of items at the same distance; see `average_precision`."""

DENOMINATORS = ("possible", "relevant", "retrieved")
"""What a sum of precisions is divided by at a cut-off; see `average_precision`."""

WITHOUT_HITS = ("zero", "drop")
"""What becomes of queries without a hit; see `mean_average_precision`."""


def average_precision(histograms, k=None, ties="expected", denominator="possible"):
    """Average precision of each query's Hamming ranking.

    Take the n items at distance d, of which r are relevant, and let N items, R of them relevant,
    be nearer. The t-th of the n items adds `(r / n) (R + 1 + (t - 1)(r - 1) / (n - 1)) / (N + t)`.

    Args:
        histograms: `DistanceHistograms`.
        k: Cut-off: only the k nearest items count. By default all do.
        ties: How items at the same distance are ordered. `"expected"` is the mean over all orders
            of the ties; `"best"` puts relevant items first and `"worst"` puts them last. Best and
            worst are bounds on every order, unless the denominator is `"retrieved"`.
        denominator: What the sum of precisions is divided by: `"possible"`, the largest possible
            number of hits, min(relevant items, k); `"relevant"`, all relevant items; or
            `"retrieved"`, the hits among the k nearest, where a ranking without hits scores 0.
            Without `k` the three are equal.

    Returns:
        NumPy float64 `[q]` in [0, 1]; NaN for a query without relevant items.

    Raises:
        ValueError: If `k` is not an integer >= 1, or `ties` or `denominator` is unknown.

    Example: one relevant item tied with an irrelevant one.

    >>> import numpy as np
    >>> from tfhash.metrics import DistanceHistograms
    >>> histograms = DistanceHistograms(np.array([[2, 0]]), np.array([[1, 0]]))
    >>> [float(average_precision(histograms, ties=t)[0]) for t in ("expected", "best", "worst")]
    [0.75, 1.0, 0.5]

    Reference: McSherry and Najork, "Computing Information Retrieval Performance Measures
    Efficiently in the Presence of Tied Scores" (ECIR 2008).
    """
    _check_choice("ties", ties, TIES)
    _check_choice("denominator", denominator, DENOMINATORS)
    k = None if k is None else check_integer("k", k, least=1)
    total = np.asarray(histograms.relevant).sum(axis=1)
    if denominator == "retrieved" and k is not None:
        value = _per_hit(histograms, k, ties)
    else:
        largest = total if k is None or denominator == "relevant" else np.minimum(total, k)
        value = divide(_sum_of_precisions(histograms, k, ties), largest)
    return np.where(total > 0, value, np.nan)


def mean_average_precision(
    histograms, k=None, ties="expected", denominator="possible", without_hits="zero"
):
    """Mean of `average_precision` over the queries that have relevant items.

    Args:
        histograms, k, ties, denominator: As in `average_precision`.
        without_hits: How a query counts that has relevant items, but none among the k nearest:
            `"zero"`, as 0, or `"drop"`, not at all. With expected ties, a query is dropped with
            the probability that it has no hits.

    Returns:
        A float in [0, 1]; NaN if no query has a relevant item.

    Raises:
        ValueError: As `average_precision`, and if `without_hits` is unknown.

    Example:

    >>> import numpy as np
    >>> from tfhash.metrics import DistanceHistograms
    >>> histograms = DistanceHistograms(np.array([[1, 1]]), np.array([[1, 0]]))
    >>> mean_average_precision(histograms)
    1.0
    """
    values = average_precision(histograms, k, ties, denominator)
    weights = weights_of_queries(histograms, k, ties, without_hits)
    if weights.sum() == 0:
        return float("nan")
    return float(np.nansum(values) / weights.sum())


def weights_of_queries(histograms, k, ties, without_hits):
    """What each query counts in a mean, float64 `[q]`; arguments as in `mean_average_precision`."""
    _check_choice("without_hits", without_hits, WITHOUT_HITS)
    weights = has_relevant_items(histograms).astype("float64")
    if without_hits == "drop" and k is not None:
        weights *= _chance_of_hits(histograms, k, ties)
    return weights


def _check_choice(name, value, known):
    if value not in known:
        raise ValueError(f"`{name}` must be one of {known}. Received: {name}={value!r}")


def _sum_of_precisions(histograms, k, ties):
    """Sum of the precisions at the relevant items among the k nearest, `[q]`."""
    n, r, before, relevant_before = cumulate(histograms)
    retrieved = n if k is None else np.clip(k - before, 0, n)
    if ties == "expected":
        growth = divide(r - 1, n - 1)
        weight = divide(r, n)
        offset, start, count = relevant_before + 1 - growth, before, retrieved
    else:
        growth, weight, offset = 1, 1, relevant_before
        # Relevant items come first or last among the items at their distance.
        start = before if ties == "best" else before + (n - r)
        count = np.clip(before + retrieved - start, 0, r)
    # sum_{t=1..count} (offset + growth t) / (start + t)
    precisions = growth * count + (offset - growth * start) * _sum_of_inverses(start, count)
    return (weight * precisions).sum(axis=1)


def _sum_of_inverses(start, count):
    """`1 / (start + 1) + ... + 1 / (start + count)`."""
    stop = start + count
    # Summed from the far end: where `start` is large, its multiples must not amplify rounding.
    tail = np.cumsum(1 / np.arange(max(stop.max(), 1), 0, -1))[::-1]
    tail = np.append(tail, 0.0)
    return tail[start] - tail[stop]


def _per_hit(histograms, k, ties):
    """Sum of precisions divided by the number of hits, both among the k nearest, `[q]`.

    With expected ties, the number of hits is uncertain in one place only: the tie that holds the
    k-th item. It has h hits with hypergeometric probability, placed in random order.
    """
    if ties != "expected":
        return divide(_sum_of_precisions(histograms, k, ties), _hits(histograms, k, ties))
    nearer, tie = _split_at(histograms, k)
    log_factorials = _log_factorials(tie)
    sums = _sum_of_precisions(nearer, None, "expected")
    values = np.empty(len(sums))
    for i, (sum_before, (n, r, before, hits_before)) in enumerate(zip(sums, tie)):
        places = min(k - before, n)
        h = np.arange(max(0, places - (n - r)), min(r, places) + 1)
        inverse = (1 / (before + np.arange(1, places + 1))).sum()
        # sum_{t=1..places} (h / places) (hits_before + 1 + (t - 1) growth) / (before + t)
        growth = (h - 1) / max(places - 1, 1)
        later = places - (before + 1) * inverse
        sum_in_tie = h / max(places, 1) * ((hits_before + 1) * inverse + growth * later)
        ratio = (sum_before + sum_in_tie) / np.maximum(hits_before + h, 1)
        values[i] = (_hypergeometric(n, r, places, h, log_factorials) * ratio).sum()
    return values


def _chance_of_hits(histograms, k, ties):
    """Probability that a query has a relevant item among its k nearest, `[q]`."""
    if ties != "expected":
        return (_hits(histograms, k, ties) > 0).astype("float64")
    _, tie = _split_at(histograms, k)
    log_factorials = _log_factorials(tie)
    none = np.zeros(1, int)
    chances = np.ones(len(tie))
    for i, (n, r, before, hits_before) in enumerate(tie):
        if hits_before == 0:
            places = min(k - before, n)
            chances[i] -= _hypergeometric(n, r, places, none, log_factorials)[0]
    return chances


def _hits(histograms, k, ties):
    """Relevant items among the k nearest in the best or worst order of ties, `[q]`."""
    n, r, before, _ = cumulate(histograms)
    retrieved = np.clip(k - before, 0, n)
    in_tie = np.minimum(r, retrieved) if ties == "best" else np.maximum(retrieved - (n - r), 0)
    return in_tie.sum(axis=1)


def _split_at(histograms, k):
    """The items nearer than the tie that holds the k-th item, and that tie.

    Returns:
        Histograms of the nearer items, and `int64 [q, 4]`: items and relevant items of the tie,
        and items and relevant items nearer than it.
    """
    items, relevant, before, relevant_before = cumulate(histograms)
    k = min(k, items.sum(axis=1).max())
    at = (before + items < k).sum(axis=1)
    at = np.minimum(at, items.shape[1] - 1)[:, None]
    is_nearer = np.arange(items.shape[1]) < at
    nearer = type(histograms)(items * is_nearer, relevant * is_nearer)
    counts = items, relevant, before, relevant_before
    return nearer, np.concatenate([np.take_along_axis(c, at, axis=1) for c in counts], axis=1)


def _log_factorials(tie):
    """Logarithms of 0! up to the factorial of the largest tie."""
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, tie[:, 0].max() + 1)))])


def _hypergeometric(n, r, places, h, log_factorials):
    """Probability that h of the r relevant items among n fall into the first places."""

    def log_choose(n, k):
        return log_factorials[n] - log_factorials[k] - log_factorials[n - k]

    missing = places - h
    possible = (h <= r) & (missing >= 0) & (missing <= n - r)
    h, missing = np.where(possible, h, 0), np.where(possible, missing, 0)
    logs = log_choose(r, h) + log_choose(n - r, missing) - log_choose(n, places)
    return np.where(possible, np.exp(logs), 0.0)
