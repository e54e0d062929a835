"""Time and memory of the full evaluation: histograms of all pairs, then every metric.

python benchmarks/evaluation.py
"""

import json
import pathlib
import resource
import statistics
import subprocess
import sys
import time

from absl import app, flags

from tfhash import files
from tfhash.cli import environment

FLAGS = flags.FLAGS
flags.DEFINE_integer("queries", 10_000, "Queries.")
flags.DEFINE_integer("database", 50_000, "Items in the database.")
flags.DEFINE_multi_integer("bits", [12, 64], "Lengths of the codes.")
flags.DEFINE_integer("repeats", 3, "Times each evaluation is repeated.")
flags.DEFINE_integer("seed", 0, "Seed of the codes and labels.")
flags.DEFINE_string("output", "benchmarks/results/evaluation.json", "Where results are kept.")


def main(argv):
    if len(argv) > 1:
        print(json.dumps(_evaluate(int(argv[1]))))
        return
    cells = []
    print(f"{FLAGS.queries:,} queries against {FLAGS.database:,} random codes, 10 classes")
    print(f"{'bits':>5}{'seconds (median)':>18}{'least':>8}{'most':>8}{'added MB':>10}")
    for bits in FLAGS.bits:
        names = ("queries", "database", "repeats", "seed")
        same = [f"--{name}={FLAGS[name].value}" for name in names]
        command = [sys.executable, __file__, str(bits), *same]
        finished = subprocess.run(command, check=True, capture_output=True, text=True)
        cell = json.loads(finished.stdout.splitlines()[-1])
        cells.append(cell)
        seconds = cell["seconds"]
        print(
            f"{bits:5}{statistics.median(seconds):18.2f}{min(seconds):8.2f}{max(seconds):8.2f}"
            f"{cell['added_mb']:10}",
            flush=True,
        )
    report = {
        "queries": FLAGS.queries,
        "database": FLAGS.database,
        "seed": FLAGS.seed,
        "unit": "seconds; MB = 10^6 bytes of peak resident memory above that before the first",
        "cells": cells,
    }
    files.write_json(pathlib.Path(FLAGS.output), {**report, **environment.describe()})


def _evaluate(bits):
    import numpy as np

    from tfhash import codes, metrics

    rng = np.random.default_rng(FLAGS.seed)
    sides = []
    for count in (FLAGS.queries, FLAGS.database):
        signs = rng.random((count, bits)) < 0.5
        packed = np.packbits(signs, axis=1, bitorder="little")
        assert packed.shape[1] == codes.packed_length(bits)
        sides.append((packed, rng.integers(0, 10, count)))
    (queries, query_labels), (database, labels) = sides
    metrics.distance_histograms(queries[:1], database[:1], query_labels[:1], labels[:1], bits)
    before = _peak_mb()
    seconds = []
    for _ in range(FLAGS.repeats):
        started = time.perf_counter()
        histograms = metrics.distance_histograms(queries, database, query_labels, labels, bits)
        metrics.summarize(histograms)
        metrics.precision_recall_curve(histograms)
        seconds.append(round(time.perf_counter() - started, 3))
    return {"bits": bits, "seconds": seconds, "added_mb": _peak_mb() - before}


def _peak_mb():
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)


if __name__ == "__main__":
    app.run(main)
