"""Distance histograms: the counts that every ranking metric is computed from."""

import operator

import keras
import numpy as np
from keras import ops

import tfhash_ops
from tfhash import codes
from tfhash.labels import check_same_kind, check_values, is_multi_hot, similar
from tfhash_ops import DistanceHistograms, library

# Pairs compared at a time without the compiled op; a few float32 tensors of this size are alive.
_BLOCK_PAIRS = 2**22


def distance_histograms(queries, database, query_labels, database_labels, bits):
    """Counts items and relevant items at each distance from each query.

    Every ranking metric is computed from these counts. Memory grows with q bits + n, not with q n.
    With the TensorFlow backend the compiled `tfhash_ops.hamming_histogram` does the counting. With
    other backends, or if the ops were not compiled, `keras.ops` do it far more slowly.

    Args:
        queries: Packed codes of the queries, `uint8 [q, ceil(bits / 8)]`.
        database: Packed codes of the database items, `uint8 [n, ceil(bits / 8)]`.
        query_labels: Integers `[q]`, or multi-hot `[q, C]`.
        database_labels: Integers `[n]`, or multi-hot `[n, C]`.
        bits: Number of bits of a code.

    Returns:
        `DistanceHistograms` of NumPy arrays.

    Raises:
        ValueError: If the codes are not packed codes of `bits` bits, the labels do not match the
            codes, are NaN or are multi-hot between 0 and 1, or one side is empty.

    Example:

    >>> import numpy as np
    >>> codes = np.array([[0b00], [0b01], [0b11]], "uint8")
    >>> histograms = distance_histograms(codes[:1], codes, [7], [7, 7, 8], bits=2)
    >>> histograms.items.tolist(), histograms.relevant.tolist()
    ([[1, 1, 1]], [[1, 1, 0]])
    """
    queries, query_labels, database, database_labels = check_sides(
        queries, database, query_labels, database_labels, bits
    )
    if not is_multi_hot(query_labels):
        # Number the labels, whatever their type.
        both = np.concatenate([query_labels.reshape(-1), database_labels.reshape(-1)])
        _, numbers = np.unique(both, return_inverse=True)
        query_labels, database_labels = np.split(numbers, [len(queries)])
    if keras.backend.backend() == "tensorflow" and library.is_compiled():
        count = _count_with_compiled_op
    else:
        library.warn_if_not_compiled()
        count = _count_in_blocks
    return DistanceHistograms(*count(queries, database, query_labels, database_labels, bits))


def leave_one_out_histograms(codes, labels, bits):
    """Counts the other items at each distance from each item: items among each other.

    Every item is a query, and searches all items but itself. So a few held-out items give as many
    queries as there are items, and none is lost to a database.

    Args:
        codes: Packed codes, `uint8 [n, ceil(bits / 8)]`.
        labels: Integers `[n]`, or multi-hot `[n, C]`.
        bits: Number of bits of a code.

    Returns:
        `DistanceHistograms` of NumPy arrays, n - 1 items in each row.

    Raises:
        ValueError: As `distance_histograms`.

    Example:

    >>> import numpy as np
    >>> codes = np.array([[0b00], [0b01], [0b11]], "uint8")
    >>> histograms = leave_one_out_histograms(codes, [7, 7, 8], bits=2)
    >>> histograms.items.tolist()
    [[0, 1, 1], [0, 2, 0], [0, 1, 1]]
    >>> histograms.relevant.tolist()
    [[0, 1, 0], [0, 1, 0], [0, 0, 0]]
    """
    labels = np.asarray(labels)
    items, relevant = map(np.array, distance_histograms(codes, codes, labels, labels, bits))
    items[:, 0] -= 1
    # An item without labels shares none with itself.
    relevant[:, 0] -= (labels > 0).any(axis=1) if is_multi_hot(labels) else 1
    return DistanceHistograms(items, relevant)


def check_sides(queries, database, query_labels, database_labels, bits):
    """The arguments of `distance_histograms` as NumPy arrays, checked.

    Returns:
        `(queries, query_labels, database, database_labels)`.
    """
    sides = (queries, query_labels), (database, database_labels)
    (queries, query_labels), (database, database_labels) = (
        (ops.convert_to_numpy(packed), np.asarray(labels)) for packed, labels in sides
    )
    for name, packed, labels in (
        ("queries", queries, query_labels),
        ("database", database, database_labels),
    ):
        if len(packed) == 0 or len(packed) != len(labels):
            raise ValueError(
                f"`{name}` must hold at least one code, and one label for each code. "
                f"Received: {len(packed)} codes and {len(labels)} labels"
            )
        codes.check_packed(packed, bits)
        if packed.dtype != np.uint8 or (packed[:, -1] >> ((bits - 1) % 8 + 1)).any():
            raise ValueError(
                f"`{name}` must be packed codes, uint8 with padding bits zero. "
                f"Received: {packed.dtype} with the largest last byte {packed[:, -1].max()}"
            )
        check_values(labels)
    check_same_kind(query_labels, database_labels)
    return queries, query_labels, database, database_labels


def _count_with_compiled_op(queries, database, query_labels, database_labels, bits):
    if is_multi_hot(query_labels):
        query_labels, database_labels = (
            np.packbits(side > 0, axis=1) for side in (query_labels, database_labels)
        )
    counts = tfhash_ops.hamming_histogram(queries, database, query_labels, database_labels, bits)
    return map(ops.convert_to_numpy, counts)


def _count_in_blocks(queries, database, query_labels, database_labels, bits):
    query_codes = ops.cast(codes.unpack(queries, bits), "float32")
    database_codes = ops.transpose(ops.cast(codes.unpack(database, bits), "float32"))
    block = max(1, _BLOCK_PAIRS // len(database))
    items, relevant = [], []
    for start in range(0, len(queries), block):
        stop = start + block
        distance = (bits - ops.matmul(query_codes[start:stop], database_codes)) / 2
        shared = similar(query_labels[start:stop], database_labels)
        # One bincount for both: relevant items at distance d go to bin bits + 1 + d, others to d.
        bins = ops.cast(distance, "int32") + (bits + 1) * ops.cast(shared, "int32")
        both = ops.convert_to_numpy(ops.bincount(bins, minlength=2 * (bits + 1)))
        relevant.append(both[:, bits + 1 :])
        items.append(both[:, : bits + 1] + both[:, bits + 1 :])
    return (np.concatenate(counts).astype("int64") for counts in (items, relevant))


def cumulate(histograms):
    """Counts at each distance and at all smaller ones.

    Returns:
        Four `int64 [q, bits + 1]`: items and relevant items at distance d, then items and
        relevant items at distances below d.
    """
    n, r = (np.asarray(h).astype("int64") for h in histograms)
    return n, r, np.cumsum(n, axis=1) - n, np.cumsum(r, axis=1) - r


def divide(numerator, denominator):
    """Quotient in float64, 0 where the denominator is 0."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    zeros = np.zeros(numerator.shape)
    return np.divide(numerator, denominator, out=zeros, where=denominator != 0)


def has_relevant_items(histograms):
    """Marks the queries that have a relevant item in the database, booleans `[q]`."""
    return np.asarray(histograms.relevant).sum(axis=1) > 0


def mean_over_queries(values, histograms):
    """Mean of `values [q, ...]` over the queries with relevant items; NaN if there are none."""
    values = values[has_relevant_items(histograms)]
    return values.mean(axis=0) if len(values) else np.full(values.shape[1:], np.nan)


def check_integer(name, value, least, most=None):
    """Returns `value` as an `int`, or raises `ValueError` if it is not an integer in range."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or number < least or (most is not None and number > most):
        expected = f">= {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"`{name}` must be an integer {expected}. Received: {name}={value!r}")
    return number
