"""Indexes in every place they can be, by the same calls, for tests."""

import importlib.util
import itertools
import pathlib
import tempfile

import pytest
from engine_servers import ClickHouseServer, PostgresServer, free_ports

from tfhash.index import HammingIndex, connect
from tfhash.index.engines import shard_ddl

SERVERS = ["clickhouse", "cluster", "postgresql"]
ENGINES = ["chdb", *SERVERS]

_numbers = itertools.count()


class File:
    """The index in memory, and its file."""

    def make(self, bits, model=None):
        return HammingIndex(bits, model=model or "")

    def again(self, index, model=None):
        """The same index as another process would open it."""
        with tempfile.TemporaryDirectory() as folder:
            index.save(pathlib.Path(folder) / "index")
            return HammingIndex.load(pathlib.Path(folder) / "index", model=model, mmap=False)


class Engine:
    """Tables of an engine, each index in its own."""

    def __init__(self, url, servers=(), cluster=None):
        self.url, self.servers, self.cluster = url, servers, cluster
        self._tables = {}

    def make(self, bits, model=None, table=None, **options):
        table = table or f"t{next(_numbers)}"
        if self.cluster:
            for server in self.servers:
                server.run(shard_ddl(table, bits))
            options["cluster"] = self.cluster
        index = connect(self.url, table, bits, model, **options)
        self._tables[id(index)] = index, table
        return index

    def table(self, index):
        return self._tables[id(index)][1]

    def again(self, index, **options):
        """The same index as another process would open it."""
        return connect(self.url, self.table(index), **options)

    def restart(self):
        """Kills all servers and starts them again."""
        for server in self.servers:
            server.kill()
        for server in self.servers:
            server.start()


class Places:
    """Engines by name, whose servers start when first asked for."""

    def __init__(self, folder):
        self._folder, self._made, self._servers = folder, {}, []

    def __getitem__(self, name):
        if name not in self._made:
            self._made[name] = getattr(self, f"_{name}")()
        return self._made[name]

    def stop(self):
        for server in self._servers:
            server.stop()

    def _file(self):
        return File()

    def _chdb(self):
        if importlib.util.find_spec("chdb") is None:
            pytest.skip("chdb is not installed (its 800 MB are no part of the extra test)")
        return Engine(f"chdb://{self._folder / 'chdb'}")

    def _clickhouse(self):
        return Engine(self._shards()[0].url, self._shards()[:1])

    def _cluster(self):
        return Engine(self._shards()[0].url, self._shards(), cluster="two")

    def _shards(self):
        if not self._servers_of(ClickHouseServer):
            ports = free_ports(2)
            for i, port in enumerate(ports):
                server = ClickHouseServer(self._folder / f"clickhouse{i}", port, ports)
                self._servers.append(server)
        return self._servers_of(ClickHouseServer)

    def _postgresql(self):
        server = PostgresServer()
        self._servers.append(server)
        return Engine(server.url, [server])

    def _servers_of(self, kind):
        return [server for server in self._servers if isinstance(server, kind)]


def run(engine, statement):
    """Runs a statement on an engine's first server, beside the index."""
    if engine.url.startswith("postgresql"):
        import psycopg

        with psycopg.connect(engine.url) as connection:
            connection.execute(statement)
    elif engine.servers:
        engine.servers[0].run(statement)
    else:
        with connect(engine.url, "beside", bits=8) as index:
            index._store._query(statement)
