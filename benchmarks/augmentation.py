"""Images per second of the augmentation of training images, and of Keras's layers for the same.

The layers run as their documentation shows, in the graph of a `tf.data` pipeline. All alternate, and
ratios are taken within a round.

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
    shift = layers.RandomTranslation(1 / 16, 1 / 16, fill_mode="reflect", seed=0)
    return {
        "shift and flip": (Augmentation(max_shift=side // 16, flip=True), [shift, flip]),
        "crop and flip": (
            Augmentation(crop=0.5, flip=True),
            # Keras has no random resized crop; a zoom of each side by itself comes near.
            [layers.RandomZoom((-0.3, 0.0), (-0.3, 0.0), fill_mode="reflect", seed=0), shift, flip],
        ),
        "RandAugment": (None, [layers.RandAugment(seed=0)]),
    }


def measure(side, ours, layers):
    rng = np.random.default_rng(0)
    larger = ours.shape_before((side, side, 3))[0] if ours else side
    images = rng.integers(0, 256, (FLAGS.batch_size, larger, larger, 3), "uint8")
    plain = tf.constant(images[:, :side, :side])

    def augment(images):
        for layer in layers:
            images = layer(images, training=True)
        return images

    pipeline = tf.data.Dataset.from_tensors(plain).repeat().map(augment)
    pipeline = iter(pipeline)
    calls = {"keras": lambda: next(pipeline)}
    if ours:
        calls["tfhash"] = lambda: ours(images, 0, (side, side))
    for call in calls.values():
        call()
    rates = {
        name: [FLAGS.batch_size / second for second in seconds]
        for name, seconds in rounds(calls, FLAGS.repeats).items()
    }
    if ours:
        rates["times_keras"] = divide(rates["tfhash"], rates["keras"])
    return rates


if __name__ == "__main__":
    app.run(main)
