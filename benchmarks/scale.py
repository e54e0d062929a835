"""Loading, searching and size of the same codes in the index file and in engines.

Codes are random, ids 0 to n - 1. Every engine's nearest items are compared with those of the index
before anything is timed. The engines are those whose URLs are given, on servers that run already;
chDB and the index file need none. Every measurement makes a table scale_NUMBER, which it leaves; that
of a cluster, scale, whose shards have `shard_ddl("scale", bits)`. A run continues where it stopped.

Memory is what the searches left resident: of this process beside the codes that it made, or of the
server's processes, where `--pids` names them.

    python benchmarks/scale.py --output=scale.json --items=1000000 --engines=file,chdb
    python benchmarks/scale.py --output=scale.json --engines=postgresql,clickhouse \
        --postgresql=postgresql://ada@127.0.0.1/codes --clickhouse=clickhouse://127.0.0.1/codes \
        --pids=$(pgrep -o postgres)
"""

import pathlib
import re
import tempfile
import time

import numpy as np
import reports
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
flags.DEFINE_integer("bits", 64, "Bits of a code.", lower_bound=1)
flags.DEFINE_integer("k", 10, "Nearest items.", lower_bound=1)
flags.DEFINE_integer("batch", 32, "Queries of a batched search.", lower_bound=1)
flags.DEFINE_integer("part", 1_000_000, "Codes of one call of add.", lower_bound=1)
flags.DEFINE_integer("repeats", 5, "Times that each search runs.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Seed of the codes.")
flags.DEFINE_string("output", None, "Result file.", required=True)

SETTINGS = ("bits", "k", "batch", "part", "repeats", "seed")
COLUMNS = (
    "engine",
    "codes",
    "loading, s",
    "one query, ms",
    "a query of a batch, ms",
    "disk, MB",
    "memory, MB",
)


def main(_):
    path = pathlib.Path(FLAGS.output)
    made_with = reports.of_compiled(
        "seconds of each call", {name: FLAGS[name].value for name in SETTINGS}
    )
    report = reports.read(path, made_with)
    print(header(COLUMNS), end="")
    for items in map(int, FLAGS.items):
        codes = np.random.default_rng(FLAGS.seed).integers(
            0, 256, (items, -(-FLAGS.bits // 8)), "uint8"
        )
        if FLAGS.bits % 8:
            codes[:, -1] &= (1 << FLAGS.bits % 8) - 1
        for engine in FLAGS.engines:
            key = f"{engine} {items}"
            if key not in report["cells"]:
                with tempfile.TemporaryDirectory() as folder:
                    report["cells"][key] = measure(engine, codes, pathlib.Path(folder))
                files.write_json(path, report)
            print(row(shown(engine, items, report["cells"][key])), end="", flush=True)


def measure(engine, codes, folder):
    """Loads codes into an engine, checks its answers and times its searches."""
    processes = ["self"] if engine in ("file", "chdb") else FLAGS.pids
    before = resident_mb(processes) if processes == ["self"] else 0
    started = time.perf_counter()
    index = HammingIndex(FLAGS.bits) if engine == "file" else opened(engine, folder)
    for first in range(0, len(codes), FLAGS.part):
        index.add(codes[first : first + FLAGS.part])
    if engine == "file":
        index.save(folder / "index")
        index = HammingIndex.load(folder / "index")
    loading = time.perf_counter() - started
    rng = np.random.default_rng(FLAGS.seed + 1)
    queries = codes[rng.integers(0, len(codes), FLAGS.batch)] ^ np.uint8(1)
    check(index, codes, queries)
    seconds = {"one": [], "batch": []}
    for i in range(FLAGS.repeats):
        for name, some in (("one", queries[i % len(queries)][None]), ("batch", queries)):
            started = time.perf_counter()
            index.search(some, FLAGS.k)
            seconds[name].append(time.perf_counter() - started)
    disk_bytes = (folder / "index").stat().st_size if engine == "file" else index.nbytes
    memory = resident_mb(processes) - before if processes else None
    if engine != "file":
        index.close()
    return {
        "loading": loading, "seconds": seconds, "disk_bytes": disk_bytes, "resident_mb": memory
    }  # fmt: skip


def resident_mb(processes):
    """Resident memory of processes and of those that they started, pages that they share counted once."""
    parents = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name, in parentheses, may hold anything.
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        parents[stat.parent.name] = fields[1]
    found, new = set(), set(processes)
    while new:
        found |= new
        new = {each for each, parent in parents.items() if parent in found} - found
    kilobytes = 0
    for each in found:
        try:
            rollup = pathlib.Path("/proc", each, "smaps_rollup").read_text()
        except OSError:
            continue
        kilobytes += int(re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)[1])
    return kilobytes / 1000


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


def shown(engine, items, cell):
    """A row of the table: medians."""
    one, batch = (np.median(cell["seconds"][name]) for name in ("one", "batch"))
    return (
        engine, f"{items:,}", f"{cell['loading']:.2f}", f"{1e3 * one:.1f}",
        f"{1e3 * batch / FLAGS.batch:.1f}", f"{cell['disk_bytes'] / 1e6:.1f}",
        "-" if cell.get("resident_mb") is None else f"{cell['resident_mb']:.0f}",
    )  # fmt: skip


if __name__ == "__main__":
    app.run(main)
