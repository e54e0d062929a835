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
