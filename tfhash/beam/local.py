"""Runs a pipeline on workers of this machine, again when one of them was killed."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time

from tfhash.beam.driver import WORKER_DIED
from tfhash.experiments.progress import SECONDS_BETWEEN_LINES

# Deaths in a row after which a run is given up, where no shard was finished between them.
MOST_DEATHS = 3

_SECONDS_BETWEEN_LOOKS = 0.2

# The last line of a traceback, and what Beam appends to it.
_ERROR = re.compile(r"[\w.]*(Error|Exception): ")
_STEP = re.compile(r"\s*\[while running '.*'\]$")


def run(directory, pending, workers, batch_size, options, log, progress):
    """Makes the shards of a directory.

    A shard that a killed worker was making is made again. What the workers and Beam write goes to a log.

    Args:
        directory: `tfhash.beam.directory.Directory`.
        pending: Function that returns the numbers of the shards that are to be made.
        workers: Processes that encode.
        batch_size: Images that go through the model at a time.
        options: Further options of Beam, a list of strings.
        log: Path of the log.
        progress: `Progress`.

    Raises:
        OSError: If the pipeline fails, or workers die again and again. The message names the log.
    """
    deaths, left = 0, pending()
    while left:
        task = {
            "directory": directory.path,
            "manifest": directory.manifest.to_json(),
            "batch_size": batch_size,
            "workers": workers,
            "options": options,
            "pending": left,
        }
        start = os.path.getsize(log) if os.path.exists(log) else 0
        status = _run_once(task, log, _reporting(directory, progress))
        before, left = left, pending()
        if status not in (0, WORKER_DIED) and status > 0:
            raise OSError(f"encoding has failed: {error_in(log, start)}. See {log}")
        deaths = 0 if len(left) < len(before) else deaths + 1
        if left and deaths >= MOST_DEATHS:
            raise OSError(
                f"workers have died {deaths} times without finishing a shard, as they do when there "
                f"is too little memory. Give fewer `workers` or a smaller `batch_size`. See {log}"
            )
        if left:
            progress.say(
                f"a worker died; starting again with the {len(left):,} shards that are left"
            )


def _run_once(task, log, report):
    """Runs a task in a process of its own, and returns its exit status, negative for a signal."""
    with open(log, "ab") as file:
        # Of a group of its own, so that its workers can be ended with it.
        process = subprocess.Popen(
            [sys.executable, "-m", "tfhash.beam.driver"],
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    pipe = process.stdin
    assert pipe is not None
    try:
        with contextlib.suppress(BrokenPipeError):
            pipe.write(json.dumps(task).encode() + b"\n")
            pipe.flush()
        # It ends when this pipe does, so it must stay open until then.
        while process.poll() is None:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            report()
        return process.returncode
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        with contextlib.suppress(OSError):
            pipe.close()


def _reporting(directory, progress):
    """A function that says now and then how many shards there are."""
    said = time.perf_counter()

    def report():
        nonlocal said
        if time.perf_counter() - said > SECONDS_BETWEEN_LINES:
            said = time.perf_counter()
            done, total = directory.count_reports(), directory.manifest.shards
            progress.say(f"encoded {done:,} of {total:,} shards")

    return report


def error_in(log, start=0):
    """The last error in a log, or its last line.

    Args:
        log: Path of the log.
        start: Where to begin, in bytes.

    Returns:
        A line, without the step of the pipeline that raised the error.
    """
    with open(log, encoding="utf-8", errors="replace") as file:
        file.seek(start)
        lines = [line.strip() for line in file if line.strip()]
    errors = [line for line in lines if _ERROR.match(line)]
    found = (errors or lines or ["it wrote nothing"])[-1]
    return _STEP.sub("", found)[:1000]
