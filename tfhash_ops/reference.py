"""The ops of `tfhash_ops` in stock TensorFlow: the specification of the compiled ones.

They take one query at a time, so that memory grows with the database alone.
"""

import tensorflow as tf

from tfhash_ops import messages


def hamming_distance(queries, database):
    """As `tfhash_ops.hamming_distance`."""
    queries, database = _check_codes(queries, database)
    distances = tf.map_fn(
        lambda query: _distances(query, database), queries, fn_output_signature=tf.int32
    )
    return _rows(distances, queries, tf.shape(database)[0])


def hamming_top_k(queries, database, k):
    """As `tfhash_ops.hamming_top_k`, a pair."""
    queries, database = _check_codes(queries, database)
    k = as_integer("k", k)
    items = tf.shape(database, tf.int64)[0]
    with _require((k >= 1) & (k <= items), messages.K, k, items):
        k = tf.cast(k, tf.int32)

    def nearest(query):
        # top_k puts the lower index first among equal elements.
        negative, indices = tf.math.top_k(-_distances(query, database), k)
        return -negative, tf.cast(indices, tf.int64)

    found = tf.map_fn(nearest, queries, fn_output_signature=(tf.int32, tf.int64))
    return tuple(_rows(part, queries, k) for part in found)


def hamming_within(queries, database, radius):
    """As `tfhash_ops.hamming_within`, a triple."""
    queries, database = _check_codes(queries, database)
    radius = as_integer("radius", radius)
    with _require(radius >= 0, messages.RADIUS, radius):
        radius = tf.identity(radius)

    def near(query):
        distances = _distances(query, database)
        indices = tf.where(tf.cast(distances, tf.int64) <= radius)[:, 0]
        distances = tf.gather(distances, indices)
        order = tf.argsort(distances, stable=True)
        return tf.gather(distances, order), tf.gather(indices, order)

    distances, indices = tf.map_fn(
        near,
        queries,
        fn_output_signature=(
            tf.RaggedTensorSpec([None], tf.int32, ragged_rank=0),
            tf.RaggedTensorSpec([None], tf.int64, ragged_rank=0),
        ),
    )
    return distances.row_splits, distances.values, indices.values


def hamming_histogram(queries, database, query_labels, database_labels, bits):
    """As `tfhash_ops.hamming_histogram`, a pair."""
    queries, database = _check_codes(queries, database)
    query_labels = tf.convert_to_tensor(query_labels)
    database_labels = tf.convert_to_tensor(database_labels)
    length = queries.shape[1]
    if bits < 1 or length not in (None, -(-bits // 8)):
        raise _invalid(messages.BITS.format(bits, length))
    length = tf.shape(queries)[1]
    with _require(length == -(-bits // 8), messages.BITS, bits, length):
        queries = tf.identity(queries)
    is_multi_hot = query_labels.dtype == tf.uint8
    if is_multi_hot:
        expected = "packed multi-hot labels must have the shapes [q, bytes] and [n, bytes]"
    else:
        expected = "integer labels must have the shapes [q] and [n]"
    shapes = query_labels.shape, database_labels.shape
    rank = 2 if is_multi_hot else 1
    if any(shape.rank not in (None, rank) for shape in shapes):
        raise _invalid(f"{expected}. Received: {shapes[0]} and {shapes[1]}")
    query_labels, database_labels = (
        tf.ensure_shape(labels, [None] * rank) for labels in (query_labels, database_labels)
    )
    padding = tf.constant((0xFF << ((bits - 1) % 8 + 1)) & 0xFF, tf.uint8)
    for labels, codes in ((query_labels, queries), (database_labels, database)):
        is_clean = tf.reduce_all(tf.bitwise.bitwise_and(codes[:, -1], padding) == 0)
        text = (
            "the padding bits of codes of {} bits must be zero. Received: a padding bit that is 1"
        )
        counts = tf.shape(labels)[0], tf.shape(codes)[0]
        with (
            _require(is_clean, text, bits),
            _require(counts[0] == counts[1], expected + ". Received: {} for {} codes", *counts),
        ):
            queries = tf.identity(queries)

    def count(query_and_label):
        query, label = query_and_label
        distances = _distances(query, database)
        if is_multi_hot:
            similar = tf.reduce_any(tf.bitwise.bitwise_and(label, database_labels) != 0, axis=1)
        else:
            similar = database_labels == label
        return tuple(
            tf.math.bincount(values, minlength=bits + 1, maxlength=bits + 1, dtype=tf.int64)
            for values in (distances, distances[similar])
        )

    counts = tf.map_fn(count, (queries, query_labels), fn_output_signature=(tf.int64, tf.int64))
    return tuple(_rows(part, queries, bits + 1) for part in counts)


def as_integer(name, value):
    """Converts an integer of any type to int64; raises `TypeError` for anything else."""
    tensor = tf.convert_to_tensor(value)
    if not tensor.dtype.is_integer:
        raise TypeError(messages.INTEGER.format(name, tensor.dtype))
    return tf.cast(tensor, tf.int64)


def _rows(values, queries, width):
    """Sets the row width, which `map_fn` cannot infer when there are no queries."""
    return tf.reshape(values, [tf.shape(queries)[0], width])


def _distances(query, database):
    differ = tf.bitwise.bitwise_xor(query, database)
    return tf.reduce_sum(tf.cast(tf.raw_ops.PopulationCount(x=differ), tf.int32), axis=1)


def _check_codes(queries, database):
    queries, database = tf.convert_to_tensor(queries), tf.convert_to_tensor(database)
    shapes = queries.shape, database.shape
    lengths = [shape[1] if shape.rank == 2 else None for shape in shapes]
    known = {length for length in lengths if length is not None}
    if any(shape.rank not in (None, 2) for shape in shapes) or len(known) > 1 or 0 in known:
        raise _invalid(messages.CODES_SHAPE.format(*shapes))
    if max(known, default=0) > messages.MAX_BYTES:
        raise _invalid(messages.CODES_LENGTH.format(*shapes))
    if None not in lengths:
        return queries, database
    # Shapes that are unknown while a function is traced are checked when it runs.
    queries, database = (tf.ensure_shape(codes, [None, None]) for codes in (queries, database))
    shapes = tf.shape(queries), tf.shape(database)
    is_valid = (shapes[0][1] == shapes[1][1]) & (shapes[0][1] >= 1)
    with _require(is_valid, messages.CODES_SHAPE, *shapes):
        return tf.identity(queries), tf.identity(database)


def _require(condition, text, *values):
    """A context for computations that require the condition."""
    assertion = tf.debugging.Assert(condition, [tf.strings.format(text, values)])
    # An eager assertion has already run, and returns None.
    return tf.control_dependencies([] if assertion is None else [assertion])


def _invalid(message):
    return tf.errors.InvalidArgumentError(None, None, message)
