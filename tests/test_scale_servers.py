"""The driver of `scale.py` keeps finished cells and names what it could not measure."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import processes
import pytest

SCRIPT = pathlib.Path(processes.__file__).with_name("scale_servers.py")


@pytest.fixture
def measure(tmp_path):
    """Runs the script with flags where ClickHouse is not installed."""
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed")
    (tmp_path / "setpriv").symlink_to(shutil.which("setpriv"))
    environment = {**os.environ, "PATH": str(tmp_path)}
    environment.pop("TFHASH_CLICKHOUSE", None)
    output = tmp_path / "scale.json"

    def run(*flags):
        command = [sys.executable, SCRIPT, f"--output={output}", "--items=500", *flags]
        finished = subprocess.run(command, env=environment, capture_output=True, text=True)
        return finished, json.loads(output.read_text())["cells"] if output.exists() else {}

    return run


def test_finished_cells_are_kept_and_what_is_not_installed_is_named(measure):
    first, cells = measure("--engines=clickhouse,file", "--", "--repeats=1")
    assert first.returncode == 1
    assert "clickhouse, 500 codes: no clickhouse-server" in first.stderr
    assert "| index file 0." in first.stdout
    assert cells.keys() == {"file 500"}
    again, same = measure("--engines=file", "--", "--repeats=1")
    assert (again.returncode, again.stdout) == (0, "file, 500 codes: measured before\n")
    assert same == cells


def test_unknown_engines_are_refused(measure):
    refused, cells = measure("--engines=file,mysql")
    assert "Received: mysql" in refused.stdout + refused.stderr
    assert cells == {}


def test_processor_time_and_memory_are_those_of_a_process_and_all_that_it_started():
    work = (
        "import time; block = bytearray(b'x' * 50_000_000)\nwhile time.process_time() < 0.2: pass\n"
    )
    # One that has ended, and one that lives.
    live = work + "print(1, flush=True); input()"
    script = '"$0" -c "$1"; "$0" -c "$2"; exit 0'
    with subprocess.Popen(
        ["sh", "-c", script, sys.executable, work, live],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as parent:  # fmt: skip
        parent.stdout.readline()
        pid = str(parent.pid)
        assert len(processes.family([pid])) == 2
        before = processes.core_seconds([])
        assert processes.core_seconds([pid]) - before >= 0.38  # counted in hundredths
        assert processes.resident_mb([pid]) > 50
        parent.communicate("\n")
    assert processes.family(["self"]) >= {str(os.getpid())}
