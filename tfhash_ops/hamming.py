"""The ops for TensorFlow: eager, in a `tf.function`, and compiled by XLA.

On the CPU they run on TensorFlow's intra-op threads, and results do not depend on the number of
threads. With `tf.function(jit_compile=True)`, shapes and `k` must be known at compile time.
"""

import numpy as np
import tensorflow as tf

from tfhash_ops import library, messages, reference
from tfhash_ops.results import DistanceHistograms, Neighbors, TopK

if library.is_compiled():
    _ops = library.tensorflow_ops()
    _distance = _ops.tfhash_hamming_distance
    _top_k = _ops.tfhash_hamming_top_k
    _within = _ops.tfhash_hamming_within
    _histogram = _ops.tfhash_hamming_histogram
else:
    library.warn_if_not_compiled()
    _distance = reference.hamming_distance
    _top_k = reference.hamming_top_k
    _within = reference.hamming_within
    _histogram = reference.hamming_histogram


def hamming_distance(queries, database):
    """Hamming distance of each query to each database item.

    Args:
        queries: Packed codes, `uint8 [q, bytes]`, bytes >= 1.
        database: Packed codes, `uint8 [n, bytes]`.

    Returns:
        `int32 [q, n]`, in bits, from 0 to 8 bytes.

    Raises:
        TypeError: If codes are not `uint8`.
        tf.errors.InvalidArgumentError: If shapes do not match. A mismatch that is already known
            while a `tf.function` is traced raises `ValueError`.

    Example:

    >>> hamming_distance([[0b00]], [[0b00], [0b01], [0b11]]).numpy().tolist()
    [[0, 1, 2]]
    """
    return _distance(_codes("queries", queries), _codes("database", database))


def hamming_top_k(queries, database, k):
    """The k nearest items of each query.

    Items at the same distance are ordered by index, so the result is the same on every machine.

    Args:
        queries: Packed codes, `uint8 [q, bytes]`, bytes >= 1.
        database: Packed codes, `uint8 [n, bytes]`.
        k: Number of items, an integer of any type, 1 <= k <= n.

    Returns:
        `TopK`: distances `int32 [q, k]` and indices `int64 [q, k]`.

    Raises:
        TypeError, tf.errors.InvalidArgumentError: As `hamming_distance`, and if `k` is not an
            integer or is out of range.

    Example:

    >>> distances, indices = hamming_top_k([[0b00]], [[0b11], [0b01], [0b10]], k=2)
    >>> distances.numpy().tolist(), indices.numpy().tolist()
    ([[1, 1]], [[1, 2]])
    """
    codes = _codes("queries", queries), _codes("database", database)
    return TopK(*_top_k(*codes, reference.as_integer("k", k)))


def hamming_within(queries, database, radius):
    """All items within a Hamming radius of each query.

    Under XLA the results reserve space for every pair of query and item, at most 2^31 - 1 pairs.
    On the CPU, only the part that is used takes memory.

    Args:
        queries: Packed codes, `uint8 [q, bytes]`, bytes >= 1.
        database: Packed codes, `uint8 [n, bytes]`.
        radius: Largest distance in bits, an integer of any type, >= 0.

    Returns:
        `Neighbors`: row_splits `int64 [q + 1]`, distances `int32` and indices `int64`.

    Raises:
        TypeError, tf.errors.InvalidArgumentError: As `hamming_distance`, and if `radius` is not an
            integer or is negative. XLA does not check for a negative radius on devices other than
            the CPU; it then finds no items.

    Example:

    >>> row_splits, distances, indices = hamming_within([[0b00], [0b11]], [[0b01], [0b00]], 1)
    >>> row_splits.numpy().tolist(), distances.numpy().tolist(), indices.numpy().tolist()
    ([0, 2, 3], [0, 1, 1], [1, 0, 0])
    """
    codes = _codes("queries", queries), _codes("database", database)
    return Neighbors(*_within(*codes, reference.as_integer("radius", radius)))


def hamming_histogram(queries, database, query_labels, database_labels, bits):
    """Counts items and relevant items at each distance from each query.

    The ranking metrics are computed from these counts. Memory grows with q (bits + 1) + n, not
    with q n.

    Args:
        queries: Packed codes, `uint8 [q, ceil(bits / 8)]`, padding bits zero.
        database: Packed codes, `uint8 [n, ceil(bits / 8)]`, padding bits zero.
        query_labels: Integers `[q]`; or multi-hot labels packed like codes, `uint8 [q,
            label_bytes]`. An item is relevant if its integer equals the query's, or if its
            multi-hot row shares a bit with the query's.
        database_labels: Labels of the n items, of the same kind.
        bits: Number of bits of a code, >= 1.

    Returns:
        `DistanceHistograms`: items and relevant, both `int64 [q, bits + 1]`.

    Raises:
        TypeError, tf.errors.InvalidArgumentError: As `hamming_distance`, and if labels or `bits`
            do not match the codes, or padding bits are set. XLA does not check padding bits on
            devices other than the CPU.

    Example:

    >>> codes = [[0b00], [0b01], [0b11]]
    >>> items, relevant = hamming_histogram(codes[:1], codes, [7], [7, 7, 8], bits=2)
    >>> items.numpy().tolist(), relevant.numpy().tolist()
    ([[1, 1, 1]], [[1, 1, 0]])
    """
    query_labels = _labels("query_labels", query_labels)
    database_labels = _labels("database_labels", database_labels)
    if query_labels.dtype != database_labels.dtype:
        if tf.uint8 in (query_labels.dtype, database_labels.dtype):
            raise TypeError(
                "both sides must have integer labels [n], or both packed multi-hot labels [n, "
                f"bytes]. Received: {query_labels.shape} and {database_labels.shape}"
            )
        query_labels = tf.cast(query_labels, tf.int64)
        database_labels = tf.cast(database_labels, tf.int64)
    codes = _codes("queries", queries), _codes("database", database)
    return DistanceHistograms(*_histogram(*codes, query_labels, database_labels, bits=bits))


def _codes(name, codes):
    if not hasattr(codes, "dtype"):
        codes = _python_integers_to_bytes(name, codes)
    tensor = tf.convert_to_tensor(codes)
    if tensor.dtype != tf.uint8:
        raise TypeError(messages.CODES_TYPE.format(name, tensor.dtype))
    return tensor


def _python_integers_to_bytes(name, codes):
    numbers = np.asarray(codes)
    if numbers.size and (
        numbers.dtype.kind not in "iu" or not 0 <= numbers.min() <= numbers.max() <= 255
    ):
        received = "a list with values other than integers from 0 to 255"
        raise TypeError(messages.CODES_TYPE.format(name, received))
    return numbers.astype("uint8")


def _labels(name, labels):
    tensor = tf.convert_to_tensor(labels)
    if not tensor.dtype.is_integer:
        raise TypeError(messages.LABELS_TYPE.format(name, tensor.dtype))
    if tensor.dtype in (tf.int32, tf.int64) or (
        tensor.dtype == tf.uint8 and tensor.shape.rank != 1
    ):
        return tensor
    return tf.cast(tensor, tf.int64)
