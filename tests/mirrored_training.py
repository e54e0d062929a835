"""Trains on two replicas and on one device, in a separate process; prints the results as JSON."""

import json
import sys
import tempfile

import keras
import numpy as np
import tensorflow as tf

from tfhash import losses
from tfhash.callbacks import TwoStageTraining
from tfhash.data import ArrayBatches
from tfhash.export import export_saved_model
from tfhash.models import HashingModel, build_backbone, fingerprint
from tfhash.optimizers import ConvMuon

CLASSES, BITS = 32, 12


def data():
    # In a batch of 64 each class has two items, one on each replica: none has a similar pair alone.
    rng = np.random.default_rng(0)
    labels = np.arange(128) % CLASSES
    images = rng.integers(0, 256, (CLASSES, 8, 8, 1))[labels] + rng.normal(0, 20, (128, 8, 8, 1))
    return images.clip(0, 255).astype("uint8"), labels


def make_model(optimizer="sgd"):
    keras.utils.set_random_seed(0)
    penalty = keras.regularizers.L2(1e-3)
    layers = [
        keras.layers.Flatten(),
        keras.layers.Dense(24, use_bias=False, kernel_regularizer=penalty),
        keras.layers.BatchNormalization(),
        keras.layers.Activation("tanh"),
    ]
    if optimizer == "conv_muon":
        layers.insert(0, keras.layers.Conv2D(4, 3, activation="relu"))
    model = HashingModel(keras.Sequential(layers), BITS, CLASSES, head_lr_multiplier=1.0)
    optimizers = {"sgd": keras.optimizers.SGD(0.1), "conv_muon": ConvMuon(1e-2, weight_decay=0.1)}
    model.compile(optimizers[optimizer])
    return model


def results_of(model, **arguments):
    history = model.fit(shuffle=False, verbose=0, **arguments).history
    return {
        "losses": history["loss"],
        "kernel": keras.ops.convert_to_numpy(model.hashing.kernel).tolist(),
        "statistics": [
            keras.ops.convert_to_numpy(layer.moving_variance).tolist()
            for layer in (model.hashing.standardization, model.backbone.layers[-2])
        ],
    }


def on_arrays():
    images, labels = data()
    return {"x": images, "y": labels, "batch_size": 64}


def on_batches_in_both_stages():
    batches = ArrayBatches(*data(), 64, seed=0)
    return {
        "x": batches,
        "steps_per_epoch": batches.steps_per_epoch,
        "epochs": 4,
        "callbacks": [TwoStageTraining(2)],
    }


def value_and_gradient(loss, codes, labels):
    codes = tf.constant(codes)
    with tf.GradientTape() as tape:
        tape.watch(codes)
        value = loss(labels, codes)
    return value, tape.gradient(value, codes)


def mirrored_value_and_gradient(strategy, loss, codes, labels):
    halves = np.split(codes, 2), np.split(labels, 2)
    parts = [
        strategy.experimental_distribute_values_from_function(
            lambda context, of_half=of_half: tf.constant(of_half[context.replica_id_in_sync_group])
        )
        for of_half in halves
    ]
    found = strategy.run(lambda *batch: value_and_gradient(loss, *batch), parts)
    values, gradients = map(strategy.experimental_local_results, found)
    # Keras gives each replica its share of the mean.
    return np.sum(values), np.concatenate(gradients)


def compared_losses(strategy):
    rng = np.random.default_rng(0)
    codes = np.tanh(rng.normal(size=(2 * CLASSES, BITS))).astype("float32")
    labels = np.arange(2 * CLASSES) % CLASSES  # one item of each class on each replica
    compared = {
        "exponentiated": losses.ExponentiatedHashingLoss(),
        "hashnet": losses.HashNetLoss(),  # its weights count the whole batch
        "dch": losses.DCHLoss(),
        "dpsh": losses.DPSHLoss(),
        "dtsh": losses.DTSHLoss(),  # has a custom gradient
        "csq": losses.CSQLoss(CLASSES, BITS),
    }
    results = {}
    for name, loss in compared.items():
        found = (
            mirrored_value_and_gradient(strategy, loss, codes, labels),
            value_and_gradient(loss, codes, labels),
        )
        results[name] = [(float(value), np.asarray(slope).tolist()) for value, slope in found]
    halves = zip(np.split(labels, 2), np.split(codes, 2))
    naive = np.mean([compared["exponentiated"](*half) for half in halves])
    return {"losses": results, "naive": float(naive)}


def codes_with_other_statistics_on_each_replica(strategy):
    with strategy.scope():
        keras.utils.set_random_seed(0)
        model = HashingModel(build_backbone("mlp", (8, 8, 1), 4), BITS, CLASSES)
    images, _ = data()
    model.build(images.shape)
    norm = next(n for n in model.backbone.layers if isinstance(n, keras.layers.BatchNormalization))

    def shift():
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        norm.moving_mean.assign(norm.moving_mean + 0.5 * tf.cast(replica, "float32"))

    strategy.run(tf.function(shift))
    with tempfile.TemporaryDirectory() as directory:
        served = tf.saved_model.load(export_saved_model(model, directory))
        exported = served.signatures["encode"](images=tf.constant(images))["codes"]
    return {
        "shift": [
            float(np.mean(v)) for v in strategy.experimental_local_results(norm.moving_mean.value)
        ],
        "codes": [
            exported.numpy().tolist(),
            model.encode(images).tolist(),
            model.uncompiled_copy().encode(images).tolist(),
        ],
    }


def refusal(strategy):
    with strategy.scope():
        model = HashingModel(build_backbone("mlp", (8, 8, 1), 4), BITS, CLASSES)
        try:
            model.compile("adam")
        except ValueError as error:
            return str(error)
    return None


def main():
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    results = {
        "refused": {
            "MultiWorkerMirroredStrategy": refusal(tf.distribute.MultiWorkerMirroredStrategy()),
            "CentralStorageStrategy": refusal(
                tf.distribute.experimental.CentralStorageStrategy(["CPU:0", "CPU:1"])
            ),
            "OneDeviceStrategy": refusal(tf.distribute.OneDeviceStrategy("CPU:0")),
        }
    }
    # One for all: two strategies in a process would share the keys of their collective ops.
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    results |= compared_losses(strategy)
    trainings = {
        "conv_muon": (lambda: make_model("conv_muon"), on_arrays),
        "stages": (make_model, on_batches_in_both_stages),
    }
    for name, (make, arguments) in trainings.items():
        with strategy.scope():
            mirrored = make()
        results[name] = [results_of(m, **arguments()) for m in (mirrored, make())]
    # Codes of a model in a scope, and of a batch that no strategy divides.
    images, _ = data()
    results["codes"] = [
        m.encode(images[:37]).tolist() for m in (mirrored, mirrored.uncompiled_copy())
    ]
    results["fingerprints"] = [fingerprint(m) for m in (mirrored, mirrored.uncompiled_copy())]
    results["other statistics"] = codes_with_other_statistics_on_each_replica(strategy)
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
