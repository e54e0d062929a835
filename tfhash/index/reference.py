"""The index in plain NumPy: the specification of the compiled one, and its stand-in where that is absent.

It has the interface of `tfhash_ops.index.CompiledIndex` and takes one query at a time.
"""

import threading

import numpy as np

from tfhash_ops.index import DamagedError, NoMoreIdsError, RepeatedIdError, UnknownIdsError
from tfhash_ops.results import Neighbors, TopK

_MAX_ID = 2**63 - 1
_ONES = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)


class NumpySnapshot:
    """An index at one time: codes and ids in ascending order of the ids."""

    def __init__(self, codes, ids, next_id):
        self._codes, self._ids = codes, ids
        self.count, self.next_id = len(ids), next_id

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def search(self, queries, k, threads):
        k = min(k, self.count)
        distances = np.empty((len(queries), k), np.int32)
        ids = np.empty((len(queries), k), np.int64)
        for i, query in enumerate(queries):
            found = self._distances(query)
            # Stable, so that ids ascend among equal distances.
            order = np.argsort(found, kind="stable")[:k]
            distances[i], ids[i] = found[order], self._ids[order]
        return TopK(distances, ids)

    def within(self, queries, radius, threads):
        splits, distances, ids = [0], [], []
        for query in queries:
            found = self._distances(query)
            (near,) = np.nonzero(found <= radius)
            near = near[np.argsort(found[near], kind="stable")]
            distances.append(found[near])
            ids.append(self._ids[near])
            splits.append(splits[-1] + len(near))
        return Neighbors(
            np.array(splits, np.int64),
            np.concatenate([np.empty(0, np.int32), *distances]),
            np.concatenate([np.empty(0, np.int64), *ids]),
        )

    def items(self):
        return self._codes.copy(), self._ids.copy()

    def ids(self):
        return self._ids.copy()

    def nbytes(self):
        return self._codes.nbytes + self._ids.nbytes

    def validate(self):
        if np.any(self._ids[1:] <= self._ids[:-1]):
            raise DamagedError("the ids are not in ascending order")
        if 0 <= self.next_id <= self._ids.max(initial=-1):
            raise DamagedError("the next id is not after the largest one")

    def arrays(self):
        return {"ids": self._ids, "codes": self._codes}, {"pieces": 0, "key_bits": 0}

    def _distances(self, query):
        return _ONES[self._codes ^ query].sum(axis=1, dtype=np.int32)


class NumpyIndex:
    """As `tfhash_ops.index.CompiledIndex`."""

    def __init__(self, bits, compact):
        length = -(-bits // 8)
        self._writing = threading.Lock()
        self._now = NumpySnapshot(np.empty((0, length), np.uint8), np.empty(0, np.int64), 0)

    def snapshot(self):
        return self._now

    def add(self, codes, ids, threads):
        with self._writing:
            old_codes, old_ids = self._now.items()
            first = self._now.next_id
            if len(codes) == 0:
                return first
            if ids is None:
                if first < 0 or first > _MAX_ID - len(codes):
                    raise NoMoreIdsError("there are no ids after the largest one")
                ids = np.arange(first, first + len(codes), dtype=np.int64)
            self.check_ids(ids)
            largest = int(ids.max())
            if 0 <= first <= largest:
                first_free = -1 if largest == _MAX_ID else largest + 1
            else:
                first_free = first
            all_ids = np.concatenate([old_ids, ids])
            order = np.argsort(all_ids, kind="stable")
            all_codes = np.concatenate([old_codes, codes])[order]
            self._now = NumpySnapshot(all_codes, all_ids[order], first_free)
            return first

    def check_ids(self, ids):
        seen = set(self._now.ids().tolist())
        for item in ids.tolist():
            if item in seen:
                raise RepeatedIdError(item)
            seen.add(item)

    def remove(self, ids, threads):
        with self._writing:
            codes, old_ids = self._now.items()
            is_first = np.zeros(len(ids), bool)
            is_first[np.unique(ids, return_index=True)[1]] = True
            is_unknown = ~(np.isin(ids, old_ids) & is_first)
            if is_unknown.any():
                raise UnknownIdsError(is_unknown)
            kept = ~np.isin(old_ids, ids)
            self._now = NumpySnapshot(codes[kept], old_ids[kept], self._now.next_id)

    def merge(self, threads):
        pass

    def reads_arrays(self):
        return False

    def skip_ids(self, next_id):
        codes, ids = self._now.items()
        self._now = NumpySnapshot(codes, ids, next_id)

    def open(self, arrays, pieces, key_bits, next_id):
        codes = np.array(arrays["codes"])
        if pieces:
            codes = _codes_by_rank(codes, arrays)
        self._now = NumpySnapshot(codes, np.array(arrays["ids"]), next_id)


def _codes_by_rank(rows, arrays):
    """Codes in the order of the ids, from distinct codes and the ranks of their items."""
    ranks = arrays["ranks"]
    counts = np.ones(len(rows), np.int64)
    if "repeats" in arrays:
        marks = np.unpackbits(arrays["repeats"].view(np.uint8), bitorder="little")
        (repeated,) = np.nonzero(marks[: len(rows)])
        more = np.diff(arrays["extras"].astype(np.int64))
        if len(more) != len(repeated) or np.any(more < 1):
            raise DamagedError("the numbers of items of repeated codes are wrong")
        counts[repeated] += more
    if counts.sum() != len(ranks) or not np.array_equal(np.sort(ranks), np.arange(len(ranks))):
        raise DamagedError("the items of the codes are wrong")
    codes = np.empty((len(ranks), rows.shape[1]), np.uint8)
    codes[ranks] = np.repeat(rows, counts, axis=0)
    return codes
