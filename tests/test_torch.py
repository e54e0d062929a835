"""Layers, losses and codes on the PyTorch backend, in a process of its own."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

from tfhash import codes, labels, losses
from tfhash.layers import HashingLayer

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None or keras.backend.backend() == "torch",
    reason="compares another backend with PyTorch, which is not installed or is the backend itself",
)

LOSSES = ("ExponentiatedHashingLoss", "DPSHLoss", "HashNetLoss", "DCHLoss", "DTSHLoss")


def measured():
    """What is compared: values that must not depend on the backend."""
    rng = np.random.default_rng(0)
    classes = np.arange(24) % 3
    relaxed = rng.uniform(-1, 1, (24, 12)).astype("float32")
    found = {name: float(getattr(losses, name)()(classes, relaxed)) for name in LOSSES}
    found["packed"] = ops.convert_to_numpy(codes.pack(relaxed)).tolist()
    out_of_range = ops.convert_to_numpy(labels.memberships(np.array([1, 3, -1]), 3))
    found["memberships"] = np.nan_to_num(out_of_range, nan=-1).tolist()
    # A step of training from the same weights.
    features = rng.normal(size=(24, 5)).astype("float32")
    kernel = rng.normal(size=(5, 12)).astype("float32")
    model = keras.Sequential([keras.Input((5,)), HashingLayer(12)])
    weights = model.get_weights()
    model.set_weights([kernel if w.shape == kernel.shape else w for w in weights])
    model.compile(keras.optimizers.SGD(0.1), losses.ExponentiatedHashingLoss())
    found["loss"] = float(model.train_on_batch(features, classes))
    found["codes"] = model.predict(features, verbose=0).tolist()
    return found


@pytest.fixture(scope="module")
def on_torch():
    root = pathlib.Path(__file__).parents[1]
    run = subprocess.run(
        [sys.executable, "-c", "import json, test_torch; print(json.dumps(test_torch.measured()))"],
        env={
            **os.environ,
            "KERAS_BACKEND": "torch",
            "PYTHONPATH": os.pathsep.join(map(str, (root, root / "tests"))),
        },
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def here():
    return measured()


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_has_the_value_of_this_backend(here, on_torch, name):
    assert on_torch[name] == pytest.approx(here[name], rel=1e-4)


@pytest.mark.parametrize("name", ["packed", "memberships"])
def test_packed_codes_and_labels_are_those_of_this_backend(here, on_torch, name):
    assert on_torch[name] == here[name]


def test_a_step_of_training_gives_the_codes_of_this_backend(here, on_torch):
    assert on_torch["loss"] == pytest.approx(here["loss"], rel=1e-4)
    np.testing.assert_allclose(on_torch["codes"], here["codes"], atol=1e-4)
