"""The compiled index of `tfhash.index`, called through `ctypes`: no TensorFlow, no copies of arrays.

`tfhash.index` checks what users pass; here, arrays must have the stated types and lie contiguously.
`ctypes` releases the interpreter's lock during a call.
"""

import ctypes
import functools

import numpy as np

from tfhash_ops import library
from tfhash_ops.results import Neighbors, TopK

# As in cc/index/pieces.h.
MAX_PIECES, MAX_KEY_BITS = 4, 24

# The values of TfhashIndexStatus.
_OUT_OF_MEMORY, _REPEATED_ID, _UNKNOWN_ID, _DAMAGED, _NO_MORE_IDS = 1, 2, 3, 4, 5


class RepeatedIdError(Exception):
    """An id is not new; `args[0]` is the id."""


class UnknownIdsError(Exception):
    """Ids are not in the index, or given twice; `args[0]` marks them."""


class NoMoreIdsError(Exception):
    """The largest id of 64 bits is in use."""


class DamagedError(Exception):
    """Arrays of the index contradict each other."""


class Segment(ctypes.Structure):
    """`TfhashIndexSegment`."""

    _fields_ = [
        ("pieces", ctypes.c_int64),
        ("key_bits", ctypes.c_int64),
        ("ids", ctypes.c_void_p),
        ("items", ctypes.c_int64),
        ("tables", ctypes.c_void_p * MAX_PIECES),
        ("rows", ctypes.c_int64),
        ("directories", ctypes.c_void_p * MAX_PIECES),
        ("ranks", ctypes.c_void_p),
        ("ranks_size", ctypes.c_int64),
        ("repeats", ctypes.c_void_p),
        ("repeats_size", ctypes.c_int64),
        ("repeats_before", ctypes.c_void_p),
        ("extras", ctypes.c_void_p),
        ("extras_size", ctypes.c_int64),
    ]


class Snapshot:
    """An index at one time, for use in a `with` statement.

    Attributes:
        count: Number of items.
        next_id: The id that the next item without one gets.
    """

    def __init__(self, index):
        self._index = index

    def __enter__(self):
        # First: the index lets go of the arrays after it has published items that are not in them.
        self._arrays = self._index.arrays
        self._handle = ctypes.c_void_p()
        count, next_id = ctypes.c_int64(), ctypes.c_int64()
        _check(
            _functions().TfhashIndexTake(
                self._index.handle,
                ctypes.byref(self._handle),
                ctypes.byref(count),
                ctypes.byref(next_id),
            )
        )
        self.count, self.next_id = count.value, next_id.value
        return self

    def __exit__(self, *_):
        _functions().TfhashIndexRelease(self._handle)
        self._arrays = None

    def search(self, queries, k, threads):
        """`TopK` of the `min(k, count)` nearest items, with ids for indices."""
        k = min(k, self.count)
        shape = len(queries), k
        distances, ids = np.empty(shape, np.int32), np.empty(shape, np.int64)
        if distances.size:
            _check(
                _functions().TfhashIndexSearch(
                    self._handle,
                    _pointer(queries),
                    len(queries),
                    k,
                    threads,
                    _pointer(distances),
                    _pointer(ids),
                )
            )
        return TopK(distances, ids)

    def within(self, queries, radius, threads):
        """`Neighbors` of all items within the radius, with ids for indices."""
        found, size = ctypes.c_void_p(), ctypes.c_int64()
        _check(
            _functions().TfhashIndexWithin(
                self._handle,
                _pointer(queries),
                len(queries),
                radius,
                threads,
                ctypes.byref(found),
                ctypes.byref(size),
            )
        )
        try:
            splits = np.empty(len(queries) + 1, np.int64)
            distances, ids = np.empty(size.value, np.int32), np.empty(size.value, np.int64)
            _functions().TfhashIndexCopyNeighbors(
                found, _pointer(splits), _pointer(distances), _pointer(ids)
            )
        finally:
            _functions().TfhashIndexFreeNeighbors(found)
        return Neighbors(splits, distances, ids)

    def items(self):
        """Codes and ids in ascending order of the ids."""
        codes = np.empty((self.count, self._index.bytes), np.uint8)
        ids = np.empty(self.count, np.int64)
        _check(_functions().TfhashIndexItems(self._handle, _pointer(codes), _pointer(ids)))
        return codes, ids

    def ids(self):
        """Ids in ascending order."""
        ids = np.empty(self.count, np.int64)
        _check(_functions().TfhashIndexItems(self._handle, None, _pointer(ids)))
        return ids

    def nbytes(self):
        """Bytes of all arrays."""
        return _functions().TfhashIndexBytes(self._handle)

    def validate(self):
        """Raises `DamagedError` if arrays contradict each other."""
        _check(_functions().TfhashIndexValidate(self._handle))

    def arrays(self):
        """The arrays of the only segment, by name; views that end with the snapshot."""
        segment = Segment()
        _check(_functions().TfhashIndexSnapshotSegment(self._handle, ctypes.byref(segment)))
        length, pieces = self._index.bytes, segment.pieces
        named = {"ids": _view(segment.ids, np.int64, segment.items)}
        if segment.repeats_size:
            named["repeats"] = _view(segment.repeats, np.uint64, segment.repeats_size)
            named["repeats_before"] = _view(segment.repeats_before, np.uint32, segment.repeats_size)
            named["extras"] = _view(segment.extras, np.uint32, segment.extras_size)
        if segment.ranks_size:
            named["ranks"] = _view(segment.ranks, np.uint32, segment.ranks_size)
        keys = (1 << segment.key_bits) + 1
        for piece in range(pieces):
            named[f"directory_{piece}"] = _view(segment.directories[piece], np.uint32, keys)
        for piece in range(max(pieces, 1)):
            table = _view(segment.tables[piece], np.uint8, segment.rows * length)
            named["codes" if piece == 0 else f"table_{piece}"] = table.reshape(-1, length)
        return named, {"pieces": pieces, "key_bits": segment.key_bits}


class CompiledIndex:
    """A set of packed codes with ids. See `tfhash.index.HammingIndex`.

    Args:
        bits: Number of bits of a code.
        compact: Whether to keep no tables.
    """

    def __init__(self, bits, compact):
        self.bits, self.bytes = bits, -(-bits // 8)
        self.handle = ctypes.c_void_p()
        self.arrays = None  # those of `open`, as long as they are read
        _check(_functions().TfhashIndexNew(bits, compact, ctypes.byref(self.handle)))

    def __del__(self):
        # At exit, modules may be gone before objects are.
        if getattr(self, "handle", None) and _functions is not None:
            _functions().TfhashIndexFree(self.handle)
            self.handle = ctypes.c_void_p()

    def snapshot(self):
        return Snapshot(self)

    def add(self, codes, ids, threads):
        """Adds codes; returns the first id if `ids` is None."""
        first = ctypes.c_int64()
        status = _functions().TfhashIndexAdd(
            self.handle,
            _pointer(codes),
            len(codes),
            None if ids is None else _pointer(ids),
            threads,
            ctypes.byref(first),
        )
        if status == _REPEATED_ID:
            raise RepeatedIdError(first.value)
        _check(status)
        self._let_go()
        return first.value

    def check_ids(self, ids):
        """Raises `RepeatedIdError` if `add` would."""
        repeated = ctypes.c_int64()
        status = _functions().TfhashIndexCheckIds(
            self.handle, _pointer(ids), len(ids), ctypes.byref(repeated)
        )
        if status == _REPEATED_ID:
            raise RepeatedIdError(repeated.value)
        _check(status)

    def remove(self, ids, threads):
        is_unknown = np.zeros(len(ids), np.uint8)
        status = _functions().TfhashIndexRemove(
            self.handle, _pointer(ids), len(ids), threads, _pointer(is_unknown)
        )
        if status == _UNKNOWN_ID:
            raise UnknownIdsError(is_unknown.astype(bool))
        _check(status)
        self._let_go()

    def merge(self, threads):
        """Makes one segment of all items."""
        _check(_functions().TfhashIndexMerge(self.handle, threads))
        self._let_go()

    def reads_arrays(self):
        """Whether items are in the arrays of `open`; never again once they are not."""
        return bool(_functions().TfhashIndexBorrows(self.handle))

    def skip_ids(self, next_id):
        """Continues at this id. The index must be empty."""
        _check(_functions().TfhashIndexOpen(self.handle, None, next_id))

    def open(self, arrays, pieces, key_bits, next_id):
        """Takes items from arrays as `Snapshot.arrays` gives them, which it reads when searched."""
        segment = Segment(pieces=pieces, key_bits=key_bits)
        segment.ids, segment.items = _pointer(arrays["ids"]), len(arrays["ids"])
        segment.rows = len(arrays["codes"])
        for piece in range(max(pieces, 1)):
            name = "codes" if piece == 0 else f"table_{piece}"
            segment.tables[piece] = _pointer(arrays[name])
        for piece in range(pieces):
            segment.directories[piece] = _pointer(arrays[f"directory_{piece}"])
        if pieces:
            segment.ranks, segment.ranks_size = _pointer(arrays["ranks"]), len(arrays["ranks"])
        if "repeats" in arrays:
            segment.repeats = _pointer(arrays["repeats"])
            segment.repeats_size = len(arrays["repeats"])
            segment.repeats_before = _pointer(arrays["repeats_before"])
            segment.extras = _pointer(arrays["extras"])
            segment.extras_size = len(arrays["extras"])
        self.arrays = arrays
        _check(_functions().TfhashIndexOpen(self.handle, ctypes.byref(segment), next_id))

    def _let_go(self):
        if self.arrays is not None and not self.reads_arrays():
            self.arrays = None


@functools.cache
def _functions():
    functions = library.core()
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    signatures = {
        "TfhashIndexNew": [integer, ctypes.c_int32, pointer],
        "TfhashIndexFree": [pointer],
        "TfhashIndexAdd": [pointer, pointer, integer, pointer, integer, pointer],
        "TfhashIndexCheckIds": [pointer, pointer, integer, pointer],
        "TfhashIndexRemove": [pointer, pointer, integer, integer, pointer],
        "TfhashIndexMerge": [pointer, integer],
        "TfhashIndexOpen": [pointer, pointer, integer],
        "TfhashIndexBorrows": [pointer],
        "TfhashIndexTake": [pointer, pointer, pointer, pointer],
        "TfhashIndexRelease": [pointer],
        "TfhashIndexBytes": [pointer],
        "TfhashIndexSearch": [pointer, pointer, integer, integer, integer, pointer, pointer],
        "TfhashIndexWithin": [pointer, pointer, integer, integer, integer, pointer, pointer],
        "TfhashIndexCopyNeighbors": [pointer, pointer, pointer, pointer],
        "TfhashIndexFreeNeighbors": [pointer],
        "TfhashIndexItems": [pointer, pointer, pointer],
        "TfhashIndexSnapshotSegment": [pointer, pointer],
        "TfhashIndexValidate": [pointer],
    }
    for name, arguments in signatures.items():
        function = getattr(functions, name)
        function.argtypes, function.restype = arguments, ctypes.c_int32
    for name in ("Free", "Release", "CopyNeighbors", "FreeNeighbors"):
        getattr(functions, f"TfhashIndex{name}").restype = None
    functions.TfhashIndexBytes.restype = ctypes.c_int64
    functions.TfhashIndexMessage.restype = ctypes.c_char_p
    return functions


def _check(status):
    if status == 0:
        return
    message = _functions().TfhashIndexMessage().decode(errors="replace")
    if status == _OUT_OF_MEMORY:
        raise MemoryError(message)
    if status == _DAMAGED:
        raise DamagedError(message)
    if status == _NO_MORE_IDS:
        raise NoMoreIdsError(message)
    raise RuntimeError(message)


def _pointer(array):
    return array.ctypes.data


def _view(address, dtype, count):
    """An array at an address, without copying."""
    size = count * np.dtype(dtype).itemsize
    buffer = (ctypes.c_uint8 * size).from_address(address) if size else b""
    return np.frombuffer(buffer, dtype, count)
