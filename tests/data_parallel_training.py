"""Trains on JAX under `DataParallel` and on one device, in processes of its own; prints JSON.

data_parallel_training.py devices                    two virtual devices of one process
data_parallel_training.py processes PORT INDEX DIR   one of two processes, which share a directory
"""

import json
import pathlib
import sys

if __name__ == "__main__" and sys.argv[1] == "devices":
    sys.modules["tensorflow"] = None  # importing it fails

import keras
import numpy as np
from interruption import Killed, KillIn

from tfhash import files, losses, prediction
from tfhash.callbacks import RetrievalEvaluation, TwoStageTraining
from tfhash.data import ArrayBatches, ProcessShare
from tfhash.models import HashingModel

CLASSES, BITS, EPOCHS = 8, 12, 4


def data():
    rng = np.random.default_rng(0)
    labels = np.arange(64) % CLASSES
    images = rng.integers(0, 256, (CLASSES, 8, 8, 1))[labels] + rng.normal(0, 20, (64, 8, 8, 1))
    return images.clip(0, 255).astype("uint8"), labels


def make_model(loss=None, compiled=True):
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Flatten(),
        # No bias: its gradient before a normalization is rounding errors, which Adam makes steps of.
        keras.layers.Dense(16, use_bias=False, kernel_regularizer=keras.regularizers.L2(1e-3)),
        keras.layers.BatchNormalization(),
    ]
    model = HashingModel(keras.Sequential(layers), BITS, CLASSES)
    if compiled:
        model.compile(keras.optimizers.Adam(1e-3), hashing_loss=loss)
    return model


def train(model, *callbacks, backup_dir=None):
    """Both stages, on this process's share of the batches."""
    images, labels = data()
    evaluation = RetrievalEvaluation((images[:37], labels[:37]), every=2)  # an odd number
    stages = TwoStageTraining(1, backup_dir=backup_dir)
    batches = ArrayBatches(images, labels, 32, seed=0, first_epoch=stages.epochs_done())
    return model.fit(
        ProcessShare(batches),
        epochs=EPOCHS,
        steps_per_epoch=2,
        shuffle=False,
        verbose=0,
        callbacks=[stages, evaluation, *callbacks],
    ).history


def state_of(model, history):
    weights = {
        variable.path: np.asarray(variable.value).tolist()
        for variable in (*model.weights, *model.optimizer.variables)
        if "seed" not in variable.path
    }
    return {"history": history, "weights": list(weights.values())}


def codes_of(model):
    images, _ = data()
    return {
        "codes": model.encode(images[:37]).tolist(),
        "copy": model.uncompiled_copy().encode(images[:37]).tolist(),
    }


def by_centers():
    """One epoch of fine-tuning on arrays in their order, by a loss with centers of the classes."""
    model = make_model(losses.CSQLoss(CLASSES, BITS))
    history = model.fit(*data(), batch_size=32, shuffle=False, verbose=0).history
    return state_of(model, history)


def on_devices():
    results = {}
    two = keras.distribution.DataParallel(devices=keras.distribution.list_devices())
    for distribution in (two, None):
        keras.distribution.set_distribution(distribution)
        model = make_model()
        found = state_of(model, train(model))
        found |= codes_of(model)
        found["logits"] = model.predict_logits(data()[0][:37]).tolist()
        found["devices"] = len(model.hashing.kernel.value.sharding.device_set)
        results.setdefault("stages", []).append(found)
        results.setdefault("centers", []).append(by_centers())
    outside = make_model()
    keras.distribution.set_distribution(two)
    images, labels = data()
    model, batches = make_model(), ArrayBatches(images, labels, 32, seed=0)
    results["refused"] = {
        "last batch": refusal(lambda: model.fit(images[:49], labels[:49], batch_size=32)),
        "dataset": refusal(lambda: model.fit(ArrayBatches(images, labels, 31, seed=0))),
        "validation": refusal(lambda: model.fit(batches, validation_data=(images[:3], labels[:3]))),
        "made before": refusal(lambda: outside.fit(images, labels)),
        "not compiled": refusal(lambda: make_model(compiled=False).fit(batches)),
        "endless": refusal(lambda: model.encode(batches)),
        "no items": refusal(lambda: prediction.predict(model, images[:0])),
    }
    return results


def refusal(fit):
    try:
        fit()
    except ValueError as error:
        return str(error)
    return None


def refused_with_own_shares(model, index):
    """What `fit` says where each process divides its data itself."""
    images, labels = data()
    own = images[index::2], labels[index::2]
    whole = ArrayBatches(images, labels, 32, seed=0)
    fewer = tuple(array[: 32 - 16 * index] for array in own)

    def fit(x, y=None, **arguments):
        return refusal(lambda: model.fit(x, y, batch_size=16, verbose=0, **arguments))

    return {
        "forgotten share": fit(whole, steps_per_epoch=2, shuffle=False),
        "same arrays": fit(images, labels),
        "same arrays of validation": fit(*own, validation_data=(images, labels)),
        "items of validation": fit(*own, validation_data=fewer),
        "split": fit(*own, validation_split=0.25 + 0.25 * index),
        "one process": fit(own[0], own[1] + 100 * index),
    }


def in_processes(port, index, directory):
    import jax

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    keras.distribution.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=index)
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    written = []
    atomic_write = files.atomic_write
    files.atomic_write = lambda path: written.append(str(path)) or atomic_write(path)
    checkpoint = keras.callbacks.ModelCheckpoint(directory / f"checkpoint-{index}.keras")

    def go(*callbacks):
        model = make_model()
        history = train(model, checkpoint, *callbacks, backup_dir=directory / "backup")
        return state_of(model, history) | codes_of(model)

    try:
        go(KillIn(2, "on_epoch_end"))
    except Killed:
        results = {"stages": go(), "written": written}
    images, labels = data()
    model = make_model()
    results["refused"] = {
        "items": refusal(lambda: model.fit(images[: 32 - 16 * index], labels[: 32 - 16 * index])),
        "backup": refusal(
            lambda: model.fit(
                images,
                labels,
                callbacks=[keras.callbacks.BackupAndRestore(directory / "other")],
            )
        ),
    }
    results["refused"] |= refused_with_own_shares(model, index)
    # Keras divides whole batches of a dataset of TensorFlow by itself.
    import tensorflow as tf

    keras.distribution.set_distribution(keras.distribution.DataParallel())
    model = make_model(losses.CSQLoss(CLASSES, BITS))
    results["refused"]["arrays"] = refusal(lambda: model.fit(images, labels))
    dataset = tf.data.Dataset.from_tensor_slices((images, labels))
    results["refused"]["last batch"] = refusal(lambda: model.fit(dataset.batch(32)))
    dataset = dataset.batch(32, drop_remainder=True)
    results["refused"] |= {
        "arrays of validation": refusal(
            lambda: model.fit(dataset, validation_data=(images, labels))
        ),
        "batches": refusal(lambda: model.fit(dataset.take(2 - index))),
        "batches of validation": refusal(
            lambda: model.fit(dataset, validation_data=dataset.take(1 + index))
        ),
    }
    results["centers"] = state_of(model, model.fit(dataset, verbose=0).history)
    return results


if __name__ == "__main__":
    if sys.argv[1] == "devices":
        found = on_devices()
    else:
        found = in_processes(int(sys.argv[2]), int(sys.argv[3]), pathlib.Path(sys.argv[4]))
    json.dump(found, sys.stdout)
