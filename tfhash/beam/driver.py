"""A process that runs a pipeline on workers of this machine, and ends when one of them dies.

`tfhash.beam.local` starts it: Beam itself waits forever for a worker that was killed.
"""

import json
import os
import signal
import sys
import threading

from tfhash.beam.directory import Directory
from tfhash.beam.extra import apache_beam as beam
from tfhash.beam.pipeline import Job, build
from tfhash.index.shards import Manifest

# Exit status if a worker died.
WORKER_DIED = 75

# Beam's thread that waits for a worker, and raises if it ends before its work does.
_WAITING_THREAD = "run_worker"


def main():
    """Reads a task from standard input, a line of JSON, and runs it."""
    task = json.loads(sys.stdin.readline())
    threading.excepthook = _end_with_a_worker
    threading.Thread(target=_end_with_parent, daemon=True).start()
    directory = Directory(task["directory"], Manifest.from_json(task["manifest"], "the task"))
    flags = [
        "--direct_running_mode=multi_processing",
        f"--direct_num_workers={task['workers']}",
        # Otherwise Beam first looks for Prism, a program that it would download.
        "--allow_unsafe_triggers",
        "--default_sdk_harness_log_level=WARNING",
        *task["options"],
    ]
    options = beam.options.pipeline_options.PipelineOptions(flags)
    with beam.Pipeline("DirectRunner", options) as pipeline:
        build(pipeline, Job(directory, task["batch_size"]), task["pending"])


def _end_with_a_worker(failed):
    sys.__excepthook__(failed.exc_type, failed.exc_value, failed.exc_traceback)
    if failed.thread is not None and failed.thread.name == _WAITING_THREAD:
        sys.stderr.flush()
        os._exit(WORKER_DIED)


def _end_with_parent():
    """Kills this process and its workers when the one that started it is gone."""
    sys.stdin.read()
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
