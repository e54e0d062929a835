"""The join of `tfhash_ops.join` in NumPy: compares all pairs, a block of rows at a time."""

import numpy as np

# Pairs compared at a time.
_BLOCK = 2**22


class PairStream:
    """As `tfhash_ops.join.open_pairs` returns it; arguments as checked there."""

    def __init__(self, codes, bits, radius):
        self._blocks = _blocks(codes, radius)
        self._rest = _empty()
        self.total = sum(len(block[0]) for block in _blocks(codes, radius))

    def next(self, limit):
        """Up to `limit` further pairs."""
        parts = [self._rest]
        while sum(len(part[0]) for part in parts) < limit:
            if (block := next(self._blocks, None)) is None:
                break
            parts.append(block)
        joined = [np.concatenate(arrays) for arrays in zip(*parts)]
        self._rest = tuple(array[limit:] for array in joined)
        return tuple(array[:limit] for array in joined)


def group_items(codes, bits, radius):
    """As `tfhash_ops.join.group_items`; arguments as checked there."""
    count = len(codes)
    groups = np.arange(count)
    nearest, farthest = np.full(count, 2**31 - 1, np.int32), np.full(count, -1, np.int32)

    def root_of(item):
        while groups[item] != item:
            groups[item] = item = groups[groups[item]]
        return item

    for block in _blocks(codes, radius):
        for first, second, distance in zip(*(array.tolist() for array in block)):
            root, other = sorted((root_of(first), root_of(second)))
            groups[other] = root
            nearest[root] = min(nearest[root], nearest[other], distance)
            farthest[root] = max(farthest[root], farthest[other], distance)
    groups = np.array([root_of(item) for item in range(count)], np.int64)
    nearest, farthest = nearest[groups], farthest[groups]
    is_alone = farthest < 0
    return tuple(np.where(is_alone, np.array(-1, a.dtype), a) for a in (groups, nearest, farthest))


def _blocks(codes, radius):
    """Pairs of some rows at a time."""
    count, height = len(codes), max(1, _BLOCK // max(1, codes.size))
    for start in range(0, count, height):
        rows = np.arange(start, min(start + height, count))
        differ = codes[rows, None] ^ codes[None, start:]
        ones = np.unpackbits(differ, axis=2).sum(axis=2, dtype=np.int32)
        is_near = (ones <= radius) & (np.arange(start, count) > rows[:, None])
        first, second = np.nonzero(is_near)
        yield first + start, second + start, ones[is_near]


def _empty():
    return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int32)
