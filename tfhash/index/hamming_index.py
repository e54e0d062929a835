"""The index."""

import contextlib
import dataclasses
import threading

import numpy as np

import tfhash_ops
import tfhash_ops.index as core
from tfhash import codes as code_layout
from tfhash import expected_distance
from tfhash.index import asymmetric, duplicates, faiss_bridge, storage
from tfhash.index.arguments import (
    as_ids,
    as_integer,
    as_new_ids,
    as_threads,
    no_more_ids,
    repeated,
    unknown,
)
from tfhash.index.loaded import LoadedFile, explained
from tfhash.index.names import Names, check_names, naming
from tfhash.index.reference import NumpyIndex
from tfhash.index.results import ItemsWithin, NearestItems


class HammingIndex:
    """Codes with ids, searched exactly.

    Results are in ascending order of (distance, id), whatever the order in which items were added
    and the number of threads. Every search sees the index before or after each `add` and `remove`
    of other threads, never between.

    Searches use tables where these are faster than comparing all codes; see docs/hamming_index.md.

    Args:
        bits: Number of bits of a code, >= 1.
        compact: Whether to keep codes and ids alone: least memory, and every search compares all
            codes.
        model: What made the codes, a string such as the fingerprint of a model; `load` can refuse
            an index of another one.

    Attributes:
        attached: Dictionary of arrays of your own (`uint8`, `uint32`, `int64` or `uint64`), which
            `save` and `load` keep.

    Raises:
        ValueError: If `bits` is not an integer >= 1.

    Example:

    >>> index = HammingIndex(bits=12)
    >>> ids = index.add(np.array([[0, 0], [255, 15], [1, 0]], "uint8"), names=["a", "b", "c"])
    >>> distances, ids = index.search(np.array([[3, 0]], "uint8"), k=2)
    >>> distances.tolist(), ids.tolist()
    ([[1, 2]], [[2, 0]])
    >>> index.names_of(ids).tolist()
    [['c', 'a']]
    """

    def __init__(self, bits, compact=False, model=""):
        self._bits = code_layout.check_bits(bits)
        if not isinstance(model, str):
            raise ValueError(f"`model` must be a string. Received: model={model!r}")
        self._compact, self._model = bool(compact), model
        self.attached: dict[str, np.ndarray] = {}
        # One writer at a time, so that ids and names fit each other.
        self._writing, self._saving = threading.RLock(), threading.Lock()
        self._names, self._file = Names(), None
        tfhash_ops.warn_if_not_compiled()
        kind = core.CompiledIndex if tfhash_ops.is_compiled() else NumpyIndex
        self._core = kind(self._bits, self._compact)

    @property
    def bits(self):
        """Number of bits of a code."""
        return self._bits

    @property
    def compact(self):
        """Whether the index keeps codes and ids alone."""
        return self._compact

    @property
    def model(self):
        """What made the codes, as given; "" if it was not."""
        return self._model

    @property
    def ids(self):
        """Ids of all items, `int64 [n]`, ascending."""
        with self._core.snapshot() as snapshot:
            return snapshot.ids()

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
        """Bytes of codes, ids and tables, those in a mapped file included; names are not."""
        with self._core.snapshot() as snapshot:
            return snapshot.nbytes()

    def __len__(self):
        with self._core.snapshot() as snapshot:
            return snapshot.count

    def __repr__(self):
        return f"<HammingIndex: {len(self):,} codes of {self._bits} bits>"

    def items(self):
        """Codes and ids at one time.

        Returns:
            Packed codes, `uint8 [n, ceil(bits / 8)]`, and ids, `int64 [n]`, ascending; copies.
        """
        with self._core.snapshot() as snapshot, self._explain():
            return snapshot.items()

    def add(self, codes, ids=None, names=None, threads=None):
        """Adds items: all, or none if it raises.

        Args:
            codes: Packed codes, `uint8 [n, ceil(bits / 8)]`; or booleans or signs -1 and +1,
                `[n, bits]`.
            ids: Integers of 64 bits, `[n]`, new to the index. By default, those that follow the
                largest one the index ever had.
            names: Strings, `[n]`: text, or names of files as `os.fsdecode` gives them.
            threads: Threads that build tables; by default one for each available CPU.

        Returns:
            The ids of the items, `int64 [n]`.

        Raises:
            ValueError: If codes do not fit the index, an id is repeated or not new, or names do not
                fit the codes.
        """
        codes = code_layout.as_packed(codes, self._bits)
        names = None if names is None else check_names(names, len(codes))
        ids, threads = as_new_ids(ids, len(codes)), as_threads(threads)
        with self._writing, self._explain():
            try:
                with naming(self._names, self._core, ids, names):
                    first = self._core.add(codes, ids, threads)
            except core.RepeatedIdError as error:
                raise repeated(error.args[0]) from None
            except core.NoMoreIdsError:
                raise no_more_ids() from None
            self._let_go()
        return np.arange(first, first + len(codes), dtype=np.int64) if ids is None else ids

    def remove(self, ids, threads=None):
        """Removes items: all, or none if it raises. Other items keep their ids.

        Args:
            ids: Ids in the index, `[n]`, different from each other.
            threads: Threads that rebuild tables; by default one for each available CPU.

        Raises:
            ValueError: If ids are unknown or repeated; the message names them.
        """
        ids, threads = as_ids(ids), as_threads(threads)
        with self._writing, self._explain():
            try:
                self._core.remove(ids, threads)
            except core.UnknownIdsError as error:
                raise unknown(ids[error.args[0]]) from None
            # After the items: a search that finds them finds their names.
            self._names.discard(ids)
            self._let_go()

    def search(self, queries, k, threads=None):
        """The k nearest items of each query.

        Args:
            queries: As the codes of `add`, q of them.
            k: Number of items wanted, >= 1. A smaller index gives all it has.
            threads: Threads that share the queries; by default one for each available CPU.

        Returns:
            `NearestItems`: distances, `int32 [q, min(k, n)]`, and ids, `int64` of the same shape,
            in ascending order of (distance, id).

        Raises:
            ValueError: If queries do not fit the index, or `k` is not an integer >= 1.
        """
        queries = code_layout.as_packed(queries, self._bits, "queries")
        k, threads = as_integer("k", k, 1), as_threads(threads)
        with self._core.snapshot() as snapshot, self._explain():
            return NearestItems(*snapshot.search(queries, k, threads))

    def search_asymmetric(self, relaxed, k, threads=None):
        """The k items of each query at the smallest expected Hamming distance (see docs/search.md).

        Args:
            relaxed: Relaxed codes of the queries, float `[q, bits]` in [-1, 1].
            k, threads: As in `search`.

        Returns:
            `NearestItems`, as `search`, but distances are `float32`.

        Raises:
            ValueError: If relaxed codes do not fit the index or are not in [-1, 1], or as `search`.

        Example: each item differs from the query in one bit, and the second bit is less certain.

        >>> index = HammingIndex(bits=2)
        >>> _ = index.add(np.array([[0b10], [0b01]], "uint8"))
        >>> [part.tolist() for part in index.search_asymmetric(np.array([[0.5, 0.25]]), k=2)]
        [[[0.875, 1.125]], [[1, 0]]]
        """
        relaxed = expected_distance.as_relaxed(relaxed, self._bits)
        k, threads = as_integer("k", k, 1), as_threads(threads)
        with self._core.snapshot() as snapshot, self._explain():
            return asymmetric.search(snapshot, relaxed, k, self._compact, threads)

    def within(self, queries, radius, threads=None):
        """All items within a radius of each query.

        Args:
            queries: As the codes of `add`, q of them.
            radius: Largest distance in bits, >= 0.
            threads: Threads that share the queries; by default one for each available CPU.

        Returns:
            `ItemsWithin`: row splits, distances and ids, each row in ascending order of
            (distance, id).

        Raises:
            ValueError: If queries do not fit the index, or `radius` is not an integer >= 0.

        Example:

        >>> index = HammingIndex(bits=8)
        >>> _ = index.add(np.array([[0], [1], [255]], "uint8"), ids=[7, 5, 6])
        >>> index.within(np.array([[0], [255]], "uint8"), radius=1).ids.tolist()
        [7, 5, 6]
        """
        queries = code_layout.as_packed(queries, self._bits, "queries")
        radius, threads = as_integer("radius", radius, 0), as_threads(threads)
        with self._core.snapshot() as snapshot, self._explain():
            return ItemsWithin(*snapshot.within(queries, min(radius, self._bits), threads))

    def duplicates(self, radius, threads=None):
        """Groups of items at most `radius` bits apart, directly or through others.

        Args:
            radius: Largest distance of a pair in bits, >= 0.
            threads: Threads to use; by default one for each available CPU.

        Returns:
            `tfhash.index.duplicates.Groups` whose members are ids, by their smallest id.

        Raises:
            ValueError: If `radius` is not an integer >= 0.

        Example:

        >>> index = HammingIndex(bits=8)
        >>> _ = index.add(np.array([[0], [7], [1]], "uint8"), ids=[10, 20, 30])
        >>> [group.members.tolist() for group in index.duplicates(radius=1)]
        [[10, 30]]
        """
        radius, threads = as_integer("radius", radius, 0), as_threads(threads)
        codes, ids = self.items()
        groups = duplicates.groups(codes, self._bits, radius, threads=threads)
        return dataclasses.replace(groups, members=ids[groups.members])

    def names_of(self, ids):
        """Names of items.

        Args:
            ids: Ids in an array of any shape.

        Returns:
            An array of the same shape, of type object: strings, and None for items without a name.
        """
        ids = np.asarray(ids)
        names = np.empty(ids.shape, object)
        names.reshape(-1)[:] = [self._names.get(item) for item in ids.reshape(-1).tolist()]
        return names

    def save(self, path, threads=None):
        """Writes the index to a file in the safetensors layout: the whole file, or none.

        Tables are merged first, which takes as long as building the index unless it is unchanged.

        Args:
            path: The file; it is replaced if it exists.
            threads: Threads that merge tables; by default one for each available CPU.

        Raises:
            OSError: If the file cannot be written; an old one is unchanged.
            ValueError: If `load` would refuse the file, as for an array in `attached` of another type.
        """
        threads = as_threads(threads)
        with self._saving, contextlib.ExitStack() as stack:
            with self._writing, self._explain():
                self._core.merge(threads)
                self._let_go()
                snapshot = stack.enter_context(self._core.snapshot())
                named = self._names.arrays() if self._names else {}
            arrays, layout = snapshot.arrays() if snapshot.count else storage.empty(self._bits)
            arrays.update(named)
            settings = {
                "bits": self._bits,
                "count": snapshot.count,
                "next_id": snapshot.next_id,
                "compact": int(self._compact),
                "model": self._model,
                **layout,
            }
            storage.write(path, arrays, settings, self.attached)

    @classmethod
    def load(cls, path, mmap=True, model=None):
        """Opens a file that `save` wrote.

        Args:
            path: The file. It may be replaced later, as `save` does, but not be changed in place.
            mmap: Whether arrays stay in the file and are read when used, so that processes share
                them. The checksums of large files are then checked by `verify` alone.
            model: Refuse codes of any other model than this one. By default, any will do.

        Returns:
            `HammingIndex`.

        Raises:
            IndexFileError: If it is not an index, damaged (`DamagedFileError`), or of a newer
                version.
            OtherModelError: If its codes come from another model.
            OSError: If it cannot be read.
        """
        file = LoadedFile(path, mmap, model)
        index = cls(int(file.metadata["bits"]), file.metadata.get("compact") == "1", file.model)
        index._file, index.attached = file, storage.attached(file.arrays)
        index._names = Names(*storage.names(file.arrays))
        with index._explain():
            file.open_into(index._core)
        return index

    def verify(self):
        """Reads the whole index and raises `DamagedFileError` if anything has changed since `save`.

        Compares the checksums of what it holds of the file, and checks that its arrays agree.
        """
        if self._file is not None:
            self._file.check()
            self._let_go()
        with self._core.snapshot() as snapshot, self._explain():
            snapshot.validate()

    def to_faiss(self):
        """Makes an index of faiss with the same codes and ids.

        Returns:
            `faiss.IndexBinaryIDMap2` on an `IndexBinaryFlat` of 8 * ceil(bits / 8) bits. Distances
            are the same, because padding bits are 0.

        Raises:
            ImportError: If faiss is not installed.
        """
        return faiss_bridge.to_faiss(*self.items())

    @classmethod
    def from_faiss(cls, index, bits=None, compact=False, model=""):
        """Takes codes and ids from an index of faiss.

        Args:
            index: `faiss.IndexBinaryFlat`, or one in an `IndexBinaryIDMap` or `IndexBinaryIDMap2`.
            bits: Number of bits, if the codes are padded; the padding bits must be 0.
            compact, model: As for `HammingIndex`.

        Returns:
            `HammingIndex`.

        Raises:
            ImportError: If faiss is not installed.
            ValueError: If it is another index, `bits` does not fit, or ids are repeated.
        """
        codes, ids, bits = faiss_bridge.from_faiss(index, bits)
        made = cls(bits, compact, model)
        made.add(codes, ids)
        return made

    def _let_go(self):
        if self._file is not None and not self._core.reads_arrays():
            self._file.let_go()

    def _explain(self):
        return explained("the index" if self._file is None else self._file.path)
