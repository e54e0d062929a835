"""Search by relaxed codes: the items at the smallest expected Hamming distance.

Flipping bit k of the sign code of a query h adds |h_k| to its distance. So the nearest codes are the
sign code with the lightest sets of flips, which the index looks up. Where too many sets would have to
be tried, all codes are compared: first by Hamming distance from the sign code, because a code at
distance r is at least as far as the r lightest flips.
"""

import numpy as np

from tfhash import codes, expected_distance
from tfhash.index.results import NearestItems

# Sets of flips that are tried first, and how many times as many the next time.
_FIRST_FLIPS, _GROWTH = 16, 16

# One set is tried for so many codes at most. Trying one takes as long as comparing about 300 codes.
_CODES_PER_FLIP = 1024

# Codes compared at a time.
_BLOCK = 2**15


def search(snapshot, relaxed, k, compact, threads):
    """The k items of each query at the smallest expected Hamming distance.

    Args:
        snapshot: An index at one time, as `tfhash_ops.index.Snapshot`.
        relaxed: As `tfhash.expected_distance.as_relaxed` returns it, float64 `[q, bits]`.
        k: Number of items wanted, >= 1.
        compact: Whether the index has no tables.
        threads: Threads that look up codes.

    Returns:
        `NearestItems`: distances, `float32 [q, min(k, n)]`, and ids.
    """
    k = min(k, snapshot.count)
    distances, ids = np.empty((len(relaxed), k), np.float32), np.empty((len(relaxed), k), np.int64)
    if not k:
        return NearestItems(distances, ids)
    stored = _Stored(snapshot, compact, threads)
    for row, query in enumerate(relaxed):
        found = _by_flips(stored, query, k)
        found_distances, found_ids = stored.nearest(query, k) if found is None else found
        order = np.lexsort((found_ids, found_distances))[:k]
        distances[row], ids[row] = found_distances[order], found_ids[order]
    return NearestItems(distances, ids)


class _Stored:
    """The codes of a snapshot."""

    def __init__(self, snapshot, compact, threads):
        self._snapshot, self._threads = snapshot, threads
        self._codes = self._ids = None
        has_tables = not compact
        try:
            arrays, layout = snapshot.arrays()
        except RuntimeError:
            pass  # the core has no arrays of several segments; `nearest` copies their codes
        else:
            self._codes = arrays["codes"]
            has_tables = layout["pieces"] > 0
            # With tables, these are the different codes, in an order of their own.
            self._ids = None if has_tables else arrays["ids"]
        count = snapshot.count if self._codes is None else len(self._codes)
        self.most_flips = count // _CODES_PER_FLIP if has_tables else 0

    def items(self, codes, distances, k):
        """Distances and ids of the items that have these codes; the first k of each code will do."""
        splits, _, ids = self._snapshot.within(codes, 0, self._threads)
        counts = np.diff(splits)
        place = np.arange(len(ids)) - np.repeat(splits[:-1], counts)
        kept = place < k  # ids ascend
        return np.repeat(distances, counts)[kept], ids[kept]

    def nearest(self, query, k):
        """Distances and ids of the k nearest items and all that are as near, by comparing all codes."""
        if self._codes is None:
            self._codes, self._ids = self._snapshot.items()
        tables, nearer = expected_distance.tables(query), _Filter(query)
        distances, rows, limit = np.empty(0, np.float32), np.empty(0, np.int64), np.inf
        for start in range(0, len(self._codes), _BLOCK):
            block = self._codes[start : start + _BLOCK]
            candidates = nearer.rows(block, limit)
            of_candidates = expected_distance.distances(tables, block[candidates])
            near = of_candidates <= limit
            distances = np.concatenate([distances, of_candidates[near]])
            rows = np.concatenate([rows, start + candidates[near]])
            if len(rows) > k:
                limit = np.partition(distances, k - 1)[k - 1]
                kept = distances <= limit
                distances, rows = distances[kept], rows[kept]
        if self._ids is None:
            return self.items(self._codes[rows], distances, k)
        return distances, self._ids[rows]


class _Filter:
    """Leaves out codes that are too far from a query by their Hamming distance from its sign code."""

    def __init__(self, query):
        weights = np.sort(np.abs(query))
        least = _least(weights) + np.append(0, np.cumsum(weights))
        self._least = least.astype(np.float32)  # of a code at each Hamming distance
        self._center = codes.pack_signs(query[None])

    def rows(self, codes, limit):
        """Rows of all codes that may be at most `limit` from the query, and of others."""
        radius = np.searchsorted(self._least, limit, side="right") - 1
        if radius == len(self._least) - 1 or not hasattr(np, "bitwise_count"):  # NumPy 1
            return np.arange(len(codes))
        word = next(f"u{size}" for size in (8, 4, 2, 1) if codes.shape[1] % size == 0)
        differing = np.ascontiguousarray(codes).view(word) ^ self._center.view(word)
        first, *others = np.bitwise_count(differing).T
        return np.flatnonzero(sum(others, first.astype(np.int64)) <= radius)


def _by_flips(stored, query, k):
    """Distances and ids of the k nearest items and others, or `None` if that took too many flips."""
    weights, center = np.abs(query), codes.pack_signs(query[None])
    least = _least(weights)
    number = _FIRST_FLIPS
    while number <= stored.most_flips:
        added, flips = _lightest_flips(weights, number)
        of_codes = (least + added).astype(np.float32)
        distances, ids = stored.items(center ^ flips, of_codes, k)
        # A code that was not tried is as far as the farthest one, or farther.
        is_near = distances < of_codes.max()
        if np.count_nonzero(is_near) >= k:
            return distances[is_near], ids[is_near]
        number *= _GROWTH
    return None


def _least(weights):
    """The distance of the sign code, from which every flip leads away."""
    return (len(weights) - weights.sum()) / 2


def _lightest_flips(weights, number):
    """The sets of bits with the smallest sums of weights.

    Args:
        weights: What flipping each bit adds, `[bits]`.
        number: Number of sets; there may be fewer.

    Returns:
        Sums, `[n]`, and the sets as packed codes, `uint8 [n, ceil(bits / 8)]`.
    """
    sums = np.zeros(1)
    flips = np.zeros((1, -(-len(weights) // 8)), np.uint8)
    for bit in np.argsort(weights).tolist():
        # Heavier than `number` sets without it.
        if len(sums) == number and weights[bit] >= sums.max():
            break
        with_bit = flips.copy()
        with_bit[:, bit // 8] |= 1 << (bit % 8)
        sums = np.concatenate([sums, sums + weights[bit]])
        flips = np.concatenate([flips, with_bit])
        if len(sums) > number:
            kept = np.argpartition(sums, number)[:number]
            sums, flips = sums[kept], flips[kept]
    return sums, flips
