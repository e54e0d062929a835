"""Loading, searching and size of the same codes in the index file and in engines.

Codes are random, ids 0 to n - 1. Every engine's nearest items are compared with those of the index
before anything is timed. The engines are those whose URLs are given, on servers that run already;
chDB and the index file need none. Every measurement makes a table scale_NUMBER, which it leaves; that
of a cluster, scale, whose shards have `shard_ddl("scale", bits)`. A run continues where it stopped.

Memory is what the searches left resident: of this process beside the codes that it made, or of the
server's processes, where `--pids` names them. Core-seconds are processor time of these and of this
process. `scale_servers.py` starts the servers, too.

    python benchmarks/scale.py --output=scale.json --items=1000000 --engines=file,chdb
    python benchmarks/scale.py --output=scale.json --engines=postgresql,clickhouse \
        --postgresql=postgresql://ada@127.0.0.1/codes --clickhouse=clickhouse://127.0.0.1/codes \
        --pids=$(pgrep -o postgres)
"""

import importlib.metadata
import pathlib
import tempfile
import time

import numpy as np
import processes
import reports
import scale_tables
from absl import app, flags
from tables import header, row

from tfhash import files
from tfhash.index import HammingIndex, connect

FLAGS = flags.FLAGS
flags.DEFINE_list("items", ["1000000"], "Numbers of codes.")
flags.DEFINE_list("engines", ["file", "chdb"], "file, chdb, clickhouse, cluster, postgresql.")
flags.DEFINE_string("clickhouse", None, "URL of a server; that of the cluster, too.")
flags.DEFINE_string("cluster", None, "Name of a cluster whose shards have the table scale__shard.")
flags.DEFINE_string("postgresql", None, "URL of a server.")
flags.DEFINE_list("pids", [], "Process ids of the servers, on this machine.")
flags.DEFINE_string("server_version", None, "Version of the servers, for the report.")
flags.DEFINE_integer("bits", 64, "Bits of a code.", lower_bound=1)
flags.DEFINE_integer("k", 10, "Nearest items.", lower_bound=1)
flags.DEFINE_integer("batch", 32, "Queries of a batched search.", lower_bound=1)
flags.DEFINE_integer("part", 1_000_000, "Codes of one call of add.", lower_bound=1)
flags.DEFINE_integer("repeats", 5, "Times that each search runs.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Seed of the codes.")
flags.DEFINE_string("output", None, "Result file.", required=True)

# Queries whose answers are compared with those of the index in memory.
CHECKED = 8

# A search that has taken so long is not repeated.
MOST_SECONDS = 300

SETTINGS = ("bits", "k", "batch", "part", "repeats", "seed")


def main(_):
    unknown = set(FLAGS.engines) - scale_tables.ENGINES.keys()
    if unknown:
        raise app.UsageError(
            f"--engines: expected some of {', '.join(scale_tables.ENGINES)}. Received: "
            f"{', '.join(sorted(unknown))}"
        )
    path = pathlib.Path(FLAGS.output)
    made_with = reports.of_compiled(
        "seconds of each call", {name: FLAGS[name].value for name in SETTINGS}
    )
    report = reports.read(path, made_with)
    print(header(scale_tables.SCALE_COLUMNS), end="")
    for items in map(int, FLAGS.items):
        missing = [e for e in FLAGS.engines if f"{e} {items}" not in report["cells"]]
        codes = make_codes(items) if missing else None
        for engine in FLAGS.engines:
            key = f"{engine} {items}"
            if engine in missing:
                with tempfile.TemporaryDirectory() as folder:
                    report["cells"][key] = measure(engine, codes, pathlib.Path(folder))
                files.write_json(path, report)
            cell = report["cells"][key]
            print(row(scale_tables.measured(report, engine, items, cell)), end="", flush=True)


def make_codes(items):
    """Random codes, `uint8 [items, ceil(bits / 8)]`, whose padding is zero."""
    codes = np.random.default_rng(FLAGS.seed).integers(
        0, 256, (items, -(-FLAGS.bits // 8)), "uint8"
    )
    if FLAGS.bits % 8:
        codes[:, -1] &= (1 << FLAGS.bits % 8) - 1
    return codes


def measure(engine, codes, folder):
    """Loads codes into an engine, checks its answers and times its searches."""
    pids = ["self"] if engine in ("file", "chdb") else FLAGS.pids
    before = processes.resident_mb(pids) if pids == ["self"] else 0
    spent, clock = processes.core_seconds(pids), time.perf_counter()
    index = HammingIndex(FLAGS.bits) if engine == "file" else opened(engine, folder)
    for first in range(0, len(codes), FLAGS.part):
        index.add(codes[first : first + FLAGS.part])
    if engine == "file":
        index.save(folder / "index")
        index = HammingIndex.load(folder / "index")
    loading = time.perf_counter() - clock
    core_seconds = {"loading": processes.core_seconds(pids) - spent}
    rng = np.random.default_rng(FLAGS.seed + 1)
    queries = codes[rng.integers(0, len(codes), FLAGS.batch)] ^ np.uint8(1)
    check(index, codes, queries[:CHECKED])
    seconds = {"one": [], "batch": []}
    ones = [query[None] for query in np.resize(queries, (FLAGS.repeats, queries.shape[1]))]
    for name, searches in (("one", ones), ("batch", [queries] * FLAGS.repeats)):
        spent = processes.core_seconds(pids)
        for some in searches:
            clock = time.perf_counter()
            index.search(some, FLAGS.k)
            seconds[name].append(time.perf_counter() - clock)
            if sum(seconds[name]) > MOST_SECONDS:
                break
        number = len(searches[0]) * len(seconds[name])
        core_seconds[name] = (processes.core_seconds(pids) - spent) / number
    disk_bytes = (folder / "index").stat().st_size if engine == "file" else index.nbytes
    memory = processes.resident_mb(pids) - before if pids else None
    if engine != "file":
        index.close()
    return {
        "version": version_of(engine),
        "loading": loading,
        "seconds": seconds,
        "core_seconds": core_seconds if pids else None,
        "disk_bytes": disk_bytes,
        "resident_mb": memory,
    }


def version_of(engine):
    """The version of what holds the codes, as text."""
    if engine in ("file", "chdb"):
        return importlib.metadata.version("tfhash" if engine == "file" else "chdb-core")
    return FLAGS.server_version


def opened(engine, folder):
    """A new index in an engine."""
    table = f"scale_{time.time_ns()}"
    if engine == "chdb":
        return connect(f"chdb://{folder / 'chdb'}", table, FLAGS.bits)
    url = FLAGS.clickhouse if engine in ("clickhouse", "cluster") else FLAGS.postgresql
    if url is None:
        raise app.UsageError(f"--engines={engine} needs the URL of its server")
    if engine == "cluster":
        if FLAGS.cluster is None:
            raise app.UsageError("--engines=cluster needs --cluster, the name of it")
        index = connect(url, "scale", FLAGS.bits, cluster=FLAGS.cluster)
        if len(index):
            raise app.UsageError(
                "the table scale has codes. Drop it, scale__* and the shards' rows"
            )
        return index
    return connect(url, table, FLAGS.bits)


def check(index, codes, queries):
    """Raises `AssertionError` unless the nearest items are those of the index in memory."""
    expected = HammingIndex(FLAGS.bits, compact=True)
    expected.add(codes)
    for found, right in zip(index.search(queries, FLAGS.k), expected.search(queries, FLAGS.k)):
        np.testing.assert_array_equal(found, right)


if __name__ == "__main__":
    app.run(main)
