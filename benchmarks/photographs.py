"""Measures the choices of the recipe `photographs` on CIFAR-10, one at a time.

    python benchmarks/photographs.py --data_dir=../shared/datasets               # all arms
    python benchmarks/photographs.py --data_dir=... --arms=smoothing --seeds=0 --seeds=1

Each arm trains the recipe with a narrow network in few epochs, with one choice changed. A tenth of the
training images is held out: `val_map` is of these among each other, and it chooses. Test images among
each other give `test_map`, which never chooses. Run it again to continue: trainings that are saved are
skipped. Several processes can share a `--scratch`: each takes the next training that nobody has begun.
`--collect` writes what is saved to `benchmarks/results/photographs.json`.
"""

import dataclasses
import os
import pathlib
import tempfile

import cells
import keras
import tensorflow as tf
from absl import app, flags

from tfhash import data, files, metrics
from tfhash.experiments import environment, make_recipe, network
from tfhash.experiments.baselines import accuracy_of
from tfhash.experiments.datasets import spread
from tfhash.experiments.fitting import fit
from tfhash.experiments.progress import Progress
from tfhash.experiments.training import ADAPTED_ITEMS

FLAGS = flags.FLAGS

BITS, HELD_OUT = 12, 0.1

# Left to train on.
ITEMS = 45_000

# All arms but those that say otherwise.
BASE = {"width": 24, "pretrain_epochs": 5, "finetune_epochs": 3, "unaugmented_epochs": 2}

# What each arm changes, by its name.
ARMS = {
    "the recipe": {},
    "3 + 5 epochs": {"pretrain_epochs": 3, "finetune_epochs": 5},
    "7 + 1 epochs": {"pretrain_epochs": 7, "finetune_epochs": 1, "unaugmented_epochs": 1},
    "augmented to the end": {"unaugmented_epochs": 0},
    "label smoothing 0": {"label_smoothing": 0.0},
    "label smoothing 0.2": {"label_smoothing": 0.2},
    "pre-training rate 0.0015": {"pretrain_learning_rate": 0.0015},
    "pre-training rate 0.006": {"pretrain_learning_rate": 0.006},
    "fine-tuning rate 0.0003": {"finetune_learning_rate": 0.0003},
    "fine-tuning rate 0.0012": {"finetune_learning_rate": 0.0012},
    "weight decay 0.2": {"weight_decay": 0.2},
    "weight decay 1": {"weight_decay": 1.0},
    "batches of 64": {"batch_size": 64},
    "batches of 250": {"batch_size": 250},
    "AdamW": {"optimizer": "adamw"},
    "shifts by 2": {"max_shift": 2},
    "no cutout": {"cutout": 0},
    "warm-up 0.1": {"warmup": 0.1},
    "no mirror image in encoding": {"flip_tta": False},
}


def recipe_of(arm):
    """The recipe of an arm."""
    return make_recipe("photographs", (32, 32, 3), ITEMS, **{**BASE, **ARMS[arm]})


def main(_):
    scratch = pathlib.Path(FLAGS.scratch)
    if FLAGS.collect:
        collect(scratch)
        return
    scratch.mkdir(parents=True, exist_ok=True)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    splits = data.load("cifar10", data_dir=FLAGS.data_dir, validation_fraction=HELD_OUT)
    for arm, seed in cells.left_to_train(scratch, ARMS):
        cell = {"arm": arm, "seed": seed, **train(arm, splits, seed)}
        cells.save(scratch, cell)
        print({key: cell[key] for key in ("arm", "seed", "val_map", "cpu_seconds")}, flush=True)
        keras.backend.clear_session()


def train(arm, splits, seed):
    """Trains an arm; its recipe and its figures."""
    recipe, train = recipe_of(arm), splits.train
    started = sum(os.times()[:2])
    model = network.build_model(recipe, splits.image_shape, len(splits.classes), BITS, None, seed)
    model.adapt(spread(train, ADAPTED_ITEMS).batches())
    with tempfile.TemporaryDirectory() as backup:
        backup = pathlib.Path(backup)
        stages = fit(model, recipe, train, train.take(0), seed, backup, Progress(verbose=0))
        classifier = model.uncompiled_copy()
        classifier.load_weights(stages.pretrained_weights)
    figures = {}
    for name, split in (("val", splits.validation), ("test", splits.queries)):
        codes = model.encode(split.batches())
        histograms = metrics.leave_one_out_histograms(codes, split.labels, BITS)
        figures[f"{name}_map"] = metrics.mean_average_precision(histograms)
    logits = classifier.predict_logits(splits.validation.batches())
    return {
        **figures,
        "val_accuracy_after_pretraining": accuracy_of(logits, splits.validation.labels),
        "recipe": dataclasses.asdict(recipe),
        **environment.describe(),
        "epochs": stages.epoch_logs,
        "cpu_seconds": round(sum(os.times()[:2]) - started),
    }


def collect(scratch):
    done = cells.finished(scratch)
    stale = [
        cell["arm"]
        for cell in done.values()
        if cell["arm"] not in ARMS or cell["recipe"] != dataclasses.asdict(recipe_of(cell["arm"]))
    ]
    if stale:
        raise ValueError(
            f"{scratch / cells.NAME} has trainings by other recipes: {', '.join(stale)}"
        )
    report = {
        "settings": {"bits": BITS, "held_out": HELD_OUT, "base": BASE},
        "unit": "mAP of images that training does not see, among each other: val_map of those that "
        "choose, test_map of test images. CPU seconds, other jobs beside",
        "cells": cells.by_arm(scratch, ARMS),
    }
    files.write_json(pathlib.Path(FLAGS.output), report)
    left = [arm for arm in ARMS if arm not in report["cells"]]
    print(f"{len(done)} trainings; arms without one: {left or 'none'}")


if __name__ == "__main__":
    # Not on import: tests import several benchmarks, whose flags have the same names.
    cells.define_flags("photographs")
    app.run(main)
