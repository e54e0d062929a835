"""Checks of arguments."""

import operator

import numpy as np

from tfhash_ops import library


def as_integer(name, value, least):
    """Returns an integer >= `least`, or raises `ValueError`."""
    try:
        integer = operator.index(value)
    except TypeError:
        integer = least - 1
    if isinstance(value, bool) or integer < least:
        raise ValueError(f"`{name}` must be an integer >= {least}. Received: {name}={value!r}")
    return min(integer, 2**62)


def as_threads(threads):
    """Returns a number of threads: that of the available CPUs for None."""
    if threads is None:
        return library.available_cpus()
    return min(as_integer("threads", threads, 1), 1024)


def as_ids(ids):
    """Returns ids as `int64 [n]`, or raises `ValueError`."""
    array = np.asarray(ids)
    if array.size == 0:
        array = array.astype(np.int64)
    fits = array.dtype.kind in "iu" and (
        array.dtype != np.uint64 or not array.size or array.max() < 2**63
    )
    if array.ndim != 1 or not fits:
        raise ValueError(
            "`ids` must be integers of 64 bits, [n]. Received: "
            f"{array.dtype} of shape {array.shape}"
        )
    return np.ascontiguousarray(array, np.int64)


def as_new_ids(ids, count):
    """Returns ids for `count` codes as `int64 [count]`, `None` as it is, or raises `ValueError`."""
    if ids is None:
        return None
    ids = as_ids(ids)
    if len(ids) != count:
        raise ValueError(
            f"`ids` must be one id for each code. Received: {len(ids)} ids for {count} codes"
        )
    return ids


def repeated(item):
    """The `ValueError` for an id that is not new."""
    return ValueError(
        "`ids` must be new to the index and different from each other. Received: id "
        f"{item} again. Remove the item first, or give another id"
    )


def unknown(ids):
    """The `ValueError` for ids, NumPy `[n]`, that are repeated or not in the index."""
    shown = ", ".join(map(str, ids[:10].tolist())) + (", ..." if len(ids) > 10 else "")
    return ValueError(
        "`ids` must be in the index and different from each other. Received: "
        f"{len(ids)} that are not: {shown}. Nothing was removed"
    )


def no_more_ids():
    """The `ValueError` where ids cannot follow the largest one."""
    return ValueError("the id after the largest one does not fit in 64 bits. Give `ids`")
