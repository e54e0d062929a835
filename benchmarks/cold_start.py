"""How long commands take from a cold start, each in a new process.

The commands take turns, so that noise of the machine affects all of them. The first round is not counted: it
fills the page cache.

    python benchmarks/cold_start.py
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import tables
from absl import app, flags

from tfhash import files
from tfhash.experiments import environment
from tfhash.index import HammingIndex

FLAGS = flags.FLAGS
flags.DEFINE_integer("items", 1_000_000, "Codes in the index that is searched.", lower_bound=1)
flags.DEFINE_integer("bits", 64, "Length of the codes.", lower_bound=1)
flags.DEFINE_integer("queries", 10, "Codes that are searched for.", lower_bound=1)
flags.DEFINE_integer("repeats", 20, "Rounds.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Seed of the codes.")
flags.DEFINE_string("output", "benchmarks/results/cold_start.json", "Result file.")

SETTINGS = ("items", "bits", "queries", "repeats", "seed")
COMMANDS = {
    "tfhash --help": ["--help"],
    "tfhash train --help": ["train", "--help"],
    "search of codes": ["search", "--index=codes.index", "--codes=queries.npz", "-k=10"],
}


def main(_):
    tfhash = pathlib.Path(sys.executable).with_name("tfhash")
    # As for users: some environments forbid Python to keep what it compiled.
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    seconds = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        write_codes(pathlib.Path(folder))
        for number in range(FLAGS.repeats + 1):
            for name, arguments in COMMANDS.items():
                started = time.perf_counter()
                subprocess.run(
                    [tfhash, *arguments], cwd=folder, env=environ, check=True, capture_output=True
                )
                if number:  # the first round fills the page cache
                    seconds[name].append(time.perf_counter() - started)
    report = {
        "unit": "seconds of each round",
        "settings": {name: FLAGS[name].value for name in SETTINGS},
        "cells": {name: {"seconds": values} for name, values in seconds.items()},
        **environment.describe(),
    }
    print(tables.header(tables.COLD_START_COLUMNS), end="")
    for cell in report["cells"].items():
        print(tables.cold_start(*cell), end="")
    files.write_json(pathlib.Path(FLAGS.output), report)


def write_codes(folder):
    rng = np.random.default_rng(FLAGS.seed)
    codes = np.packbits(rng.integers(0, 2, (FLAGS.items, FLAGS.bits), "uint8"), axis=1)
    index = HammingIndex(FLAGS.bits, model="random")
    index.add(codes)
    index.save(folder / "codes.index")
    np.savez(folder / "queries.npz", codes=codes[: FLAGS.queries], bits=FLAGS.bits, model="random")


if __name__ == "__main__":
    app.run(main)
