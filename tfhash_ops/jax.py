"""The ops for JAX, without TensorFlow: on the CPU, and on NVIDIA GPUs if compiled with CUDA.

Call them eagerly or inside `jax.jit`. Indices and counts are `int64` if `jax_enable_x64` is set,
else `int32`. Shapes, `k`, `size` and `bits` must be static.
"""

import functools
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tfhash_ops import library, messages
from tfhash_ops.results import DistanceHistograms, Neighbors, TopK

_HANDLERS = "HammingDistance", "HammingTopK", "HammingWithin", "HammingHistogram"


@functools.cache
def _register():
    if library.is_compiled() and not library.has_xla():
        raise ImportError(
            "tfhash_ops was compiled against a TensorFlow whose headers of XLA are incomplete, so its "
            "ops for JAX are missing. Reinstall tfhash with TFHASH_BUILD_OPS=jax, or with "
            "TensorFlow 2.20 or newer"
        )
    libraries = {"cpu": (library.core(), "Tfhash"), "CUDA": (library.cuda(), "TfhashCuda")}
    for platform, (handlers, prefix) in libraries.items():
        for name in _HANDLERS if handlers else ():
            handler = jax.ffi.pycapsule(getattr(handlers, prefix + name))
            jax.ffi.register_ffi_target("Tfhash" + name, handler, platform=platform)


def hamming_distance(queries, database):
    """Hamming distance of each query to each database item.

    Args:
        queries: Packed codes, `uint8 [q, bytes]`, bytes >= 1.
        database: Packed codes, `uint8 [n, bytes]`.

    Returns:
        `int32 [q, n]`, in bits, from 0 to 8 bytes.

    Raises:
        ValueError: If codes are not `uint8`, or shapes do not match.

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
        `TopK`: distances, `int32 [q, k]`, and indices, `[q, k]`.

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
        raise ValueError(messages.K.format(k, len(database)))
    shape = len(queries), k
    results = _array(jnp.int32, *shape), _array(_integer(), *shape)
    return TopK(*_call("TfhashHammingTopK", (queries, database), results))


def hamming_within(queries, database, radius, size):
    """All items within a Hamming radius of each query, up to a fixed number in all.

    Args:
        queries: Packed codes, `uint8 [q, bytes]`, bytes >= 1.
        database: Packed codes, `uint8 [n, bytes]`.
        radius: Largest distance in bits, an integer >= 0; need not be static.
        size: Length of the results, >= 0, as in `jax.numpy.nonzero`. Unused places hold -1. If
            `row_splits[q]` exceeds `size`, the last items are missing.

    Returns:
        `Neighbors`: row_splits `[q + 1]`, distances `int32 [size]` and indices `[size]`.

    Raises:
        ValueError: As `hamming_distance`, and if `size` or a Python or NumPy `radius` is negative.
        TypeError: If `radius` is not an integer.
        jax.errors.JaxRuntimeError: If a `radius` that is a JAX array is negative.

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
            raise TypeError(messages.INTEGER.format("radius", radius.dtype))
    else:
        radius = operator.index(radius)
        if radius < 0:
            raise ValueError(messages.RADIUS.format(radius))
        # JAX silently truncates integers that do not fit; no code is farther than this.
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
    return Neighbors(row_splits, distances, indices)


def hamming_histogram(queries, database, query_labels, database_labels, bits):
    """Counts items and relevant items at each distance from each query.

    Args:
        queries: Packed codes, `uint8 [q, ceil(bits / 8)]`, padding bits zero.
        database: Packed codes, `uint8 [n, ceil(bits / 8)]`, padding bits zero.
        query_labels: Integers `[q]`; or packed multi-hot labels, `uint8 [q, label_bytes]`.
        database_labels: Labels of the n items, of the same kind.
        bits: Number of bits of a code, >= 1.

    Returns:
        `DistanceHistograms`: items and relevant, both `[q, bits + 1]`.

    Raises:
        ValueError: As `hamming_distance`, and if labels or `bits` do not match the codes.
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
        raise ValueError(messages.BITS.format(bits, queries.shape[1]))
    query_labels = _labels("query_labels", query_labels)
    database_labels = _labels("database_labels", database_labels)
    if (
        (len(query_labels), len(database_labels)) != (len(queries), len(database))
        or query_labels.ndim != (2 if query_labels.dtype == jnp.uint8 else 1)
        or query_labels.shape[1:] != database_labels.shape[1:]
        or query_labels.dtype != database_labels.dtype
    ):
        raise ValueError(
            "labels must be integers [q] and [n], or packed multi-hot labels of uint8 [q, bytes] "
            f"and [n, bytes], for {len(queries)} queries and {len(database)} items. Received: "
            f"{query_labels.dtype} {query_labels.shape} and {database_labels.dtype} "
            f"{database_labels.shape}"
        )
    counts = _array(_integer(), len(queries), bits + 1)
    inputs = queries, database, query_labels, database_labels
    return DistanceHistograms(*_call("TfhashHammingHistogram", inputs, (counts, counts)))


def _call(name, inputs, results, **attributes):
    _register()
    return jax.ffi.ffi_call(name, results, vmap_method="sequential")(*inputs, **attributes)


def _array(dtype, *shape):
    return jax.ShapeDtypeStruct(shape, dtype)


def _integer() -> Any:
    return jax.dtypes.canonicalize_dtype(jnp.int64)


def _labels(name, labels):
    if not isinstance(labels, jax.Array):
        labels = np.asarray(labels)
    if labels.dtype == jnp.uint8 and labels.ndim == 2:
        return jnp.asarray(labels)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(messages.LABELS_TYPE.format(name, labels.dtype))
    # JAX silently truncates integers that do not fit.
    least_and_most = jnp.iinfo(_integer())
    if (
        isinstance(labels, np.ndarray)
        and labels.size
        and not (least_and_most.min <= labels.min() <= labels.max() <= least_and_most.max)
    ):
        raise ValueError(
            f"`{name}` must fit into {jnp.dtype(_integer())}; set jax_enable_x64 for 64-bit "
            f"labels. Received: labels from {labels.min()} to {labels.max()}"
        )
    return jnp.asarray(labels).astype(_integer())


def _check_codes(queries, database):
    queries, database = jnp.asarray(queries), jnp.asarray(database)
    for name, codes in (("queries", queries), ("database", database)):
        if codes.dtype != jnp.uint8:
            raise ValueError(messages.CODES_TYPE.format(name, codes.dtype))
    shapes = queries.shape, database.shape
    if (
        [len(shape) for shape in shapes] != [2, 2]
        or shapes[0][1] != shapes[1][1]
        or 0 in shapes[0][1:]
    ):
        raise ValueError(messages.CODES_SHAPE.format(*shapes))
    if shapes[0][1] > messages.MAX_BYTES:
        raise ValueError(messages.CODES_LENGTH.format(*shapes))
    return queries, database
