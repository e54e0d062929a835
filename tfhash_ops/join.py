"""Pairs and groups of packed codes within a radius, by the compiled library. Imports no TensorFlow.

`tfhash_ops.join_reference` has the same in NumPy: the specification, which replaces the compiled
library where that is absent.
"""

import concurrent.futures
import ctypes
import operator

import numpy as np

from tfhash_ops import library, messages

# Pairs of distinct codes that are kept: half a gigabyte. Where there are more, the join runs again
# for each part of the items.
MOST_EDGES = 2**24

# As in cc/join/join_api.h.
_DONE, _OUT_OF_MEMORY, _CANCELLED = range(3)

# Items are numbered by 32 bits.
MOST_ITEMS = 2**32 - 2


class _Input(ctypes.Structure):
    _fields_ = (
        ("codes", ctypes.c_void_p),
        ("count", ctypes.c_int64),
        ("bits", ctypes.c_int64),
        ("radius", ctypes.c_int64),
        ("threads", ctypes.c_int64),
        ("most_edges", ctypes.c_int64),
        ("kernel", ctypes.c_char_p),
        ("cancelled", ctypes.c_void_p),
    )


def open_pairs(codes, bits, radius, threads=None, most_edges=MOST_EDGES):
    """Finds all pairs of items at most `radius` bits apart, and counts them.

    Args:
        codes: Packed codes, `uint8 [n, ceil(bits / 8)]`, padding bits 0.
        bits: Length of a code in bits, >= 1.
        radius: Largest distance in bits, >= 0.
        threads: Threads to use, >= 1; by default one for each CPU of this process.
        most_edges: Pairs of distinct codes kept in memory, >= 1. It bounds memory and does not
            change the result.

    Returns:
        A stream with the attribute `total`, the number of pairs, and the method `next(limit)`, which
        returns up to `limit` further pairs in ascending order of (first, second): a triple of
        `int64 [m]`, `int64 [m]` and `int32 [m]`, first, second and distances; m is 0 at the end.

    Raises:
        TypeError, ValueError: If an argument is not as above.
        MemoryError: If memory is not enough for the codes.

    Example:

    >>> stream = open_pairs(np.array([[0], [7], [1]], "uint8"), bits=8, radius=1)
    >>> stream.total
    1
    >>> [part.tolist() for part in stream.next(10)]
    [[0], [2], [1]]
    """
    codes, bits, radius = check(codes, bits, radius)
    if not _is_compiled():
        from tfhash_ops import join_reference

        return join_reference.PairStream(codes, bits, radius)
    return _PairStream(codes, bits, radius, _check_threads(threads), most_edges)


def group_items(codes, bits, radius, threads=None):
    """Connects items at most `radius` bits apart, directly or through others.

    Args:
        codes, bits, radius, threads: As in `open_pairs`.

    Returns:
        `(groups, nearest, farthest)`, `int64 [n]`, `int32 [n]` and `int32 [n]`: the smallest item of
        each item's group, and the smallest and largest distance among the pairs of the group within
        the radius; -1 for an item without another one within the radius.

    Raises:
        TypeError, ValueError, MemoryError: As `open_pairs`.

    Example:

    >>> groups, _, farthest = group_items(np.array([[0], [7], [1], [3]], "uint8"), 8, radius=1)
    >>> groups.tolist(), farthest.tolist()
    ([0, 0, 0, 0], [1, 1, 1, 1])
    """
    codes, bits, radius = check(codes, bits, radius)
    if not _is_compiled():
        from tfhash_ops import join_reference

        return join_reference.group_items(codes, bits, radius)
    groups = np.empty(len(codes), np.int64)
    nearest, farthest = np.empty((2, len(codes)), np.int32)
    _call(
        library.core().TfhashJoinGroups,
        _make_input(codes, bits, radius, _check_threads(threads), MOST_EDGES),
        *(_pointer(array) for array in (groups, nearest, farthest)),
    )
    return groups, nearest, farthest


def check(codes, bits, radius):
    """The arguments as a contiguous array and integers, or `TypeError` or `ValueError`."""
    codes = np.asarray(codes)
    if codes.dtype != np.uint8:
        raise TypeError(messages.CODES_TYPE.format("codes", codes.dtype))
    bits, radius = _as_integer("bits", bits), _as_integer("radius", radius)
    if bits < 1 or codes.ndim != 2 or codes.shape[1] != -(-bits // 8):
        raise ValueError(
            "`codes` must have shape [n, ceil(bits / 8)], with bits >= 1. "
            f"Received: codes of shape {list(codes.shape)} and bits={bits}"
        )
    if radius < 0:
        raise ValueError(messages.RADIUS.format(radius))
    if len(codes) > MOST_ITEMS:
        raise ValueError(f"there can be {MOST_ITEMS:,} codes at most. Received: {len(codes):,}")
    codes = np.ascontiguousarray(codes)
    if bits % 8 and len(padded := np.flatnonzero(codes[:, -1] >> bits % 8)):
        raise ValueError(
            f"padding bits of packed codes must be 0. Received: code {padded[0]} with a bit set "
            f"beyond its {bits} bits"
        )
    # A larger radius changes nothing, and may not fit in 64 bits.
    return codes, bits, min(radius, bits)


class _PairStream:
    def __init__(self, codes, bits, radius, threads, most_edges):
        self._handle = ctypes.c_void_p()
        total = ctypes.c_int64()
        # The compiled stream reads it whenever it joins.
        self._cancelled = ctypes.c_int32()
        joined = _make_input(codes, bits, radius, threads, most_edges)
        joined.cancelled = ctypes.addressof(self._cancelled)
        _call(
            library.core().TfhashJoinOpen,
            joined,
            ctypes.byref(self._handle),
            ctypes.byref(total),
            cancelled=self._cancelled,
        )
        self.total = total.value

    def next(self, limit):
        """Up to `limit` further pairs."""
        first, second = np.empty((2, limit), np.int64)
        distances = np.empty(limit, np.int32)
        written = ctypes.c_int64()
        _call(
            library.core().TfhashJoinNext,
            self._handle,
            ctypes.c_int64(limit),
            *(_pointer(array) for array in (first, second, distances)),
            ctypes.byref(written),
            cancelled=self._cancelled,
        )
        count = written.value
        return first[:count], second[:count], distances[:count]

    def __del__(self):
        if getattr(self, "_handle", None):
            library.core().TfhashJoinClose(self._handle)


def _is_compiled():
    library.warn_if_not_compiled()
    return library.is_compiled()


def _make_input(codes, bits, radius, threads, most_edges):
    kernel = library.cpu_kernel().encode()
    joined = _Input(codes.ctypes.data, len(codes), bits, radius, threads, most_edges, kernel, None)
    joined.array = codes  # kept for as long as its address
    return joined


def _pointer(array):
    return ctypes.c_void_p(array.ctypes.data)


def _call(function, first, *rest, cancelled=None):
    """Calls the library in a thread, so that Ctrl-C ends it."""
    if cancelled is None:
        cancelled = ctypes.c_int32()
        first.cancelled = ctypes.addressof(cancelled)
    given = ctypes.byref(first) if isinstance(first, _Input) else first
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        future = pool.submit(function, given, *rest)
        try:
            status = future.result()
        except BaseException:
            cancelled.value = 1
            raise
    if status == _OUT_OF_MEMORY:
        raise MemoryError("there is not enough memory to join the codes. Join fewer of them")
    if status != _DONE:
        raise RuntimeError(f"the join failed with status {status}; this is a defect of tfhash_ops")


def _check_threads(threads):
    if threads is None:
        return library.available_cpus()
    if (threads := _as_integer("threads", threads)) < 1:
        raise ValueError(f"threads must be at least 1. Received: threads = {threads}")
    return min(threads, 256)


def _as_integer(name, value):
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise TypeError(messages.INTEGER.format(name, repr(value))) from None
