"""Trains on two replicas and on one device, in a separate process; prints the results as JSON."""

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from tfhash import losses
from tfhash.callbacks import TwoStageTraining
from tfhash.models import HashingModel

CLASSES, BITS = 32, 12


def data():
    # In a batch of 64 each class has two items, one on each replica: none has a similar pair alone.
    rng = np.random.default_rng(0)
    labels = np.arange(128) % CLASSES
    images = rng.integers(0, 256, (CLASSES, 8, 8, 1))[labels] + rng.normal(0, 20, (128, 8, 8, 1))
    return images.clip(0, 255).astype("uint8"), labels


def make_model(loss=None):
    keras.utils.set_random_seed(0)
    # Without batch normalization, whose statistics are those of a replica.
    dense = keras.layers.Dense(24, "tanh", kernel_regularizer=keras.regularizers.L2(1e-3))
    backbone = keras.Sequential([keras.layers.Flatten(), dense])
    model = HashingModel(backbone, BITS, CLASSES, head_lr_multiplier=1.0)
    model.compile(keras.optimizers.SGD(0.1), hashing_loss=loss)
    return model


def results_of(model, **arguments):
    images, labels = data()
    history = model.fit(
        images, labels, batch_size=64, shuffle=False, verbose=0, **arguments
    ).history
    return {
        "losses": history["loss"],
        "kernel": keras.ops.convert_to_numpy(model.hashing.kernel).tolist(),
        "statistics": keras.ops.convert_to_numpy(
            model.hashing.standardization.moving_variance
        ).tolist(),
    }


def main():
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    every_loss = {
        "hashnet": losses.HashNetLoss,  # whose weights are counts of the whole batch
        "dch": losses.DCHLoss,
        "dpsh": losses.DPSHLoss,
        "dtsh": losses.DTSHLoss,  # whose gradient is its own
        "csq": lambda: losses.CSQLoss(CLASSES, BITS),
    }
    # One for all: two strategies in a process would share the keys of their collective ops.
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    results = {}
    for name, make_loss in every_loss.items():
        with strategy.scope():
            mirrored = make_model(make_loss())
        results[name] = [results_of(m, epochs=2) for m in (mirrored, make_model(make_loss()))]
    with strategy.scope():
        mirrored = make_model()
    results["stages"] = [
        results_of(m, epochs=4, callbacks=[TwoStageTraining(2)]) for m in (mirrored, make_model())
    ]
    # Codes of a model in a scope, and of a batch that no strategy divides.
    images, _ = data()
    results["codes"] = [
        m.encode(images[:37]).tolist() for m in (mirrored, mirrored.uncompiled_copy())
    ]
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
