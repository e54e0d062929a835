"""The same functions for JAX, without TensorFlow: on the CPU, and on NVIDIA GPUs where tfhash_ops was
compiled for them.

They can be called as they are or inside `jax.jit`. Indices and counts are `int64` where JAX has
that type (`jax_enable_x64`), else `int32`. Shapes, `k`, `size` and `bits` must be static.
"""

import functools
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tfhash_ops import library

_HANDLERS = "HammingDistance", "HammingTopK", "HammingWithin", "HammingHistogram"


@functools.cache
def _register():
    libraries = {"cpu": (library.core(), "Tfhash"), "CUDA": (library.cuda(), "TfhashCuda")}
    for platform, (handlers, prefix) in libraries.items():
        for name in _HANDLERS if handlers else ():
            handler = jax.ffi.pycapsule(getattr(handlers, prefix + name))
            jax.ffi.register_ffi_target("Tfhash" + name, handler, platform=platform)


def hamming_distance(queries, database):
    """Number of bits in which each query differs from each item.

    Args:
        queries: Packed codes, `uint8 [q, bytes]`, bytes >= 1.
        database: Packed codes, `uint8 [n, bytes]`.

    Returns:
        `int32 [q, n]` in [0, 8 bytes].

    Raises:
        ValueError: If codes are not `uint8`, or shapes do not fit.

    Example:

    >>> import numpy as np
    >>> codes = np.array([[0b00], [0b01], [0b11]], "uint8")
    >>> hamming_distance(codes[:1], codes).tolist()
    [[0, 1, 2]]
    """
    queries, database = _check_codes(queries, database)
    return _call(
        "TfhashHammingDistance",
        (queries, database),
        _array(jnp.int32, len(queries), len(database)),
    )


def hamming_top_k(queries, database, k):
    """The k nearest items of each query, in ascending order of (distance, index).

    Args:
        queries: Packed codes, `uint8 [q, bytes]`, bytes >= 1.
        database: Packed codes, `uint8 [n, bytes]`.
        k: Number of items, 1 <= k <= n.

    Returns:
        A pair: distances, `int32 [q, k]`, and indices, rows of the database, `[q, k]`.

    Raises:
        ValueError: As `hamming_distance`, and if `k` is out of range.

    Example:

    >>> import numpy as np
    >>> codes = np.array([[0b11], [0b01], [0b10]], "uint8")
    >>> distances, indices = hamming_top_k(np.zeros((1, 1), "uint8"), codes, k=2)
    >>> distances.tolist(), indices.tolist()
    ([[1, 1]], [[1, 2]])
    """
    queries, database = _check_codes(queries, database)
    if not 1 <= k <= len(database):
        raise ValueError(
            "k must be at least 1 and at most the number of items in the database. Received: "
            f"k = {k} and {len(database)} items"
        )
    shape = len(queries), k
    results = _array(jnp.int32, *shape), _array(_integer(), *shape)
    return tuple(_call("TfhashHammingTopK", (queries, database), results))


def hamming_within(queries, database, radius, size):
    """All items at most `radius` bits from each query, as far as there is room for them.

    Args:
        queries: Packed codes, `uint8 [q, bytes]`, bytes >= 1.
        database: Packed codes, `uint8 [n, bytes]`.
        radius: Largest distance, an integer >= 0; need not be static.
        size: Number of items in all for which the results have room, >= 0, as in
            `jax.numpy.nonzero`. Room left over holds -1. If `row_splits[q]` is above `size`,
            there was too little, and the last items are missing.

    Returns:
        A triple: row_splits `[q + 1]`, where row i is from `row_splits[i]` up to
        `row_splits[i + 1]`; distances `int32 [size]`; and indices `[size]`. Rows are in ascending
        order of (distance, index).

    Raises:
        ValueError: As `hamming_distance`, and if `size` is negative, or a `radius` known to Python.
        TypeError: If `radius` is no integer.
        jax.errors.JaxRuntimeError: If a `radius` known to JAX alone is negative.

    Example:

    >>> import numpy as np
    >>> codes = np.array([[0b01], [0b00]], "uint8")
    >>> queries = np.array([[0b00], [0b11]], "uint8")
    >>> [part.tolist() for part in hamming_within(queries, codes, radius=1, size=4)]
    [[0, 2, 3], [0, 1, 1, -1], [1, 0, 0, -1]]
    """
    queries, database = _check_codes(queries, database)
    if size < 0:
        raise ValueError(f"`size` must be at least 0. Received: size = {size}")
    if isinstance(radius, jax.Array):
        if not jnp.issubdtype(radius.dtype, jnp.integer):
            raise TypeError(f"`radius` must be an integer. Received: {radius.dtype}")
    else:
        radius = operator.index(radius)
        if radius < 0:
            raise ValueError(f"`radius` must be at least 0. Received: radius = {radius}")
        # JAX would cut an integer that is too long for it without a word; farther is no code.
        radius = min(radius, 8 * queries.shape[1])
    row_splits, distances, indices, _ = _call(
        "TfhashHammingWithin",
        (queries, database, jnp.asarray(radius, _integer())),
        (
            _array(_integer(), len(queries) + 1),
            _array(jnp.int32, size),
            _array(_integer(), size),
            _array(jnp.int32),
        ),
        fill=True,
    )
    return row_splits, distances, indices


def hamming_histogram(queries, database, query_labels, database_labels, bits):
    """Counts items and relevant items at each distance from each query.

    Args:
        queries: Packed codes, `uint8 [q, ceil(bits / 8)]`, padding bits zero.
        database: Packed codes, `uint8 [n, ceil(bits / 8)]`, padding bits zero.
        query_labels: Integers `[q]`; or packed multi-hot rows, `uint8 [q, label_bytes]`.
        database_labels: Labels of the n items, of the same kind.
        bits: Number of bits of a code, >= 1.

    Returns:
        A pair: items and relevant items, both `[q, bits + 1]`.

    Raises:
        ValueError: As `hamming_distance`, and if labels or `bits` do not fit the codes.
        jax.errors.JaxRuntimeError: If padding bits are set.

    Example:

    >>> import numpy as np
    >>> codes = np.array([[0b00], [0b01], [0b11]], "uint8")
    >>> labels = np.array([7, 7, 8])
    >>> [h.tolist() for h in hamming_histogram(codes[:1], codes, labels[:1], labels, bits=2)]
    [[[1, 1, 1]], [[1, 1, 0]]]
    """
    queries, database = _check_codes(queries, database)
    if bits < 1 or queries.shape[1] != -(-bits // 8):
        raise ValueError(
            f"codes of B bits must have ceil(B / 8) bytes. Received: bits = {bits} and codes of "
            f"{queries.shape[1]} bytes"
        )
    query_labels, database_labels = _labels(query_labels), _labels(database_labels)
    if (
        (len(query_labels), len(database_labels)) != (len(queries), len(database))
        or query_labels.ndim != (2 if query_labels.dtype == jnp.uint8 else 1)
        or query_labels.shape[1:] != database_labels.shape[1:]
        or query_labels.dtype != database_labels.dtype
    ):
        raise ValueError(
            "labels must be integers [q] and [n], or packed multi-hot rows of uint8 [q, bytes] "
            f"and [n, bytes], for {len(queries)} queries and {len(database)} items. Received: "
            f"{query_labels.dtype} {query_labels.shape} and {database_labels.dtype} "
            f"{database_labels.shape}"
        )
    counts = _array(_integer(), len(queries), bits + 1)
    inputs = queries, database, query_labels, database_labels
    return tuple(_call("TfhashHammingHistogram", inputs, (counts, counts)))


def _call(name, inputs, results, **attributes):
    _register()
    return jax.ffi.ffi_call(name, results, vmap_method="sequential")(*inputs, **attributes)


def _array(dtype, *shape):
    return jax.ShapeDtypeStruct(shape, dtype)


def _integer() -> Any:
    return jax.dtypes.canonicalize_dtype(jnp.int64)


def _labels(labels):
    if not isinstance(labels, jax.Array):
        labels = np.asarray(labels)
    if labels.dtype == jnp.uint8 and labels.ndim == 2:
        return jnp.asarray(labels)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"labels must be integers. Received: {labels.dtype}")
    # JAX would cut integers that are too long for it without a word.
    least_and_most = jnp.iinfo(_integer())
    if (
        isinstance(labels, np.ndarray)
        and labels.size
        and not (least_and_most.min <= labels.min() <= labels.max() <= least_and_most.max)
    ):
        raise ValueError(
            f"labels must fit into {jnp.dtype(_integer())}, unless JAX is told to use 64 bits "
            f"(jax_enable_x64). Received: labels from {labels.min()} to {labels.max()}"
        )
    return jnp.asarray(labels).astype(_integer())


def _check_codes(queries, database):
    queries, database = jnp.asarray(queries), jnp.asarray(database)
    if queries.dtype != jnp.uint8 or database.dtype != jnp.uint8:
        raise ValueError(
            "packed codes must be of type uint8. Received: "
            f"{queries.dtype} for the queries and {database.dtype} for the database"
        )
    shapes = queries.shape, database.shape
    if (
        [len(shape) for shape in shapes] != [2, 2]
        or shapes[0][1] != shapes[1][1]
        or 0 in shapes[0][1:]
    ):
        raise ValueError(
            "packed codes must have the shapes [q, bytes] and [n, bytes], bytes >= 1. Received: "
            f"{shapes[0]} for the queries and {shapes[1]} for the database"
        )
    if shapes[0][1] > (2**31 - 1) // 8:
        raise ValueError(
            "packed codes must have fewer than 2^28 bytes, for distances are 32-bit numbers. "
            f"Received: {shapes[0]} for the queries and {shapes[1]} for the database"
        )
    return queries, database
