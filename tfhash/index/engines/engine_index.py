"""The index in an engine: what all engines share."""

import dataclasses
import threading

import numpy as np

from tfhash import codes as code_layout
from tfhash.index.arguments import (
    as_ids,
    as_integer,
    as_new_ids,
    no_more_ids,
    repeated,
    unknown,
)
from tfhash.index.engines import metadata
from tfhash.index.names import check_names
from tfhash.index.results import ItemsWithin, NearestItems

_MAX_ID = 2**63 - 1


class ApproximateItems(NearestItems):
    """As `NearestItems`, from an approximate search: nearer items may be missing; see `connect`."""


class EngineIndex:
    """Codes with ids in the tables of an engine, as `tfhash.index.connect` returns them.

    Calls, results and errors are those of an index in memory; see `HammingIndex`. Every call reads the
    tables anew, so it sees what other processes have added and removed. Each `add` and `remove` is
    done whole or not at all, whatever is killed meanwhile.

    Args:
        store: What reads and changes the tables.
    """

    def __init__(self, store):
        self._store = store
        state = store.state()
        self._bits, self._model = state.bits, state.model
        # One statement at a time goes through a connection.
        self._using = threading.RLock()

    @property
    def bits(self):
        """Number of bits of a code."""
        return self._bits

    @property
    def model(self):
        """What made the codes, as given; "" if it was not."""
        return self._model

    @property
    def approximate(self):
        """Whether `search` may miss items."""
        return self._store.approximate

    @property
    def ids(self):
        """Ids of all items, `int64 [n]`, ascending."""
        return self.items()[1]

    @property
    def codes(self):
        """Packed codes of all items, `uint8 [n, ceil(bits / 8)]`, in the order of `ids`."""
        return self.items()[0]

    @property
    def names(self):
        """Names of all items in the order of `ids`, a list; None for items without one."""
        return self.names_of(self.ids).tolist()

    @property
    def nbytes(self):
        """Bytes of the tables in the engine, compressed as they are there."""
        with self._using:
            return self._store.nbytes()

    def __len__(self):
        with self._using:
            return self._store.state().count

    def __repr__(self):
        kind = ", searched approximately" if self.approximate else ""
        return (
            f"<EngineIndex: {len(self):,} codes of {self._bits} bits in {self._store.where}{kind}>"
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Closes the connection."""
        with self._using:
            self._store.close()

    def items(self):
        """Codes and ids at one time.

        Returns:
            Packed codes, `uint8 [n, ceil(bits / 8)]`, and ids, `int64 [n]`, ascending.

        Raises:
            DamagedFileError: If there are more or fewer rows than items.
            EngineError: If the engine cannot be reached, or not all of it.
        """
        with self._using:
            return self._store.items()

    def add(self, codes, ids=None, names=None):
        """Adds items: all, or none if it raises.

        Args:
            codes: Packed codes, `uint8 [n, ceil(bits / 8)]`; or booleans or signs -1 and +1,
                `[n, bits]`.
            ids: Integers of 64 bits, `[n]`, new to the index. By default, those that follow the
                largest one the index ever had.
            names: Strings, `[n]`: text, or names of files as `os.fsdecode` gives them.

        Returns:
            The ids of the items, `int64 [n]`.

        Raises:
            ValueError: If codes do not fit the index, an id is repeated or not new, or names do not
                fit the codes.
            OtherWriterError: If another writer changed the index meanwhile.
            EngineError: If the engine cannot be reached, or has no room.
        """
        codes = code_layout.as_packed(codes, self._bits)
        names = None if names is None else check_names(names, len(codes))
        ids = as_new_ids(ids, len(codes))
        if len(codes) == 0:
            return np.empty(0, np.int64)
        with self._using, self._store.change() as change:
            state = change.state
            if ids is None:
                ids = _following(state, len(codes))
            else:
                _check_new(change, ids)
            next_id = state.next_id
            if 0 <= next_id <= ids.max():
                next_id = -1 if ids.max() == _MAX_ID else int(ids.max()) + 1
            change.add(ids, codes, names)
            change.state = dataclasses.replace(state, count=state.count + len(ids), next_id=next_id)
        return ids

    def remove(self, ids):
        """Removes items: all, or none if it raises. Other items keep their ids.

        Args:
            ids: Ids in the index, `[n]`, different from each other.

        Raises:
            ValueError: If ids are unknown or repeated; the message names them.
            OtherWriterError: If another writer changed the index meanwhile.
            EngineError: If the engine cannot be reached, or has no room.
        """
        ids = as_ids(ids)
        if len(ids) == 0:
            return
        with self._using, self._store.change() as change:
            is_first = np.zeros(len(ids), bool)
            is_first[np.unique(ids, return_index=True)[1]] = True
            wrong = ids[~(np.isin(ids, change.known(ids)) & is_first)]
            if len(wrong):
                raise unknown(wrong)
            state = change.state
            change.remove(ids)
            change.state = dataclasses.replace(change.state, count=state.count - len(ids))

    def search(self, queries, k):
        """The k nearest items of each query.

        Args:
            queries: As the codes of `add`, q of them.
            k: Number of items wanted, >= 1. A smaller index gives all it has.

        Returns:
            `NearestItems`: distances, `int32 [q, min(k, n)]`, and ids, `int64` of the same shape,
            in ascending order of (distance, id). `ApproximateItems` if the index was connected
            with `approximate=True`.

        Raises:
            ValueError: If queries do not fit the index, or `k` is not an integer >= 1.
            DamagedFileError: If it does not find min(k, n) items of a query.
            EngineError: If the engine cannot be reached, or not all of it.
        """
        queries = code_layout.as_packed(queries, self._bits, "queries")
        k = as_integer("k", k, 1)
        with self._using:
            if len(queries) == 0:
                shape = 0, min(k, self._store.state().count)
                found, distances, ids = None, np.empty(shape, np.int32), np.empty(shape, np.int64)
            else:
                found = _ordered(*self._store.nearest(queries, k))
                counts = np.bincount(found[0], minlength=len(queries))
                if np.any(counts != counts[0]):
                    raise metadata.damaged(self._store.where, "queries found different numbers")
                distances, ids = (row.reshape(len(queries), -1) for row in found[1:])
        kind = ApproximateItems if self.approximate else NearestItems
        return kind(distances, ids)

    def within(self, queries, radius):
        """All items within a radius of each query; never approximate.

        Args:
            queries: As the codes of `add`, q of them.
            radius: Largest distance in bits, >= 0.

        Returns:
            `ItemsWithin`: row splits, distances and ids, each row in ascending order of
            (distance, id).

        Raises:
            ValueError: If queries do not fit the index, or `radius` is not an integer >= 0.
            EngineError: If the engine cannot be reached, or not all of it.
        """
        queries = code_layout.as_packed(queries, self._bits, "queries")
        radius = min(as_integer("radius", radius, 0), self._bits)
        splits = np.zeros(len(queries) + 1, np.int64)
        if len(queries) == 0:
            return ItemsWithin(splits, np.empty(0, np.int32), np.empty(0, np.int64))
        with self._using:
            rows, distances, ids = _ordered(*self._store.within(queries, radius))
        np.cumsum(np.bincount(rows, minlength=len(queries)), out=splits[1:])
        return ItemsWithin(splits, distances, ids)

    def names_of(self, ids):
        """Names of items.

        Args:
            ids: Ids in an array of any shape.

        Returns:
            An array of the same shape, of type object: strings, and None for items without a name.

        Raises:
            EngineError: If the engine cannot be reached, or not all of it.
        """
        ids = np.asarray(ids)
        names = np.empty(ids.shape, object)
        if ids.size:
            with self._using:
                known = self._store.names(np.unique(as_ids(ids.reshape(-1))))
            names.reshape(-1)[:] = [known.get(item) for item in ids.reshape(-1).tolist()]
        return names


def _ordered(rows, distances, ids):
    """Rows of queries, distances and ids in ascending order of all three."""
    order = np.lexsort((ids, distances, rows))
    return (
        np.asarray(rows, np.int64)[order],
        np.asarray(distances, np.int32)[order],
        np.asarray(ids, np.int64)[order],
    )


def _following(state, count):
    first = state.next_id
    if first < 0 or first > _MAX_ID - count:
        raise no_more_ids()
    return np.arange(first, first + count, dtype=np.int64)


def _check_new(change, ids):
    """Raises `ValueError` if an id is repeated, or in the index."""
    is_again = np.ones(len(ids), bool)
    is_again[np.unique(ids, return_index=True)[1]] = False
    state = change.state
    # Ids from the next one on are new.
    if state.count and not 0 <= state.next_id <= ids.min():
        is_again |= np.isin(ids, change.known(ids))
    if is_again.any():
        raise repeated(ids[is_again.argmax()])
