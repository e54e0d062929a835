"""Time of a training step of the CIFAR-10 recipe in mixed bfloat16 and in float32.

The two alternate, and ratios are taken within a round.

    python benchmarks/dtype_policies.py
"""

import dataclasses
import pathlib

import numpy as np
import tables
from absl import app, flags
from timing import divide, rounds

from tfhash import files
from tfhash.experiments import environment, make_recipe, network
from tfhash.losses import ExponentiatedHashingLoss
from tfhash.models import STAGES

FLAGS = flags.FLAGS
flags.DEFINE_integer("repeats", 15, "Rounds of each cell.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Seed of the weights and the images.")
flags.DEFINE_string("output", "benchmarks/results/dtype_policies.json", "Result file.")

IMAGE_SHAPE = (32, 32, 3)
CLASSES = 10
RECIPE = make_recipe("photographs", IMAGE_SHAPE, 47_500)


def main(_):
    cells = {stage: measure(stage) for stage in STAGES}
    report = {
        "unit": "seconds per step, one for each round",
        "batch_size": RECIPE.batch_size,
        "repeats": FLAGS.repeats,
        "seed": FLAGS.seed,
        "cells": cells,
        **environment.describe(),
    }
    files.write_json(pathlib.Path(FLAGS.output), report)
    print(tables.header(tables.DTYPE_COLUMNS), end="")
    for stage, cell in cells.items():
        print(tables.dtypes(stage, cell), end="")


def measure(stage):
    rng = np.random.default_rng(FLAGS.seed)
    images = rng.integers(0, 256, (RECIPE.batch_size, *IMAGE_SHAPE), "uint8")
    labels = rng.integers(0, CLASSES, RECIPE.batch_size)
    models = {policy: build(policy, stage) for policy in ("float32", "mixed_bfloat16")}
    steps = {
        policy: lambda model=model: model.train_on_batch(images, labels)
        for policy, model in models.items()
    }
    for step in steps.values():  # traces and compiles before timing
        step()
        step()
    seconds = rounds(steps, FLAGS.repeats)
    return {**seconds, "times": divide(seconds["mixed_bfloat16"], seconds["float32"])}


def build(policy, stage):
    recipe = dataclasses.replace(RECIPE, dtype_policy=policy)
    model = network.build_model(
        recipe, IMAGE_SHAPE, CLASSES, 12, ExponentiatedHashingLoss(), FLAGS.seed
    )
    model.begin_stage(stage)
    return model


if __name__ == "__main__":
    app.run(main)
