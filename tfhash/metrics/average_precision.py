"""Average precision of a ranking by Hamming distance, in the variants that are in use."""

import numpy as np
from keras import ops

from tfhash.metrics.histograms import check_k, cumulated, divide, has_relevant_items

TIES = ("expected", "best", "worst")
DENOMINATORS = ("possible", "relevant", "retrieved")
WITHOUT_HITS = ("zero", "drop")


def average_precision(histograms, k=None, ties="expected", denominator="possible"):
    """Average precision of the Hamming ranking of each query.

    With N items and R relevant ones nearer than distance d, n items at d of which r are
    relevant, the t-th of them adds `(r / n) (R + 1 + (t - 1)(r - 1) / (n - 1)) / (N + t)`.

    Args:
        histograms: `DistanceHistograms`.
        k: Length of the ranking that counts; by default all of it.
        ties: `"expected"` over random orders of the ties, or the order in which relevant items
            come first (`"best"`) or last (`"worst"`) in theirs. These two bound all others unless
            the denominator is `"retrieved"`.
        denominator: What the sum of precisions is divided by: `"possible"`, the hits there could
            be, min(relevant items, k); `"relevant"`, all relevant items; or `"retrieved"`, the
            hits among the k nearest, where an order without hits counts as 0. Without `k` they
            are the same.

    Returns:
        Float32 `[q]` in [0, 1]; NaN for a query without relevant items.

    Raises:
        ValueError: If `k` is below 1, or `ties` or `denominator` unknown.

    Example: one relevant item tied with one that is not.

    >>> import numpy as np
    >>> from tfhash.metrics import DistanceHistograms
    >>> histograms = DistanceHistograms(np.array([[2, 0]]), np.array([[1, 0]]))
    >>> [float(average_precision(histograms, ties=t)[0]) for t in ("expected", "best", "worst")]
    [0.75, 1.0, 0.5]

    Reference: McSherry and Najork, "Computing Information Retrieval Performance Measures
    Efficiently in the Presence of Tied Scores" (ECIR 2008).
    """
    for name, value, known in (
        ("ties", ties, TIES),
        ("denominator", denominator, DENOMINATORS),
    ):
        if value not in known:
            raise ValueError(f"`{name}` must be one of {known}. Received: {name}={value!r}")
    k = None if k is None else check_k(k)
    total = ops.sum(ops.cast(histograms.relevant, "float32"), axis=1)
    if denominator == "retrieved" and k is not None:
        value = _divided_by_hits(histograms, k, ties)
    else:
        ideal = total if k is None or denominator == "relevant" else ops.minimum(total, k)
        value = _sum_of_precisions(histograms, k, ties) / ops.maximum(ideal, 1)
    return ops.where(total > 0, value, np.nan)


def mean_average_precision(
    histograms, k=None, ties="expected", denominator="possible", without_hits="zero"
):
    """Mean of `average_precision` over the queries that have relevant items.

    Args:
        histograms, k, ties, denominator: As in `average_precision`.
        without_hits: What becomes of queries without a relevant item among the k nearest:
            `"zero"`, they count as 0, or `"drop"`, they are left out. Under expected ties, a query
            is left out with the probability that it has no hits.

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
    if without_hits not in WITHOUT_HITS:
        raise ValueError(
            f"`without_hits` must be one of {WITHOUT_HITS}. Received: without_hits={without_hits!r}"
        )
    values = ops.convert_to_numpy(average_precision(histograms, k, ties, denominator))
    counted = has_relevant_items(histograms).astype("float64")
    if without_hits == "drop" and k is not None:
        counted *= _chance_of_hits(histograms, check_k(k), ties)
    if counted.sum() == 0:
        return float("nan")
    return float(np.nansum(values, dtype="float64") / counted.sum())


def _sum_of_precisions(histograms, k, ties):
    """Sum of the precisions at the relevant items among the k nearest."""
    n, r, before, relevant_before = cumulated(histograms)
    room = n if k is None else ops.clip(k - before, 0, n)
    if ties == "expected":
        growth = divide(r - 1, n - 1)
        weight = divide(r, n)
        offset, first, count = relevant_before + 1 - growth, before, room
    else:
        growth, weight, offset = 1.0, 1.0, relevant_before
        # Relevant items come first or last within their tie.
        first = before if ties == "best" else before + (n - r)
        count = ops.clip(before + room - first, 0, r)
    # sum_{t=1..count} (offset + growth t) / (first + t)
    precisions = growth * count + (offset - growth * first) * _harmonic_difference(first, count)
    return ops.sum(weight * precisions, axis=1)


def _divided_by_hits(histograms, k, ties):
    """Expectation of the sum of precisions over the number of hits, both among the k nearest.

    Only the tie in which the k-th item lies leaves the number of hits open. It has h of them with
    the hypergeometric probability, and then its first places hold them in random order.
    """
    if ties != "expected":
        return _sum_of_precisions(histograms, k, ties) / np.maximum(_hits(histograms, k, ties), 1)
    # The sum over the ties before that one does not depend on h.
    ahead, tie = _split_at(histograms, k)
    log_factorials = _log_factorials(tie)
    sums_ahead = ops.convert_to_numpy(_sum_of_precisions(ahead, None, "expected"))
    values = np.empty(len(sums_ahead))
    for i, (sum_ahead, (n, r, before, hits_ahead)) in enumerate(zip(sums_ahead, tie)):
        places = int(min(k - before, n))
        h = np.arange(max(0, places - (n - r)), min(r, places) + 1)
        inverse = (1 / (before + np.arange(1, places + 1))).sum()
        # sum_{t=1..places} (h / places) (hits_ahead + 1 + (t - 1) growth) / (before + t)
        growth = (h - 1) / max(places - 1, 1)
        later = places - (before + 1) * inverse
        sum_in_tie = h / max(places, 1) * ((hits_ahead + 1) * inverse + growth * later)
        share = (sum_ahead + sum_in_tie) / np.maximum(hits_ahead + h, 1)
        values[i] = (_hypergeometric(n, r, places, h, log_factorials) * share).sum()
    return values.astype("float32")


def _chance_of_hits(histograms, k, ties):
    """Probability that a query has a relevant item among its k nearest, NumPy `[q]`."""
    if ties != "expected":
        return (_hits(histograms, k, ties) > 0).astype("float64")
    _, tie = _split_at(histograms, k)
    log_factorials = _log_factorials(tie)
    none = np.zeros(1, int)
    chances = np.ones(len(tie))
    for i, (n, r, before, hits_ahead) in enumerate(tie):
        if hits_ahead == 0:
            places = int(min(k - before, n))
            chances[i] -= _hypergeometric(n, r, places, none, log_factorials)[0]
    return chances


def _hits(histograms, k, ties):
    """Relevant items among the k nearest in the best or worst order of ties, NumPy `[q]`."""
    n, r, before, _ = (ops.convert_to_numpy(x) for x in cumulated(histograms))
    room = np.clip(k - before, 0, n)
    in_tie = np.minimum(r, room) if ties == "best" else np.maximum(room - (n - r), 0)
    return in_tie.sum(axis=1)


def _split_at(histograms, k):
    """What lies ahead of the tie that holds the k-th item, and that tie itself.

    Returns:
        Histograms of what lies ahead, and NumPy `int64 [q, 4]`: items and relevant items of the
        tie, and items and relevant items ahead of it.
    """
    items, relevant = (ops.convert_to_numpy(h).astype("int64") for h in histograms)
    k = min(int(k), int(items.sum(axis=1).max()))
    at = (items.cumsum(axis=1) < k).sum(axis=1)
    at = np.minimum(at, items.shape[1] - 1)[:, None]
    is_ahead = np.arange(items.shape[1]) < at
    ahead = type(histograms)(items * is_ahead, relevant * is_ahead)
    tie = np.concatenate(
        [
            np.take_along_axis(items, at, axis=1),
            np.take_along_axis(relevant, at, axis=1),
            ahead.items.sum(axis=1, keepdims=True),
            ahead.relevant.sum(axis=1, keepdims=True),
        ],
        axis=1,
    )
    return ahead, tie


def _log_factorials(tie):
    """Logarithms of 0! up to those of the largest tie."""
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, tie[:, 0].max() + 1)))])


def _hypergeometric(n, r, places, h, log_factorials):
    """Probability that h of the r relevant items among n come to lie in the first places."""

    def log_choose(n, k):
        return log_factorials[n] - log_factorials[k] - log_factorials[n - k]

    missing = places - h
    possible = (h <= r) & (missing >= 0) & (missing <= n - r)
    h, missing = np.where(possible, h, 0), np.where(possible, missing, 0)
    logs = log_choose(r, h) + log_choose(n - r, missing) - log_choose(n, places)
    return np.where(possible, np.exp(logs), 0.0)


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
