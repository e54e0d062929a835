"""Trains on two replicas and on one device, in a separate process; prints the results as JSON."""

import json
import os
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from tfhash import losses
from tfhash.callbacks import TwoStageTraining
from tfhash.export import export_saved_model
from tfhash.models import HashingModel, build_backbone
from tfhash.optimizers import ConvMuon

CLASSES, BITS = 32, 12


def data():
    # In a batch of 64 each class has two items, one on each replica: none has a similar pair alone.
    rng = np.random.default_rng(0)
    labels = np.arange(128) % CLASSES
    images = rng.integers(0, 256, (CLASSES, 8, 8, 1))[labels] + rng.normal(0, 20, (128, 8, 8, 1))
    return images.clip(0, 255).astype("uint8"), labels


def make_model(loss=None, optimizer="sgd"):
    keras.utils.set_random_seed(0)
    # Without batch normalization, whose statistics are those of a replica.
    penalty = keras.regularizers.L2(1e-3)
    layers = [keras.layers.Flatten(), keras.layers.Dense(24, "tanh", kernel_regularizer=penalty)]
    if optimizer == "conv_muon":
        layers.insert(0, keras.layers.Conv2D(4, 3, activation="relu"))
    model = HashingModel(keras.Sequential(layers), BITS, CLASSES, head_lr_multiplier=1.0)
    optimizers = {"sgd": keras.optimizers.SGD(0.1), "conv_muon": ConvMuon(1e-2, weight_decay=0.1)}
    model.compile(optimizers[optimizer], hashing_loss=loss)
    return model


def results_of(model, items=128, **arguments):
    images, labels = (part[:items] for part in data())
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


def naive_loss(model, items):
    """The mean of what two replicas would compute from the pairs among their own items."""
    images, labels = (part[:items] for part in data())
    codes = model(images, training=True)["codes"]
    loss = losses.ExponentiatedHashingLoss()
    halves = [slice(0, items // 2), slice(items // 2, items)]
    return float(np.mean([loss(labels[half], codes[half]) for half in halves]) + sum(model.losses))


def main():
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    cases = {
        "hashnet": lambda: {"loss": losses.HashNetLoss()},  # its weights count the whole batch
        "dch": lambda: {"loss": losses.DCHLoss()},
        "dpsh": lambda: {"loss": losses.DPSHLoss()},
        "dtsh": lambda: {"loss": losses.DTSHLoss()},  # has a custom gradient
        "csq": lambda: {"loss": losses.CSQLoss(CLASSES, BITS)},
        "conv_muon": lambda: {"optimizer": "conv_muon"},
    }
    # One for all: two strategies in a process would share the keys of their collective ops.
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    results = {}
    for name, arguments in cases.items():
        with strategy.scope():
            mirrored = make_model(**arguments())
        results[name] = [results_of(m, epochs=2) for m in (mirrored, make_model(**arguments()))]
    # 32 classes of 2 items, one item of each class on each replica.
    with strategy.scope():
        mirrored = make_model()
    results["one pair a class"] = {
        "mirrored": results_of(mirrored, 2 * CLASSES)["losses"][0],
        "alone": results_of(make_model(), 2 * CLASSES)["losses"][0],
        "naive": naive_loss(make_model(), 2 * CLASSES),
    }
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
    # Each replica has its own statistics of batch normalization, the backbone's and not the head's.
    with strategy.scope():
        normalized = HashingModel(build_backbone("convnet", (8, 8, 1), 4), BITS, CLASSES)
        normalized.compile("adam")
    normalized.fit(*data(), batch_size=64, verbose=0)
    with tempfile.TemporaryDirectory() as directory:
        served = tf.saved_model.load(export_saved_model(normalized, directory))
        exported = served.signatures["encode"](images=tf.constant(images))["codes"]
    results["codes with statistics of each replica"] = [
        codes.tolist()
        for codes in (
            exported.numpy(),
            normalized.encode(images),
            normalized.uncompiled_copy().encode(images),
        )
    ]
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
