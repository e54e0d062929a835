"""Nothing that was saved is lost, and nothing wrong is found, when processes are killed."""

import json
import pathlib
import subprocess
import sys

SOAK = pathlib.Path(__file__).parents[1] / "benchmarks" / "index_soak.py"


def test_threads_and_processes_share_an_index_while_some_are_killed():
    command = [sys.executable, str(SOAK), "--seconds=10", "--seconds_of_life=2"]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert json.loads(ran.stdout)["kills"] >= 1
