"""Exact search by stock TensorFlow ops, in codes that the SavedModel holds."""

import numpy as np
import tensorflow as tf

from tfhash import codes as code_layout
from tfhash.export.masking import masked

# Items of which only the nearest one is compared at first. It takes a twelfth of the time of `top_k`.
_GROUP = 64

# Codes compared at a time. A search takes 9 bytes of memory for each of them, whatever the database.
_CHUNK = 2**20

_WORD_BYTES = 8

# Items that an answer holds, of all queries together.
MOST_FOUND = 1_000_000


class ExactSearch(tf.Module):
    """The nearest items of a database.

    The codes are variables, so that a SavedModel of any size holds them once, and requests share them:
    one variable for each word of 64 bits, and a shorter one for the rest. Bits in which a code equals
    the query are counted, because `top_k` finds the largest counts and puts lower indices first.

    Args:
        database: `tfhash.export.database.Database`.

    Example:

    >>> from tfhash.export.database import Database
    >>> codes = np.array([[3, 0], [255, 15], [1, 0]], "uint8")
    >>> search = ExactSearch(Database.of((codes, None, ["a", "b", "c"]), bits=12))
    >>> found = search.nearest(tf.constant([[0, 0]], tf.uint8), k=2)
    >>> found["ids"].numpy().tolist(), found["distances"].numpy().tolist()
    ([[2, 0]], [[1, 2]])
    """

    def __init__(self, database):
        super().__init__(name="database")
        self._bits, self._count = database.bits, len(database)
        self._words = [
            tf.Variable(word, trainable=False, name=f"codes_{i}")
            for i, word in enumerate(_words(database.codes))
        ]
        # Ids that follow each other need no memory.
        self._first = int(database.ids[0]) if self._count else 0
        is_range = np.array_equal(database.ids, self._first + np.arange(self._count))
        self._ids = None if is_range else tf.Variable(database.ids, trainable=False, name="ids")
        self._names = None
        if database.names is not None:
            self._names = tf.Variable(database.names, trainable=False, name="names")

    def nearest(self, packed_queries, k):
        """The k nearest items of each query.

        Args:
            packed_queries: `uint8 [n, ceil(bits / 8)]`.
            k: Number of items wanted, `int32`, >= 1: a scalar, or `[n]`, as a server makes of one k for
                each query. Of different values the largest holds for all rows: a server that batches
                merges requests.

        Returns:
            A dictionary, each value `[n, min(k, m)]`, in ascending order of (distance, id): `ids`
            int64, `distances` int32, and `names`, strings, empty where an item has none.

        Raises:
            tf.errors.InvalidArgumentError: If k is below 1 or of another shape, or more than
                `MOST_FOUND` items would be found.
        """
        length = code_layout.packed_length(self._bits)
        queries = tf.ensure_shape(packed_queries, [None, length])
        count = tf.shape(queries)[0]
        k = _bounded(tf.minimum(_largest(k, count), self._count), count)
        # The shape of what `map_fn` returns for no query at all would not be known.
        padded = tf.pad(queries, [[0, tf.cast(count == 0, tf.int32)], [0, 0]])
        equal, positions = tf.map_fn(
            lambda query: self._nearest(query, k),
            padded,
            fn_output_signature=(self._count_type, tf.int32),
            # Each query in flight has its own counts.
            parallel_iterations=1,
        )
        positions = tf.reshape(positions[:count], [count, k])
        distances = self._bits - tf.cast(equal[:count], tf.int32)
        return {
            "ids": self._ids_at(positions),
            "distances": tf.reshape(distances, [count, k]),
            "names": self._names_at(positions),
        }

    @property
    def _count_type(self):
        return tf.uint8 if self._bits <= tf.uint8.max else tf.uint16

    def _ids_at(self, positions):
        if self._ids is None:
            return tf.cast(positions, tf.int64) + self._first
        return tf.gather(self._ids, positions)

    def _names_at(self, positions):
        if self._names is None:
            return tf.fill(tf.shape(positions), "")
        return tf.gather(self._names, positions)

    def _nearest(self, query, k):
        """Counts of equal bits and positions of the k nearest items of one query."""
        words = self._inverted(query)
        whole = self._count // _CHUNK
        rest = self._nearest_in(words, whole * _CHUNK, self._count % _CHUNK, k)
        if not whole:
            return rest
        chunks = tf.map_fn(
            lambda chunk: self._nearest_in(words, chunk * _CHUNK, _CHUNK, k),
            tf.range(whole),
            fn_output_signature=(self._count_type, tf.int32),
            parallel_iterations=1,
        )
        values, at = (tf.concat([tf.reshape(a, [-1]), b], 0) for a, b in zip(chunks, rest))
        return _first_k(values, at, k)

    def _nearest_in(self, words, begin, length, k):
        """As `_nearest`, in a range of items; all of them if there are fewer than k."""
        equal = self._equal_bits(words, begin, length)
        # The k nearest items are in the k groups with the largest maxima, ties by index included: each
        # group before another one has an item that comes before all items of the other.
        groups = length // _GROUP
        grouped = tf.reshape(equal[: groups * _GROUP], [groups, _GROUP])
        _, best = tf.math.top_k(tf.reduce_max(grouped, axis=1), tf.minimum(k, groups))
        best = tf.sort(best)  # so that candidates come in the order of items
        at = _GROUP * best[:, None] + tf.range(_GROUP)
        values = [tf.reshape(tf.gather(grouped, best), [-1]), equal[groups * _GROUP :]]
        at = [tf.reshape(at, [-1]), tf.range(groups * _GROUP, length)]
        values, at = tf.concat(values, 0), tf.concat(at, 0)
        return _first_k(values, begin + at, k)

    def _equal_bits(self, words, begin, length):
        """The number of bits in which each item of a range equals the query."""
        counts = [
            tf.raw_ops.PopulationCount(
                x=tf.bitwise.bitwise_xor(tf.slice(codes, [begin], [length]), word)
            )
            for codes, word in zip(self._words, words)
        ]
        # Three words hold 192 bits, which still fit in a byte.
        sums = [tf.add_n(counts[i : i + 3]) for i in range(0, len(counts), 3)]
        return tf.add_n([tf.cast(part, self._count_type) for part in sums])

    def _inverted(self, query):
        """The words of a query with each bit inverted; padding bits are 0, as in the codes."""
        ones = np.packbits(np.ones((1, self._bits), bool), axis=1, bitorder="little")
        inverted = tf.bitwise.bitwise_and(tf.bitwise.invert(query), ones[0])
        words = []
        for begin, end, size in _layout(query.shape[0]):
            part = tf.pad(inverted[begin:end], [[0, size - (end - begin)]])
            words.append(part[0] if size == 1 else tf.bitcast(part, _WORD_TYPES[size]))
        return words


def search_function(search, encode, specs):
    """The function of a signature that encodes a batch and searches for its codes.

    Args:
        search: `ExactSearch`.
        encode: Function from tensors to a dictionary with `codes`, packed `uint8 [n, ceil(bits / 8)]`.
        specs: What `encode` takes, a list of `tf.TensorSpec` with the names that the signature gives.

    Returns:
        `tf.function` of these tensors and `k` (see `ExactSearch.nearest`). Its output is what
        `ExactSearch.nearest` returns, `codes`, and `valid` if `encode` returns it. Where `valid` is
        false, ids and distances are -1, and names are empty.

    Raises:
        ValueError: If an input of the model is called `k`, too.
    """
    if any(spec.name == "k" for spec in specs):
        raise ValueError("an input of a model that searches must not be called `k`. Rename it")

    def find(*inputs):
        *queries, k = inputs
        encoded = encode(*queries)
        found = search.nearest(encoded["codes"], k)
        if "valid" in encoded:
            # Otherwise a bad file had the neighbors of the code 0.
            found = masked(found, encoded["valid"])
        return found | {"codes": encoded["codes"]}

    k = tf.TensorSpec(None, tf.int32, name="k")
    return tf.function(find, [*specs, k], autograph=False)


_WORD_TYPES = {1: tf.uint8, 2: tf.uint16, 4: tf.int32, 8: tf.int64}


def _layout(length):
    """Where each word of a code begins and ends, and its size, in bytes."""
    for begin in range(0, length, _WORD_BYTES):
        end = min(begin + _WORD_BYTES, length)
        yield begin, end, next(size for size in _WORD_TYPES if size >= end - begin)


def _words(codes):
    """The columns of words of packed codes."""
    for begin, end, size in _layout(codes.shape[1]):
        part = np.zeros((len(codes), size), np.uint8)
        part[:, : end - begin] = codes[:, begin:end]
        yield part.view(_WORD_TYPES[size].as_numpy_dtype)[:, 0]


def _first_k(values, positions, k):
    """The k largest values and their positions; of equal values those that come first."""
    values, order = tf.math.top_k(values, tf.minimum(k, tf.size(values)))
    return values, tf.gather(positions, order)


def _bounded(k, count):
    """k, unless the answer would be too large."""
    found = tf.cast(k, tf.int64) * tf.cast(count, tf.int64)
    message = [f"an answer holds {MOST_FOUND} items at most. Asked for: items, queries", k, count]
    with tf.control_dependencies([tf.debugging.Assert(found <= MOST_FOUND, message)]):
        return tf.identity(k)


def _largest(k, count):
    """The largest k as a scalar, once it is checked."""
    k = tf.convert_to_tensor(k, tf.int32)
    is_scalar = tf.equal(tf.rank(k), 0)
    is_row = tf.logical_and(tf.equal(tf.rank(k), 1), tf.equal(tf.size(k), count))
    shape = tf.debugging.Assert(
        tf.logical_or(is_scalar, is_row),
        ["`k` must be a scalar, or one value for each query. Received: k of shape", tf.shape(k)],
    )
    values = tf.debugging.Assert(
        tf.reduce_all(k >= 1), ["`k` must be at least 1. Received: k =", k]
    )
    with tf.control_dependencies([check for check in (shape, values) if check is not None]):
        # No query has no k.
        return tf.maximum(tf.reduce_max(tf.reshape(k, [-1])), 0)
