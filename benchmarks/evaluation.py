"""Time and memory of the full evaluation, compared with the usual evaluator of this field.

The usual evaluator processes one query at a time: a product with all codes, a sort of the distances, a
cumulative sum over the relevant items. Here it runs on as many threads as the compiled histogram. It is
timed on a subset of the queries, because its rate does not depend on their number.

    python benchmarks/evaluation.py
"""

import concurrent.futures
import json
import os
import pathlib
import resource
import subprocess
import sys

import numpy as np
import tables
from absl import app, flags
from timing import divide, rounds

from tfhash import files, metrics
from tfhash.experiments import environment

FLAGS = flags.FLAGS
flags.DEFINE_multi_integer("bits", [12, 48, 64], "Lengths of the codes.")
flags.DEFINE_integer("queries", 10_000, "Queries.")
flags.DEFINE_integer("few_queries", 200, "Queries of the usual evaluator.")
flags.DEFINE_integer("database", 50_000, "Items in the database.")
flags.DEFINE_integer("threads", 2, "Threads.", lower_bound=1)
flags.DEFINE_integer("repeats", 7, "Rounds.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Seed of the codes and labels.")
flags.DEFINE_string("output", "benchmarks/results/evaluation.json", "Result file.")

SETTINGS = ("queries", "few_queries", "database", "threads", "repeats", "seed")


def main(argv):
    if len(argv) > 1:
        print(json.dumps(evaluate(int(argv[1]))))
        return
    report = {
        "settings": {name: FLAGS[name].value for name in SETTINGS},
        "unit": "seconds; MB = 10^6 bytes by which the first evaluation raises peak resident memory",
        **environment.describe(),
        "cells": {},
    }
    print(
        f"{FLAGS.queries:,} queries against {FLAGS.database:,} random codes, 10 classes, "
        f"{FLAGS.threads} threads: median seconds (min to max)\n"
    )
    print(tables.header(tables.EVALUATION_COLUMNS), end="")
    # One BLAS thread per thread of the evaluator.
    environ = os.environ | {"OPENBLAS_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    for bits in FLAGS.bits:
        # In a separate process, to measure the memory of these codes alone.
        same = [f"--{name}={FLAGS[name].value}" for name in SETTINGS]
        command = [sys.executable, __file__, str(bits), *same]
        finished = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True, env=environ
        )
        cell = json.loads(finished.stdout.splitlines()[-1])
        report["cells"][bits] = cell
        print(tables.evaluation(bits, cell), end="", flush=True)
    files.write_json(pathlib.Path(FLAGS.output), report)


def evaluate(bits):
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(FLAGS.threads)
    rng = np.random.default_rng([FLAGS.seed, bits])
    signs = [rng.random((n, bits)) < 0.5 for n in (FLAGS.queries, FLAGS.database)]
    labels = [rng.integers(0, 10, len(side)) for side in signs]
    packed = [np.packbits(side, axis=1, bitorder="little") for side in signs]
    inputs = *packed, *labels, bits

    queries, database = (2 * side.astype("float32") - 1 for side in signs)
    few = queries[: FLAGS.few_queries], database, labels[0][: FLAGS.few_queries], labels[1]
    usual = usual_average_precisions(*few)
    before = peak_mb()
    histograms = metrics.distance_histograms(*inputs)
    metrics.summarize(histograms)
    added_mb = peak_mb() - before
    # The usual evaluator orders ties arbitrarily.
    for ties, sign in (("best", 1), ("worst", -1)):
        bound = np.asarray(metrics.average_precision(histograms, ties=ties))[: len(usual)]
        assert (sign * (bound - usual) >= -1e-9).all(), f"beyond the {ties} order of ties"

    def with_all_metrics():
        histograms = metrics.distance_histograms(*inputs)
        metrics.summarize(histograms)
        metrics.precision_recall_curve(histograms)

    seconds = rounds(
        {
            "histogram": lambda: metrics.distance_histograms(*inputs),
            "all_metrics": with_all_metrics,
            "usual_evaluator": lambda: usual_average_precisions(*few),
        },
        FLAGS.repeats,
    )
    share = FLAGS.few_queries / FLAGS.queries
    seconds["usual_evaluator"] = [s / share for s in seconds["usual_evaluator"]]
    times = divide(seconds["usual_evaluator"], seconds["histogram"])
    return {**seconds, "times": times, "added_mb": added_mb}


def usual_average_precisions(queries, database, query_labels, database_labels):
    bits = database.shape[1]

    def average_precision(query, label):
        distances = 0.5 * (bits - database @ query)
        relevant = (database_labels == label)[np.argsort(distances)]
        hits = np.cumsum(relevant)[relevant]
        return np.mean(hits / (np.flatnonzero(relevant) + 1))

    with concurrent.futures.ThreadPoolExecutor(FLAGS.threads) as pool:
        return np.array(list(pool.map(average_precision, queries, query_labels)))


def peak_mb():
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)


if __name__ == "__main__":
    app.run(main)
