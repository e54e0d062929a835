"""The SQL of an index in ClickHouse and chDB, from version 18.16 on."""

import numpy as np

from tfhash.index.engines import metadata

# Ids of one list.
_IDS = 10_000

_LIMITS = ("timeout", "read", "result", "set", "sort", "transfer")

SETTINGS = {
    # The parser's limit, for the statements below.
    "max_query_size": 1 << 26,
    "max_ast_elements": 1_000_000,
    # A limit of the user's profile is an error, never a partial answer.
    **{f"{limit}_overflow_mode": "throw" for limit in _LIMITS},
}
# Settings that servers before some version do not have.
NEWER_SETTINGS = {
    # Rows are written before the head that names them.
    "async_insert": 0,
    "read_overflow_mode_leaf": "throw",
    "timeout_overflow_mode_leaf": "throw",
}

_PAIRS, _FOURS, _BYTES, _SUM = (int(digits * 8, 16) for digits in ("55", "33", "0f", "01"))


def columns(bits):
    """Names and types of the columns of codes."""
    words = {f"w{word}": "UInt64" for word in range(-(-bits // 64))}
    return {"batch": "UInt32", "id": "Int64", **words, "named": "UInt8", "name": "String"}


def table_ddl(table, bits):
    """The statement that makes the table of codes of one server."""
    described = ", ".join(f"{name} {kind}" for name, kind in columns(bits).items())
    return (
        f"CREATE TABLE IF NOT EXISTS {table} ({described}) "
        "ENGINE = MergeTree PARTITION BY tuple() ORDER BY id"
    )


def shard_ddl(table, bits):
    """The statement that makes the table that each server of a cluster needs.

    Args:
        table: The name of the table that `connect` gets.
        bits: Number of bits of a code.

    Returns:
        SQL, to be run in the database of `connect` on every server of the cluster.

    Example:

    >>> print(shard_ddl("photos", bits=64).partition(" (")[0])
    CREATE TABLE IF NOT EXISTS photos__shard
    """
    return table_ddl(f"{metadata.check_name('table', table)}__shard", bits)


def distributed_ddl(table, shard, bits, cluster):
    """The statement that makes the table through which a cluster is read and written."""
    described = ", ".join(f"{name} {kind}" for name, kind in columns(bits).items())
    return (
        f"CREATE TABLE {table} ({described}) "
        f"ENGINE = Distributed({cluster}, currentDatabase(), {shard}, intHash64(id))"
    )


def removed_ddl(table):
    """The statement that makes the table of removed items."""
    return (
        f"CREATE TABLE IF NOT EXISTS {table} (batch UInt32, id Int64, added UInt32) "
        "ENGINE = MergeTree PARTITION BY tuple() ORDER BY id"
    )


def words_of(codes):
    """Packed codes as words of 64 bits, `uint64 [n, ceil(bits / 64)]`."""
    padded = np.zeros((len(codes), -(-codes.shape[1] // 8) * 8), np.uint8)
    padded[:, : codes.shape[1]] = codes
    return padded.view("<u8")


def distance(query, has_bit_hamming_distance):
    """The Hamming distance of a row to a query's words."""
    terms = []
    for word, value in enumerate(query.tolist()):
        if has_bit_hamming_distance:
            terms.append(f"bitHammingDistance(w{word}, toUInt64({value}))")
        else:
            terms.append(_ones(f"bitXor(w{word}, toUInt64({value}))"))
    # A sum is of a wider type than its terms.
    return f"toInt32({' + '.join(terms)})"


def _ones(word):
    """Counts the ones of a word in pairs, fours, bytes, and their sum in the highest byte.

    There is no subtraction, which would make ClickHouse's type signed. A repeated expression is
    computed once.
    """
    pairs = f"(bitAnd({word}, {_PAIRS}) + bitAnd(bitShiftRight({word}, 1), {_PAIRS}))"
    fours = f"(bitAnd({pairs}, {_FOURS}) + bitAnd(bitShiftRight({pairs}, 2), {_FOURS}))"
    bytes_ = f"bitAnd({fours} + bitShiftRight({fours}, 4), {_BYTES})"
    return f"bitShiftRight({bytes_} * {_SUM}, 56)"


def present(state, removed):
    """The condition that an item belongs to the index at a state."""
    batches = _among(state.batches)
    if not state.removed:
        return batches
    return (
        f"{batches} AND (id, batch) GLOBAL NOT IN (SELECT id, added FROM {removed} WHERE {batches})"
    )


def _among(runs):
    if not runs:
        return "0"
    return "(" + " OR ".join(f"batch BETWEEN {first} AND {last}" for first, last in runs) + ")"


def quoted(text):
    """A literal of a string."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def lists(ids):
    """Lists of ids for conditions, in ascending order."""
    ids = np.sort(ids)
    for first in range(0, len(ids), _IDS):
        yield ", ".join(map(str, ids[first : first + _IDS].tolist()))
