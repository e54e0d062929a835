"""Whatever is killed, an index in an engine has all of a change or nothing of it."""

import importlib.util
import json
import signal
import subprocess

import numpy as np
import pytest
from engine_cases import ENGINES, SERVERS, Engine
from engine_servers import ClickHouseServer, free_ports
from hamming_cases import run_python
from index_cases import check_search, make_codes

from tfhash.index import EngineError, connect
from tfhash.index.engines import clickhouse, postgresql

# Has 500 items, and is killed while it adds 2,500 more in three parts, or removes 100.
WRITER = """
import os, signal, sys
import numpy as np
from tfhash.index import connect
from tfhash.index.engines import clickhouse, postgresql

url, table, point = sys.argv[1:]
codes = np.random.default_rng(0).integers(0, 256, (3000, 8), "uint8")
index = connect(url, table, bits=64)
index.add(codes[:500], names=map(str, range(500)))
clickhouse._ROWS = postgresql._ROWS = 1000

def killing(function, calls):
    def killed(*arguments):
        calls.append(1)
        if len(calls) > parts:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*arguments)
        if not parts:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return killed

what, parts = {"first part": ("_rows", 0), "third part": ("_rows", 2)}.get(point, (None, 0))
for module in (clickhouse, postgresql):
    if what:
        module._rows = killing(module._rows, [])
    else:
        def and_die(*arguments, change=getattr(module._Change, point)):
            change(*arguments)
            os.kill(os.getpid(), signal.SIGKILL)
        setattr(module._Change, point, and_die)
if point == "remove":
    index.remove(np.arange(100))
else:
    index.add(codes[500:], names=map(str, range(500, 3000)))
"""

READER = """
import json, sys
import numpy as np
from tfhash.index import connect

url, table = sys.argv[1:]
codes = np.random.default_rng(0).integers(0, 256, (3000, 8), "uint8")
index = connect(url, table)
before = len(index), index.names == list(map(str, range(500)))
index.add(codes[500:])
found = index.items()
is_whole = np.array_equal(found[0], codes) and np.array_equal(found[1], np.arange(3000))
print(json.dumps([*before, is_whole, index.search(codes[-1:], 1).ids.tolist()]))
"""


@pytest.mark.parametrize("point", ["first part", "third part", "add", "remove"])
@pytest.mark.parametrize("name", ENGINES)
def test_a_killed_writer_changes_nothing_and_the_next_one_goes_on(places, tmp_path, name, point):
    if name == "chdb":
        # Its folder belongs to one process at a time, so not to this one.
        if importlib.util.find_spec("chdb") is None:
            pytest.skip("chdb is not installed")
        url, table = f"chdb://{tmp_path / 'chdb'}", "t"
    else:
        index = places[name].make(64)
        url, table = places[name].url, places[name].table(index)
    killed = run_python(WRITER, url, table, point)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    read = run_python(READER, url, table)
    assert read.returncode == 0, read.stderr
    assert json.loads(read.stdout) == [500, True, True, [[2999]]]


@pytest.mark.parametrize("part", [1, 3])
@pytest.mark.parametrize("name", SERVERS)
def test_a_killed_server_has_all_or_nothing_when_it_is_back(rng, places, monkeypatch, name, part):
    place = places[name]
    codes = make_codes(rng, 3_000, 64)
    index = place.make(64)
    ids = index.add(codes[:500])
    calls = []
    for module in (clickhouse, postgresql):
        monkeypatch.setattr(module, "_ROWS", 1_000)

        def killing(*arguments, rows=module._rows):
            calls.append(1)
            if len(calls) == part:
                for server in place.servers:
                    server.kill()
            return rows(*arguments)

        monkeypatch.setattr(module, "_rows", killing)
    with pytest.raises(EngineError, match="at (clickhouse|postgresql)://|no answer from"):
        index.add(codes[500:])
    with pytest.raises(EngineError):
        index.search(codes[:2], 3)
    for server in place.servers:
        server.start()
    # The same object connects again.
    assert len(index) == len(index.ids) == 500
    check_search(index, codes[:3], codes[:500], ids, 10)
    ids = np.concatenate([ids, index.add(codes[500:])])
    check_search(index, codes[:3], codes, ids, 10)
    assert index.ids.tolist() == list(range(3_000))


def test_a_shard_that_is_down_is_an_error_and_never_a_part_of_the_answer(rng, places):
    place = places["cluster"]
    codes = make_codes(rng, 1_000, 64)
    index = place.make(64)
    ids = index.add(codes, names=[str(i) for i in range(1_000)])
    # Both have their share.
    for server in place.servers:
        count = int(server.run(f"SELECT count() FROM {place.table(index)}__shard"))
        assert 300 < count < 700
    place.servers[1].kill()
    calls = [
        lambda: index.search(codes[:2], 3),
        lambda: index.within(codes[:2], 3),
        lambda: index.items(),
        lambda: index.names_of(ids),
        lambda: index.add(codes),
        lambda: index.remove(ids[:2]),
        lambda: connect(place.url, "unmade", bits=64, cluster="two"),
    ]
    try:
        for call in calls:
            with pytest.raises(EngineError, match="Code: "):
                call()
        with pytest.raises(EngineError, match="Code: 279"):
            index.search(codes[:2], 3)
    finally:
        place.servers[1].start()
    check_search(index, codes[:2], codes, ids, 10)
    assert index.ids.tolist() == ids.tolist()


def test_a_server_that_is_not_there_is_an_error(places):
    (port,) = free_ports(1)
    for scheme, module in (("clickhouse", "requests"), ("postgresql", "psycopg")):
        if importlib.util.find_spec(module) is not None:
            with pytest.raises(EngineError, match="refused"):
                connect(f"{scheme}://127.0.0.1:{port}/x", "t", bits=8)


def test_a_shard_without_its_table_is_an_error_that_has_the_statement(places):
    place = places["cluster"]
    with pytest.raises(EngineError, match="have run: CREATE TABLE IF NOT EXISTS bare__shard"):
        connect(place.url, "bare", bits=64, cluster="two")
    with pytest.raises(FileNotFoundError):
        connect(place.url, "bare")


def test_a_full_disk_of_postgresql_changes_nothing(rng, places):
    place = places["postgresql"]
    index = place.make(64)
    codes = make_codes(rng, 50_000, 64)
    index.add(codes[:100])
    # As a full disk: what the process of this connection writes ends at a size.
    pid = index._store._connection.info.backend_pid
    place.servers[0].limit_files(pid, 1_000_000)
    with pytest.raises(EngineError, match="could not .*Nothing was changed"):
        index.add(codes[100:])
    place.servers[0].limit_files(pid, "unlimited")
    assert len(index) == len(index.ids) == 100
    index.add(codes[100:])
    np.testing.assert_array_equal(index.codes, codes)


def test_a_full_disk_of_clickhouse_changes_nothing(rng, places, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "none", disk], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        server = ClickHouseServer(disk / "server", *(lambda port: (port, [port]))(*free_ports(1)))
        try:
            index = Engine(server.url, [server]).make(64)
            codes = make_codes(rng, 1_500_000, 64)
            index.add(codes[:100])
            with pytest.raises(EngineError, match="[Nn]o space|Not enough space"):
                index.add(codes)
            assert len(index) == len(index.ids) == 100
            check_search(index, codes[:2], codes[:100], np.arange(100), 10)
            index.add(codes[100:200])
            assert len(index.ids) == 200
        finally:
            server.kill()
    finally:
        subprocess.run(["umount", disk], check=True)
