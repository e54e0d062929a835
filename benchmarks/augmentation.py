"""Images per second of the augmentation of training images, and of Keras's layers for the same.

The layers run as their documentation shows, in the graph of a `tf.data` pipeline, which processes one
batch at a time here. All alternate, and ratios are taken within a round.

    python benchmarks/augmentation.py
"""

import pathlib

import keras
import numpy as np
import tables
import tensorflow as tf
from absl import app, flags
from timing import divide, rounds

from tfhash import files
from tfhash.data import Augmentation
from tfhash.experiments import environment

FLAGS = flags.FLAGS
flags.DEFINE_multi_integer("sides", [32, 224], "Sides of the images.")
flags.DEFINE_integer("batch_size", 64, "Images in a batch.")
flags.DEFINE_integer("repeats", 7, "Rounds.", lower_bound=1)
flags.DEFINE_string("output", "benchmarks/results/augmentation.json", "Result file.")


def main(_):
    cells = {}
    print(tables.header(tables.AUGMENTATION_COLUMNS), end="")
    for side in FLAGS.sides:
        for name, (ours, layers) in pairs(side).items():
            cell = measure(side, ours, layers)
            cells[f"{name}, {side} pixels"] = cell
            print(tables.augmentation(f"{name}, {side} pixels", cell), end="", flush=True)
    settings = {name: FLAGS[name].value for name in ("batch_size", "repeats")}
    report = {"settings": settings, "unit": "images per second", "cells": cells}
    files.write_json(pathlib.Path(FLAGS.output), {**report, **environment.describe()})


def pairs(side):
    """What is compared: `(Augmentation, Keras layers)` by name."""
    layers = keras.layers
    flip = layers.RandomFlip("horizontal", seed=0)
    shift = layers.RandomTranslation(
        1 / 16, 1 / 16, fill_mode="reflect", interpolation="nearest", seed=0
    )
    erase = layers.RandomErasing(1.0, scale=(1 / 16, 1 / 16), fill_value=128, seed=0)
    return {
        "flip": (Augmentation(flip=True), [flip]),
        "shift": (Augmentation(max_shift=side // 16), [shift]),
        "cutout": (Augmentation(cutout=side // 4), [erase]),
        "all three": (
            Augmentation(max_shift=side // 16, flip=True, cutout=side // 4),
            [shift, flip, erase],
        ),
        "augment=RandAugment": (Augmentation(layers="RandAugment"), [layers.RandAugment(seed=0)]),
    }


def measure(side, ours, layers):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (FLAGS.batch_size, side, side, 3), "uint8")

    def augment(images):
        for layer in layers:
            images = layer(images, training=True)
        return images

    pipeline = iter(tf.data.Dataset.from_tensors(images).repeat().map(augment))
    calls = {"tfhash": lambda: ours(images, 0), "keras": lambda: next(pipeline)}
    for call in calls.values():
        call()
    rates = {
        name: [FLAGS.batch_size / second for second in seconds]
        for name, seconds in rounds(calls, FLAGS.repeats).items()
    }
    return {**rates, "times_keras": divide(rates["tfhash"], rates["keras"])}


if __name__ == "__main__":
    app.run(main)
