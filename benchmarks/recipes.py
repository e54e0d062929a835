"""Compares recipes on folders of small color images, and saves each training at once.

    python benchmarks/recipes.py                      # all cells, in the order of ARMS
    python benchmarks/recipes.py --arms=pretrained    # those whose names contain the word

Run it again to continue: cells that are saved are skipped. Several processes with different `--arms`
can share a `--scratch`. `--collect` writes what is saved to `benchmarks/results/recipes.json`.

The sets are folders of 64x64 PNG files with `train`, `val` and `test` subfolders, made from CIFAR-10
(../shared/datasets) and scikit-learn's digits. Recipes are chosen by the validation images among each
other. Test images never choose; among each other they give the figure `test_map`.

The pre-trained weights are those of a convnet that this script trains on CIFAR-10 images outside the
sets, at 32 pixels, by the preset `simple` for `WEIGHTS_EPOCHS` epochs.
"""

import dataclasses
import functools
import os
import pathlib
import tempfile

import cells
import keras
import recipe_sets
import tensorflow as tf
from absl import app, flags
from recipe_arms import ARMS

from tfhash import data, files, metrics
from tfhash.data.augmentation import LARGER
from tfhash.experiments import environment, make_recipe, network
from tfhash.experiments.datasets import spread
from tfhash.experiments.fitting import fit
from tfhash.experiments.progress import Progress
from tfhash.experiments.training import ADAPTED_ITEMS

FLAGS = flags.FLAGS

BITS = 32

# Of the weights to start from.
WEIGHTS_EPOCHS, WEIGHTS_WIDTH = 2, 16


def main(_):
    scratch = pathlib.Path(FLAGS.scratch)
    if FLAGS.collect:
        collect(scratch)
        return
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    # The same figures in a training that was killed and begun again.
    tf.config.experimental.enable_op_determinism()
    recipe_sets.write(scratch, FLAGS.data_dir)
    for name, seed in cells.left_to_train(scratch, ARMS):
        cell = {"arm": name, "seed": seed, **train(ARMS[name], seed, scratch)}
        cells.save(scratch, cell)
        print({key: cell[key] for key in ("arm", "seed", "val_map", "cpu_seconds")}, flush=True)
        keras.backend.clear_session()


def collect(scratch):
    report = {
        "settings": {"bits": BITS, "sets": recipe_sets.describe()},
        "unit": "mAP of images that training does not see, among each other: val_map of those that "
        "choose, test_map of those that report. Images trained on, and CPU seconds on a loaded machine",
        "cells": cells.by_arm(scratch, ARMS),
        **environment.describe(),
    }
    files.write_json(pathlib.Path(FLAGS.output), report)
    left = [name for name in ARMS if name not in report["cells"]]
    trainings = sum(map(len, report["cells"].values()))
    print(f"{trainings} trainings of {len(report['cells'])} arms; without one: {left or 'none'}")


def train(arm, seed, scratch):
    """Trains one arm; its recipe and its figures."""
    shape = (arm.side, arm.side, 3)
    splits = load(scratch / arm.set, arm.side)
    given = dict(arm.given)
    if arm.preset == "pretrained":
        given |= {"backbone": "convnet", "width": WEIGHTS_WIDTH, "weights": weights(scratch)}
    recipe = make_recipe(
        arm.preset,
        shape,
        len(splits.train),
        are_larger=splits.train.is_larger_than([LARGER * side for side in shape[:2]]),
        **given,
    )
    started = sum(os.times()[:2])
    model, logs = fitted(recipe, splits, seed, scratch)
    figures = {
        f"{name}_map": metrics.mean_average_precision(
            metrics.leave_one_out_histograms(model.encode(split.batches()), split.labels, BITS)
        )
        for name, split in (("val", splits.validation), ("test", splits.queries))
    }
    chosen = dataclasses.asdict(recipe)
    chosen["weights"] = pathlib.Path(recipe.weights).name
    items, steps = len(splits.train), splits.train.steps_per_epoch(recipe.batch_size)
    return {
        **figures,
        "set": arm.set,
        "side": arm.side,
        "preset": arm.preset,
        "train_items": items,
        "images": min(recipe.batch_size, items) * steps * recipe.epochs(),
        "last_epoch": logs,
        "recipe": chosen,
        "cpu_seconds": round(sum(os.times()[:2]) - started),
    }


@functools.cache
def load(folder, side):
    return data.load(str(folder), image_size=side)


def fitted(recipe, splits, seed, scratch):
    """A trained model, and the logs of the last epoch."""
    model = network.build_model(recipe, splits.image_shape, len(splits.classes), BITS, None, seed)
    if not recipe.is_pretrained():
        model.adapt(spread(splits.train, ADAPTED_ITEMS).batches())
    train = splits.train
    with tempfile.TemporaryDirectory(dir=scratch) as backup:
        backup = pathlib.Path(backup)
        stages = fit(model, recipe, train, train.take(0), seed, backup, Progress(verbose=0))
    return model, stages.epoch_logs[-1]


def weights(scratch):
    """Path of the weights to start from, which are trained if they do not exist."""
    path = scratch / "convnet.weights.h5"
    if not path.exists():
        splits = data.load(str(scratch / "weights"), image_size=32)
        recipe = make_recipe(
            "simple",
            (32, 32, 3),
            len(splits.train),
            flip=True,
            width=WEIGHTS_WIDTH,
            pretrain_epochs=WEIGHTS_EPOCHS - 1,
            finetune_epochs=1,
        )
        model, logs = fitted(recipe, splits, 0, scratch)
        print("weights", logs, flush=True)
        with files.atomic_write(path) as temporary:
            model.uncompiled_copy().backbone.save_weights(temporary)
    return str(path.resolve())


if __name__ == "__main__":
    # Not on import: tests import several benchmarks, whose flags have the same names.
    cells.define_flags("recipes")
    app.run(main)
