"""`tfhash train --devices=N`: what is refused, and two virtual devices of JAX and of TensorFlow."""

import io
import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from commands import QUICK, error_of

from tfhash.data import load
from tfhash.experiments import devices, environment
from tfhash.experiments.devices import Devices
from tfhash.experiments.run_directory import RunDirectory

ROOT = pathlib.Path(__file__).parents[1]


def test_more_devices_than_there_are_are_refused_before_images_are_read(tmp_path, capsys):
    (tmp_path / "photos").mkdir()  # which would be refused for holding no images
    command = ["train", f"--dataset={tmp_path / 'photos'}", "--devices=99"]
    error = error_of(capsys, *command, f"--output_dir={tmp_path / 'run'}")
    assert "--devices must be at most " in error
    assert "Received: devices=99" in error
    assert "--xla_force_host_platform_device_count=99" in error
    assert not (tmp_path / "run").exists()


def test_several_devices_are_refused_on_pytorch(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(ValueError, match="Received: devices=2 on torch"):
        Devices(2)


@pytest.fixture
def three(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(devices, "_jax_devices", lambda: ["gpu:0", "gpu:1", "gpu:2", "gpu:3"])
    monkeypatch.setattr(keras.distribution, "DataParallel", lambda devices: devices)
    return Devices(3)


def test_the_first_devices_are_taken_and_named(three):
    assert three.names == ["gpu:0", "gpu:1", "gpu:2"]
    (said,) = three.plan(batch_size=12)
    assert "3 devices (gpu:0, gpu:1, gpu:2): 4 of 12 items" in said


def test_batches_that_cannot_be_divided_are_refused(three):
    with pytest.raises(ValueError, match="a multiple of `devices`, 3. Received: batches of 64"):
        three.plan(batch_size=64)


def test_one_device_needs_no_distribution():
    one = Devices(1)
    assert one.plan(batch_size=7) == []
    with one.in_force(), one.making_a_model():
        assert keras.distribution.distribution() is None


@pytest.mark.parametrize(
    ("extensions", "dtype_policy", "gpus", "said"),
    [
        (["avx2", "amx_bf16"], "float32", [], "--dtype_policy=mixed_bfloat16"),
        (["avx2", "amx_bf16"], "mixed_bfloat16", [], None),
        (["avx2", "avx512_bf16"], "mixed_bfloat16", [], "slower than float32"),
        ([], "mixed_bfloat16", [], "slower than float32"),
        (["avx2"], "float32", [], None),
        (["amx_bf16"], "float32", ["GPU:0"], None),
        (["avx2"], "mixed_bfloat16", ["GPU:0"], None),
    ],
)
def test_a_precision_that_does_not_suit_the_cpu_is_told(
    monkeypatch, extensions, dtype_policy, gpus, said
):
    monkeypatch.setattr(environment, "extensions", lambda: extensions)
    monkeypatch.setattr(devices, "_tensorflow_gpus", lambda: gpus)
    found = Devices(1).about_precision(dtype_policy)
    assert [said in sentence for sentence in found] == ([True] if said else [])


def test_extensions_are_those_of_this_processor(monkeypatch):
    text = "processor\t: 0\nmodel name\t: Model: A\nflags\t\t: fpu avx2 amx_bf16 avx512f_x\n"
    monkeypatch.setattr(environment, "open", lambda *_, **__: io.StringIO(text), raising=False)
    assert environment.extensions() == ["avx2", "amx_bf16"]
    assert environment.describe()["machine"]["processor"] == "Model: A"

    def missing(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(environment, "open", missing, raising=False)
    assert environment.extensions() == []


def test_a_run_is_not_resumed_on_another_number_of_devices(tmp_path):
    files = RunDirectory(tmp_path)
    files.begin({"devices": 2}, "digits", items="fingerprint")
    with pytest.raises(ValueError, match="was started with --devices=2. Received: --devices=1"):
        files.begin({"devices": 1}, "digits", items="fingerprint", resume=True)


TRAINING = """
import sys

from tfhash.cli import main
from tfhash.experiments import pictures
from tfhash.experiments.run_directory import RunDirectory

pictures.draw = lambda *arguments: None
RunDirectory.write_model = lambda self, model: model.save_weights(self.path / "all.weights.h5")
for devices in (2, 1):
    arguments = [f"--devices={devices}", f"--output_dir={sys.argv[1]}/{devices}"]
    if main(["train", *sys.argv[2:], *arguments]):
        sys.exit(1)
"""


@pytest.fixture(scope="module")
def trained_on_jax(tmp_path_factory):
    """A run on two devices and one on one, and what was printed."""
    pytest.importorskip("jax")
    directory = tmp_path_factory.mktemp("runs")
    flags = "--xla_force_host_platform_device_count=2"
    variables = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    variables["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # compiling takes most of the time
    short = ["--pretrain_epochs=0", "--finetune_epochs=2", "--baselines=none", "--optimizer=adamw"]
    finished = subprocess.run(
        [sys.executable, "-c", TRAINING, directory, *QUICK, *short],
        env={**os.environ, **variables, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    return directory, " ".join(finished.stdout.split())


def test_a_run_on_two_devices_gives_the_codes_of_one(trained_on_jax):
    directory, _ = trained_on_jax
    databases = [np.load(directory / devices / "database.npz") for devices in "21"]
    codes = [np.unpackbits(database["codes"], axis=1) for database in databases]
    assert len(np.unique(codes[1], axis=0)) > 10
    # A relaxed code near 0 may round to either sign.
    assert (codes[0] != codes[1]).mean() < 1e-3
    reports = [json.loads((directory / devices / "report.json").read_text()) for devices in "21"]
    divided, alone = ([logs["loss"] for logs in report["epochs"]] for report in reports)
    np.testing.assert_allclose(divided, alone, rtol=1e-5)


def test_the_devices_are_printed_and_recorded(trained_on_jax):
    directory, printed = trained_on_jax
    assert "Trains on 2 devices (cpu:0, cpu:1): " in printed
    assert printed.count("Trains on ") == 1
    recorded = [json.loads((directory / devices / "run.json").read_text()) for devices in "21"]
    assert [run["settings"]["devices"] for run in recorded] == [2, 1]


ON_TENSORFLOW = """
import sys

import tensorflow as tf

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from tfhash.cli import main
from tfhash.experiments import pictures

pictures.draw = lambda *arguments: None
sys.exit(main(["train", "--devices=2", *sys.argv[1:]]))
"""


def test_a_run_on_two_devices_of_tensorflow_writes_a_model_with_its_codes(tmp_path):
    tf = pytest.importorskip("tensorflow")
    short = ["--pretrain_epochs=0", "--finetune_epochs=1", "--baselines=none", "--optimizer=adamw"]
    run = tmp_path / "run"
    finished = subprocess.run(
        [sys.executable, "-c", ON_TENSORFLOW, *QUICK, *short, f"--output_dir={run}"],
        env={**os.environ, "KERAS_BACKEND": "tensorflow", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert "Trains on 2 devices (CPU:0, CPU:1): 32 of 64" in " ".join(finished.stdout.split())
    assert json.loads((run / "run.json").read_text())["settings"]["devices"] == 2
    served = tf.saved_model.load(run / "saved_model" / "1").signatures["encode"]
    found = served(images=load("digits").database.images())["codes"].numpy()
    written = np.load(run / "database.npz")["codes"]
    assert len(np.unique(written, axis=0)) > 10
    # A relaxed code near 0 may round to either sign.
    assert (np.unpackbits(found, axis=1) != np.unpackbits(written, axis=1)).mean() < 1e-3
