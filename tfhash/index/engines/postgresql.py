"""An index in PostgreSQL with pgvector."""

import contextlib
import dataclasses
from typing import Any

import numpy as np

from tfhash.codes import packed_length
from tfhash.errors import how_to_install
from tfhash.index.engines import metadata
from tfhash.index.engines.addresses import Address
from tfhash.index.engines.errors import EngineError
from tfhash.index.engines.metadata import State

# Queries of one statement, and rows of one message.
_QUERIES = 64
_ROWS = 1 << 16

# Limits of pgvector: the bits of an indexed code, and what an indexed search may return.
_MAX_INDEXED_BITS = 64_000
_MAX_CANDIDATES = 1_000

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_REVERSED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)[:, ::-1], 1)
_REVERSED = _REVERSED.reshape(-1)


def open_store(url, table, bits, model, approximate, timeout):
    """Opens an index, or makes it; see `tfhash.index.connect`."""
    address = Address(url)
    store = PostgresStore(address, table, approximate, timeout)
    try:
        store.open(bits, model)
    except BaseException:
        store.close()
        raise
    return store


class PostgresStore:
    """The tables of an index: codes, and one row of metadata.

    A change is a transaction that locks the row, so writers take turns.
    """

    def __init__(self, address, table, approximate, timeout):
        self.where = f"the table {table} at {address.shown}"
        self.approximate = approximate
        self._address, self._timeout = address, timeout
        self._name = table
        self._table, self._metadata, self._hnsw = (
            f'"{table}{suffix}"' for suffix in ("", "__metadata", "__hnsw")
        )
        self._connection: Any = None
        self._bits = 0  # until it is open
        self._psycopg = _psycopg()

    def open(self, bits, model):
        """Checks the tables, or makes them if `bits` are given."""
        with self._transaction() as connection:
            # Of two that make the same tables, one waits.
            connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [self._name])
            if self._exists(connection, self._metadata):
                state = self._read(connection)
                metadata.check(state, self.where, bits, model, None)
                self._check_columns(connection, state)
            elif self._exists(connection, self._table):
                raise metadata.foreign(self.where)
            elif bits is None:
                raise FileNotFoundError(f"{self.where} does not exist. Give `bits` to make it")
            else:
                state = State(bits, model or "")
                self._make(connection, state)
            self._bits = state.bits
            if self.approximate:
                self._make_hnsw(connection)

    def close(self):
        """Closes the connection."""
        if self._connection is not None:
            self._connection.close()

    def state(self):
        """What the metadata say now."""
        with self._transaction() as connection:
            return self._read(connection)

    @contextlib.contextmanager
    def change(self):
        """A change of the tables, which is done when the block succeeds."""
        with self._transaction() as connection:
            change = _Change(connection, self._table, self._read(connection, "FOR UPDATE"))
            yield change
            connection.execute(f"UPDATE {self._metadata} SET state = %s", [change.state.as_json()])

    def items(self):
        """Codes and ids."""
        row = np.dtype(_fields(self._bits)[:-1])
        query = f"COPY (SELECT id, code FROM {self._table} ORDER BY id) TO STDOUT (FORMAT BINARY)"
        with self._snapshot() as connection:
            count = self._read(connection).count
            with connection.cursor().copy(query) as copy:
                content = b"".join(copy)[len(_HEADER) : -len(_TRAILER)]
        if len(content) % row.itemsize:
            raise metadata.damaged(self.where, "its rows have other lengths")
        rows = np.frombuffer(content, row)
        metadata.check_rows(self.where, len(rows), count)
        return _REVERSED[rows["code"]], rows["id"].astype(np.int64)

    def nbytes(self):
        """Bytes on disk, those of the graph included."""
        with self._transaction() as connection:
            query = "SELECT pg_total_relation_size(to_regclass(%s))"
            return connection.execute(query, [self._table]).fetchone()[0]

    def names(self, ids):
        """Dictionary from id to name, without items that have none."""
        query = f"SELECT id, name FROM {self._table} WHERE id = ANY(%s) AND name IS NOT NULL"
        with self._transaction() as connection:
            found = connection.execute(query, [ids.tolist()], binary=True).fetchall()
        return {item: name.decode("utf-8", "surrogateescape") for item, name in found}

    def nearest(self, queries, k):
        """Rows of queries, distances and ids of the k nearest items of each."""
        with self._snapshot() as connection:
            expected = min(k, self._read(connection).count) * len(queries)
            if self.approximate:
                found = self._approximate(connection, queries, k)
                # A walk through the graph may end early.
                if len(found[0]) == expected:
                    return found
            found = self._union(connection, queries, f"ORDER BY distance, id LIMIT {k}")
        metadata.check_rows(self.where, len(found[0]), expected)
        return found

    def within(self, queries, radius):
        """Rows of queries, distances and ids of all items within a radius."""
        # As the scan orders by an integer, it never uses the graph.
        with self._snapshot() as connection:
            return self._union(connection, queries, "", f"WHERE (code <~> {{}})::int <= {radius}")

    def _union(self, connection, queries, end, condition="", distance="(code <~> {})::int"):
        selects = [
            f"(SELECT {row} AS row, {distance} AS distance, id FROM {self._table} {condition} "
            f"{end})".replace("{}", literal)
            for row, literal in enumerate(self._literals(queries))
        ]
        found = [
            connection.execute(" UNION ALL ".join(selects[first : first + _QUERIES]), binary=True)
            for first in range(0, len(selects), _QUERIES)
        ]
        rows = [row for cursor in found for row in cursor.fetchall()]
        return np.array(rows, np.int64).reshape(-1, 3).T

    def _approximate(self, connection, queries, k):
        if k > _MAX_CANDIDATES:
            return np.empty((3, 0), np.int64)
        connection.execute(f"SET LOCAL hnsw.ef_search = {max(k, 40)}")
        connection.execute("SET LOCAL enable_seqscan = off")
        found = self._union(connection, queries, f"ORDER BY code <~> {{}} LIMIT {k}")
        connection.execute("SET LOCAL enable_seqscan = on")
        return found

    def _literals(self, queries):
        ones = np.unpackbits(queries, axis=1, bitorder="little")[:, : self._bits]
        return [f"B'{row.tobytes().decode()}'" for row in ones + np.uint8(ord("0"))]

    def _make(self, connection, state):
        try:
            with connection.transaction():
                connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        except self._psycopg.Error as error:
            raise EngineError(
                f"{self.where} needs pgvector 0.7 or newer, which the server cannot load: "
                f"{_first_line(error)}. Install it there, and let a superuser run "
                "CREATE EXTENSION vector"
            ) from None
        connection.execute(
            f"CREATE TABLE {self._table} "
            f"(id bigint PRIMARY KEY, code bit({state.bits}) NOT NULL, name bytea)"
        )
        connection.execute(f"CREATE TABLE {self._metadata} (state text NOT NULL)")
        connection.execute(f"INSERT INTO {self._metadata} VALUES (%s)", [state.as_json()])

    def _make_hnsw(self, connection):
        if self._bits > _MAX_INDEXED_BITS:
            raise ValueError(
                f"`approximate` needs codes of at most {_MAX_INDEXED_BITS:,} bits. Received: "
                f"{self._bits:,} bits. Give approximate=False"
            )
        # A graph of many items takes long.
        connection.execute("SET LOCAL statement_timeout = 0")
        connection.execute(
            f"CREATE INDEX IF NOT EXISTS {self._hnsw} ON {self._table} "
            "USING hnsw (code bit_hamming_ops)"
        )

    def _exists(self, connection, name):
        return connection.execute("SELECT to_regclass(%s)", [name]).fetchone()[0] is not None

    def _check_columns(self, connection, state):
        query = (
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped"
        )
        expected = {"id": "bigint", "code": f"bit({state.bits})", "name": "bytea"}
        if dict(connection.execute(query, [self._table]).fetchall()) != expected:
            raise metadata.damaged(self.where, "its columns have been changed")

    def _read(self, connection, lock=""):
        try:
            rows = connection.execute(f"SELECT state FROM {self._metadata} {lock}").fetchall()
        except self._psycopg.errors.UndefinedColumn:
            raise metadata.foreign(self.where) from None
        if len(rows) != 1:
            raise metadata.foreign(self.where)
        return metadata.read(rows[0][0], self.where)

    @contextlib.contextmanager
    def _snapshot(self):
        """A transaction whose statements see the tables at one time."""
        with self._transaction() as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield connection

    @contextlib.contextmanager
    def _transaction(self):
        errors = self._psycopg.errors
        try:
            connection = self._connected()
            with connection.transaction():
                yield connection
        except errors.UndefinedTable:
            raise FileNotFoundError(f"{self.where} does not exist any more") from None
        except self._psycopg.Error as error:
            reason = self._address.without_password(_first_line(error))
            is_lost = self._connection is None or self._connection.broken
            known = (
                "The connection was lost: a change is done whole or not at all, and which of the "
                "two is seen after connecting again"
                if is_lost and self._connection is not None
                else "Nothing was changed"
            )
            raise EngineError(f"{self.where}: {reason}. {known}") from None

    def _connected(self):
        if self._connection is None or self._connection.closed:
            self._connection = None
            self._connection = self._psycopg.connect(
                self._address.url, autocommit=True, connect_timeout=10
            )
            self._connection.execute(f"SET statement_timeout = {int(self._timeout * 1000)}")
        return self._connection


@dataclasses.dataclass
class _Change:
    """A change under way."""

    connection: Any
    table: str
    state: State

    def known(self, ids):
        """Those of some ids that are in the index."""
        query = f"SELECT id FROM {self.table} WHERE id = ANY(%s)"
        found = self.connection.execute(query, [ids.tolist()], binary=True).fetchall()
        return np.array(found, np.int64).reshape(-1)

    def add(self, ids, codes, names):
        """Adds items."""
        command = f"COPY {self.table} (id, code, name) FROM STDIN (FORMAT BINARY)"
        with self.connection.cursor().copy(command) as copy:
            copy.write(_HEADER)
            for first in range(0, len(ids), _ROWS):
                part = slice(first, first + _ROWS)
                some = None if names is None else names[part]
                copy.write(_rows(ids[part], codes[part], self.state.bits, some))
            copy.write(_TRAILER)

    def remove(self, ids):
        """Removes items."""
        query = f"DELETE FROM {self.table} WHERE id = ANY(%s)"
        self.connection.execute(query, [ids.tolist()])


def _fields(bits):
    """A row of COPY: the number of fields, and each field after its length in bytes."""
    length = packed_length(bits)
    return [
        ("fields", ">i2"), ("id_length", ">i4"), ("id", ">i8"), ("code_length", ">i4"),
        ("bits", ">i4"), ("code", "u1", (length,)), ("name_length", ">i4"),
    ]  # fmt: skip


def _rows(ids, codes, bits, names):
    rows = np.empty(len(ids), _fields(bits))
    rows["fields"], rows["id_length"], rows["id"] = 3, 8, ids
    rows["code_length"], rows["bits"] = 4 + codes.shape[1], bits
    # PostgreSQL's first bit is the highest of a byte.
    rows["code"] = _REVERSED[codes]
    if names is None:
        rows["name_length"] = -1
        return rows.tobytes()
    texts = [name.encode("utf-8", "surrogateescape") for name in names]
    rows["name_length"] = [len(text) for text in texts]
    return b"".join(part for row, text in zip(rows, texts) for part in (row.tobytes(), text))


def _first_line(error):
    return str(error).strip().partition("\n")[0].rstrip(".")


def _psycopg():
    try:
        import psycopg
    except ImportError as error:
        raise ImportError(f"postgresql:// needs psycopg. {how_to_install('postgresql')}") from error
    return psycopg
