"""An index in ClickHouse or chDB, which have no transactions.

Rows carry the number of their batch, and count once the *head* names it. The head is a view of one
constant, the index's state, with a number in its name: a writer claims the number of a batch, reads
head 7, writes rows, and makes head 8. Making a view is atomic and fails if there is one of that
name, so of two writers that read head 7 one gets an error. Rows of a writer that was killed are
never seen, because no head names their batch and its number is not given again.
"""

import contextlib
import dataclasses

import numpy as np

from tfhash.index.engines import clickhouse_sql as sql
from tfhash.index.engines import metadata
from tfhash.index.engines.addresses import Address
from tfhash.index.engines.clickhouse_client import HttpClient
from tfhash.index.engines.errors import EngineError, OtherWriterError, ServerError
from tfhash.index.engines.metadata import State
from tfhash.varint import varint

_TABLE_EXISTS = 57
# Others dropped a view while a statement read it, or the list of tables.
_GONE = (60, 218)

# Subqueries of one statement, and rows of one INSERT.
_QUERIES = 64
_ROWS = 1 << 18

_UNKNOWN = (
    "A change is done whole or not at all; if the connection was lost, connect again to see which"
)
_FOUND = np.dtype([("row", "<i4"), ("distance", "<i4"), ("id", "<i8")])


def open_store(url, table, bits, model, cluster, timeout):
    """Opens an index, or makes it; see `tfhash.index.connect`."""
    address = Address(url)
    if cluster is not None:
        metadata.check_name("cluster", cluster)
    where = f"the table {table} at {address.shown}"
    return opened(HttpClient(address, timeout), where, table, bits, model, cluster)


def opened(client, where, table, bits, model, cluster):
    """An index behind a client of the engine."""
    store = ClickHouseStore(client, where, table)
    try:
        store.open(bits, model, cluster)
    except BaseException:
        store.close()
        raise
    return store


class ClickHouseStore:
    """The tables of an index: codes, removed items, claims and the head."""

    approximate = False

    def __init__(self, client, where, table):
        self.where = where
        self._client, self.table, self.removed = client, table, f"{table}__removed"
        self._bits, self._has_distance = 0, False  # until it is open

    def open(self, bits, model, cluster):
        """Checks the tables, or makes them if `bits` are given."""
        with self._explained():
            functions = "SELECT name FROM system.functions WHERE name = 'bitHammingDistance'"
            self._has_distance = bool(self._query(functions))
            for name, value in sql.NEWER_SETTINGS.items():
                if self._query(f"SELECT name FROM system.settings WHERE name = '{name}'"):
                    self._client.set(name, value)
            if self._newest() is None:
                if bits is None:
                    if self._columns():
                        raise metadata.foreign(self.where)
                    raise FileNotFoundError(f"{self.where} does not exist. Give `bits` to make it")
                self._make(State(bits, model or "", cluster=cluster or ""))
            _, state = self._head()
            metadata.check(state, self.where, bits, model, cluster)
            self._bits = state.bits
            if self._columns() != sql.columns(state.bits):
                raise metadata.damaged(self.where, "its columns have been changed")

    def close(self):
        """Closes the connection."""
        self._client.close()

    def state(self):
        """What the head says now."""
        with self._explained():
            return self._head()[1]

    @contextlib.contextmanager
    def change(self):
        """A change of the tables, which counts when the block succeeds."""
        with self._explained():
            number, state, batch = self._claim()
            change = _Change(self, batch, state)
            yield change
            self._publish(number + 1, change.state.with_batch(batch), batch)

    def items(self):
        """Codes and ids."""
        with self._explained():
            state = self._head()[1]
            words = -(-self._bits // 64)
            row = np.dtype([("id", "<i8"), ("words", "<u8", (words,))])
            names = ", ".join(f"w{word}" for word in range(words))
            query = f"SELECT id, {names} FROM {self.table} WHERE {self._present(state)} ORDER BY id"
            rows = self._rows(query, row)
        metadata.check_rows(self.where, len(rows), state.count)
        length = -(-self._bits // 8)
        codes = np.ascontiguousarray(rows["words"]).view(np.uint8).reshape(len(rows), 8 * words)
        return np.ascontiguousarray(codes[:, :length]), rows["id"].copy()

    def nbytes(self):
        """Bytes on the disks of all servers."""
        with self._explained():
            cluster = self._head()[1].cluster
            parts = f"cluster({cluster}, system, parts)" if cluster else "system.parts"
            names = ", ".join(f"'{self.table}{suffix}'" for suffix in ("", "__shard", "__removed"))
            answer = self._query(
                f"SELECT sum(bytes_on_disk) FROM {parts} WHERE active AND table IN ({names}) "
                "AND database = currentDatabase() FORMAT TabSeparated"
            )
        return int(answer)

    def names(self, ids):
        """Dictionary from id to name, without items that have none."""
        names = {}
        with self._explained():
            state = self._head()[1]
            for some in sql.lists(ids):
                answer = self._query(
                    f"SELECT id, hex(name) FROM {self.table} WHERE named AND id IN ({some}) "
                    f"AND {self._present(state)} FORMAT TabSeparated"
                )
                for line in answer.decode("ascii").splitlines():
                    item, _, name = line.partition("\t")
                    names[int(item)] = bytes.fromhex(name).decode("utf-8", "surrogateescape")
        return names

    def nearest(self, queries, k):
        """Rows of queries, distances and ids of the k nearest items of each."""
        with self._explained():
            state = self._head()[1]
            if not state.count:
                return np.empty((3, 0), np.int64)
            k = min(k, state.count)
            found = self._union(queries, state, end=f"ORDER BY distance, id LIMIT {k}")
        metadata.check_rows(self.where, len(found), k * len(queries))
        return found["row"], found["distance"], found["id"]

    def within(self, queries, radius):
        """Rows of queries, distances and ids of all items within a radius."""
        with self._explained():
            state = self._head()[1]
            found = self._union(queries, state, condition=f"AND distance <= {radius}")
        return found["row"], found["distance"], found["id"]

    def known(self, ids, state):
        """Ids that are in the index at a state, and the batches that added them."""
        row = np.dtype([("id", "<i8"), ("batch", "<u4")])
        found = [
            self._rows(
                f"SELECT id, batch FROM {self.table} WHERE id IN ({some}) "
                f"AND {self._present(state)}",
                row,
            )
            for some in sql.lists(ids)
        ]
        return np.concatenate(found) if found else np.empty(0, row)

    def insert(self, table, columns, rows):
        """Adds rows in the format RowBinary."""
        self._client.insert(f"INSERT INTO {table} ({', '.join(columns)}) FORMAT RowBinary", rows)

    def _union(self, queries, state, condition="", end=""):
        present = self._present(state)
        selects = [
            f"SELECT toInt32({row}) AS row, {sql.distance(words, self._has_distance)} AS distance, "
            f"id FROM {self.table} WHERE {present} {condition} {end}"
            for row, words in enumerate(sql.words_of(queries))
        ]
        found = [
            self._rows(
                "SELECT row, distance, id FROM ("
                + " UNION ALL ".join(selects[first : first + _QUERIES])
                + ")",
                _FOUND,
            )
            for first in range(0, len(selects), _QUERIES)
        ]
        return np.concatenate(found)

    def _make(self, state):
        columns = self._columns()
        if columns and columns != sql.columns(state.bits):
            raise metadata.foreign(self.where)
        is_new = False
        if state.cluster:
            is_new = not columns and self._make_distributed(state)
        else:
            self._query(sql.table_ddl(self.table, state.bits))
        try:
            count = self._query(f"SELECT count() FROM {self.table} FORMAT TabSeparated")
        except ServerError as error:
            if not state.cluster:
                raise
            # Not every shard has its table. No table but the one made above is dropped: it holds
            # no rows itself, and one that was there may be another's.
            if is_new:
                self._query(f"DROP TABLE IF EXISTS {self.table}")
            raise EngineError(
                f"{self.where} cannot be made: {error}. Every server of the cluster must be up "
                f"and have run: {sql.shard_ddl(self.table, state.bits)}"
            ) from None
        # A kill while the tables were made leaves them empty.
        if int(count):
            raise metadata.foreign(self.where)
        self._query(sql.removed_ddl(self.removed))
        with contextlib.suppress(_TakenError):
            self._view("head", 0, state.as_json())

    def _make_distributed(self, state):
        """Whether it made the table; not if another process was faster."""
        shard = f"{self.table}__shard"
        try:
            self._query(sql.distributed_ddl(self.table, shard, state.bits, state.cluster))
        except ServerError as error:
            if error.code != _TABLE_EXISTS:
                raise
            return False
        return True

    def _columns(self):
        answer = self._listed(
            "SELECT name, type FROM system.columns WHERE database = currentDatabase() "
            f"AND table = '{self.table}' FORMAT TabSeparated"
        )
        return dict(line.split("\t") for line in answer.decode().splitlines())

    def _head(self):
        """Number and state of the newest head."""
        for _ in range(100):
            number = self._newest()
            if number is None:
                raise FileNotFoundError(f"{self.where} does not exist any more")
            try:
                answer = self._query(
                    f"SELECT hex(state) FROM {self.table}__head_{number} FORMAT TabSeparated"
                )
            except ServerError as error:
                if error.code not in _GONE:
                    raise
                continue
            text = bytes.fromhex(answer.decode()).decode("utf-8", "replace")
            return number, metadata.read(text, self.where)
        raise EngineError(f"{self.where} changes too fast to be read. Try again")

    def _newest(self):
        """Number of the newest head; None if there is none."""
        # A list of tables may lack one that was dropped and the one that was made meanwhile.
        for _ in range(3):
            heads = self._numbers("head")
            if heads:
                return max(heads)
        return None

    def _claim(self):
        """Number and state of the head, and a number that no other batch has or had."""
        batch = 0
        while True:
            batch = max([batch, self._head()[1].last_batch, *self._numbers("claim")]) + 1
            try:
                self._view("claim", batch, "")
            except _TakenError:
                continue
            number, state = self._head()
            # Claims are dropped once a head names a batch of their number or a larger one.
            if batch > state.last_batch:
                return number, state, batch

    def _publish(self, number, state, batch):
        with contextlib.suppress(_TakenError):
            self._view("head", number, state.as_json())
        # Old heads are dropped, so the number of one that others made and dropped is free again.
        # What counts is whether the newest head, which follows from all before, names the batch.
        if not self._head()[1].has_batch(batch):
            raise OtherWriterError(
                f"another writer changed {self.where} meanwhile; nothing was changed. Try again"
            )
        with contextlib.suppress(ServerError, EngineError):
            for old in self._numbers("head"):
                if old < number:
                    self._query(f"DROP TABLE IF EXISTS {self.table}__head_{old}")
            for old in self._numbers("claim"):
                if old <= batch:
                    self._query(f"DROP TABLE IF EXISTS {self.table}__claim_{old}")

    def _view(self, kind, number, text):
        name = f"{self.table}__{kind}_{number}"
        try:
            self._query(f"CREATE VIEW {name} AS SELECT {sql.quoted(text)} AS state")
        except ServerError as error:
            # Others may drop it as soon as it is made.
            if error.code in (_TABLE_EXISTS, *_GONE):
                raise _TakenError from None
            raise

    def _numbers(self, kind):
        answer = self._listed(
            "SELECT name FROM system.tables WHERE database = currentDatabase() "
            f"AND match(name, '^{self.table}__{kind}_[0-9]+$') FORMAT TabSeparated"
        )
        return [int(line.rpartition("_")[2]) for line in answer.decode().splitlines()]

    def _listed(self, statement):
        """Runs a statement on the list of tables, which others may change meanwhile."""
        for _ in range(100):
            try:
                return self._query(statement)
            except ServerError as error:
                if error.code not in _GONE:
                    raise
        raise EngineError(f"{self.where} changes too fast to be read. Try again")

    def _present(self, state):
        return sql.present(state, self.removed)

    def _rows(self, query, row):
        return np.frombuffer(self._query(query + " FORMAT RowBinary"), row)

    def _query(self, statement):
        return self._client.query(statement)

    @contextlib.contextmanager
    def _explained(self):
        try:
            yield
        except ServerError as error:
            raise EngineError(f"{self.where}: {error}. {_UNKNOWN}") from None


class _TakenError(Exception):
    """There is, or was, a view of this name."""


@dataclasses.dataclass
class _Change:
    """A change under way."""

    store: ClickHouseStore
    batch: int
    state: State

    def known(self, ids):
        """Those of some ids that are in the index."""
        return self.store.known(ids, self.state)["id"]

    def add(self, ids, codes, names):
        """Adds items."""
        words = sql.words_of(codes)
        columns = sql.columns(self.state.bits)
        for first in range(0, len(ids), _ROWS):
            part = slice(first, first + _ROWS)
            some = None if names is None else names[part]
            rows = _rows(self.batch, ids[part], words[part], some)
            self.store.insert(self.store.table, columns, rows)

    def remove(self, ids):
        """Removes items."""
        found = self.store.known(ids, self.state)
        rows = np.empty(len(found), [("batch", "<u4"), ("id", "<i8"), ("added", "<u4")])
        rows["batch"], rows["id"], rows["added"] = self.batch, found["id"], found["batch"]
        self.store.insert(self.store.removed, rows.dtype.names, rows.tobytes())
        self.state = dataclasses.replace(self.state, removed=self.state.removed + len(found))


def _rows(batch, ids, words, names):
    row = [("batch", "<u4"), ("id", "<i8"), ("words", "<u8", words.shape[1:]), ("named", "u1")]
    if names is None:
        rows = np.zeros(len(ids), [*row, ("length", "u1")])
    else:
        rows = np.empty(len(ids), row)
        rows["named"] = 1
    rows["batch"], rows["id"], rows["words"] = batch, ids, words
    if names is None:
        return rows.tobytes()
    texts = [name.encode("utf-8", "surrogateescape") for name in names]
    return b"".join(
        part for row, text in zip(rows, texts) for part in (row.tobytes(), varint(len(text)), text)
    )
