"""Memory that the hashing loss adds to training, by batch size and bits.

Each cell trains the same small network for a few steps in separate processes, once as a classifier and
once with the hashing loss, and compares the peak resident memory.

    python benchmarks/loss_memory.py
"""

import json
import pathlib
import resource
import subprocess
import sys

import tables
from absl import app, flags

from tfhash import files
from tfhash.experiments import environment

FLAGS = flags.FLAGS
flags.DEFINE_multi_integer("batch_sizes", [256, 1024, 2048], "Images in a batch.")
flags.DEFINE_multi_integer("bits", [12, 64], "Lengths of the codes.")
flags.DEFINE_integer("steps", 5, "Training steps of a cell.")
flags.DEFINE_string("output", "benchmarks/results/loss_memory.json", "Result file.")


def main(argv):
    if len(argv) > 1:
        print(json.dumps(_train(*argv[1:])))
        return
    cells = []
    print(tables.header(tables.MEMORY_COLUMNS), end="")
    for batch_size in FLAGS.batch_sizes:
        for bits in FLAGS.bits:
            peaks = {stage: _measure(stage, batch_size, bits) for stage in ("pretrain", "finetune")}
            cell = {
                "batch_size": batch_size,
                "bits": bits,
                "classifier_peak_mb": peaks["pretrain"],
                "hashing_peak_mb": peaks["finetune"],
                "added_mb": peaks["finetune"] - peaks["pretrain"],
            }
            cells.append(cell)
            print(tables.memory(cell), end="", flush=True)
    report = {"unit": "MB = 10^6 bytes, peak resident memory", "cells": cells}
    files.write_json(pathlib.Path(FLAGS.output), {**report, **environment.describe()})


def _measure(stage, batch_size, bits):
    arguments = [stage, str(batch_size), str(bits), f"--steps={FLAGS.steps}"]
    command = [sys.executable, __file__, *arguments]
    finished = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(finished.stdout.splitlines()[-1])


def _train(stage, batch_size, bits):
    import numpy as np

    from tfhash.models import HashingModel, build_backbone

    images = np.zeros((int(batch_size) * FLAGS.steps, 8, 8, 1), "uint8")
    labels = np.arange(len(images)) % 10
    model = HashingModel(build_backbone("mlp", (8, 8, 1)), int(bits), 10)
    model.build((None, 8, 8, 1))
    model.compile("adam")
    model.begin_stage(stage)
    model.fit(images, labels, batch_size=int(batch_size), verbose=0)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)


if __name__ == "__main__":
    app.run(main)
