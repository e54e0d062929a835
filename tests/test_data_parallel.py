"""On JAX, `DataParallel` trains as one device does: two virtual CPUs, and two processes on loopback."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from tfhash import devices, prediction
from tfhash.data import ArrayBatches, ProcessShare

pytest.importorskip("jax")

SCRIPT = pathlib.Path(__file__).with_name("data_parallel_training.py")
ON_JAX = {
    "KERAS_BACKEND": "jax",
    "JAX_PLATFORMS": "cpu",
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # compiling takes nearly all the time
}


def run_together(directory, *commands, **variables):
    """What processes that run at one time print as JSON in their last lines."""
    path = os.pathsep.join([str(SCRIPT.parents[1]), *sys.path])
    environment = {**os.environ, **ON_JAX, **variables, "PYTHONPATH": path}
    # Into files: processes that wait for each other must not wait for a pipe that is full.
    logs = [(directory / f"{i}.out", directory / f"{i}.err") for i in range(len(commands))]
    with contextlib.ExitStack() as stack:
        running = []
        for command, paths in zip(commands, logs):
            out, err = (stack.enter_context(path.open("w")) for path in paths)
            command = [sys.executable, SCRIPT, *map(str, command)]
            process = subprocess.Popen(command, stdout=out, stderr=err, env=environment)
            stack.callback(process.kill)  # the other one waits for a failed one
            running.append(process)
        while any(process.poll() is None for process in running):
            if any(process.poll() for process in running):
                break
            time.sleep(0.1)
        for process, (_, err) in zip(running, logs):
            assert process.poll() in (None, 0), err.read_text()[-3000:]
    return [json.loads(out.read_text().splitlines()[-1]) for out, _ in logs]


@pytest.fixture(scope="module")
def on_devices(tmp_path_factory):
    two = "--xla_force_host_platform_device_count=2"
    return run_together(tmp_path_factory.mktemp("devices"), ["devices"], XLA_FLAGS=two)[0]


@pytest.fixture(scope="module")
def shared_directory(tmp_path_factory):
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def in_processes(tmp_path_factory, shared_directory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    commands = [["processes", port, index, shared_directory] for index in range(2)]
    return run_together(tmp_path_factory.mktemp("processes"), *commands)


def assert_trained_alike(found, expected):
    """To the rounding of sums whose order differs."""
    assert found["history"].keys() == expected["history"].keys()
    for name, values in expected["history"].items():
        np.testing.assert_allclose(found["history"][name], values, rtol=2e-6, err_msg=name)
    assert len(found["weights"]) == len(expected["weights"])
    for weights, of_expected in zip(found["weights"], expected["weights"]):
        np.testing.assert_allclose(weights, of_expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("training", ["stages", "centers"])
def test_two_devices_train_as_one_on_the_whole_batch(on_devices, training):
    divided, alone = on_devices[training]
    assert_trained_alike(divided, alone)


def test_two_devices_give_the_codes_of_one_for_an_odd_number_of_images(on_devices):
    divided, alone = on_devices["stages"]
    assert (divided["devices"], alone["devices"]) == (2, 1)
    assert len(divided["codes"]) == 37
    assert divided["codes"] == divided["copy"] == alone["codes"]
    np.testing.assert_allclose(divided["logits"], alone["logits"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("last batch", "Received: a batch of 17 items"),
        ("dataset", "Received: a batch of 31 items"),
        ("validation", "Received: a batch of 3 items"),
        ("made before", "Call keras.distribution.set_distribution before you make the model"),
        ("not compiled", "compile()"),
        ("endless", "an endless ArrayBatches"),
        ("no items", "an empty ndarray"),
    ],
)
def test_what_two_devices_cannot_train_on_is_refused(on_devices, case, message):
    assert message in on_devices["refused"][case]


@pytest.mark.parametrize("training", ["stages", "centers"])
def test_two_processes_train_as_one_device(in_processes, on_devices, training):
    """A killed run that resumes in both stages, and a dataset that Keras divides."""
    _, alone = on_devices[training]
    for process in in_processes:
        assert_trained_alike(process[training], alone)


def test_each_process_gives_the_codes_of_one_device(in_processes, on_devices):
    _, alone = on_devices["stages"]
    for process in in_processes:
        assert process["stages"]["codes"] == process["stages"]["copy"] == alone["codes"]


def test_only_the_first_process_writes_files(in_processes, shared_directory):
    first, second = in_processes
    assert any("backup" in path for path in first["written"])
    assert second["written"] == []
    assert {path.name for path in shared_directory.iterdir()} == {"backup", "checkpoint-0.keras"}


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("items", "must have the same batch size. Received: 32, 16 in processes 0 to 1"),
        ("backup", "`BackupAndRestore` writes one file in every process"),
        ("arrays", "`tfhash.data.ProcessShare`"),
        ("last batch", "drop_remainder=True"),
        ("forgotten share", "the same first batch of training in all 2 processes"),
        ("same arrays", "the same first batch of training in all 2 processes"),
        ("same arrays of validation", "the same first batch of validation in all 2 processes"),
        ("items of validation", "number of items of validation. Received: 32, 16 in"),
        ("split", "number of items after `validation_split`. Received: 24, 16 in"),
        ("arrays of validation", "`tfhash.data.ProcessShare`"),
        ("batches", "number of batches. Received: 2, 1 in processes 0 to 1"),
        ("batches of validation", "number of batches of validation. Received: 1, 2 in"),
    ],
)
def test_what_processes_cannot_train_on_together_is_refused_in_all(in_processes, case, message):
    for process in in_processes:
        assert message in process["refused"][case]


def test_an_error_of_one_process_ends_all(in_processes):
    first, second = (process["refused"]["one process"] for process in in_processes)
    assert "Received: an error in process 1" in first
    assert "Received: labels from 101 to 107" in second


def test_shares_of_all_processes_are_the_whole_batches(rng):
    images = rng.integers(0, 256, (24, 4, 4, 1), "uint8")
    batches = ArrayBatches(images, np.arange(24), 12, seed=3)
    shares = [ProcessShare(batches, process, processes=3) for process in range(3)]
    for index in range(4):
        for part, whole in enumerate(batches[index]):
            joined = np.concatenate([share[index][part] for share in shares])
            np.testing.assert_array_equal(joined, whole)
    assert shares[0].num_batches is batches.num_batches


def test_a_batch_that_processes_cannot_share_is_refused():
    batches = ArrayBatches(np.zeros((10, 4, 4, 1), "uint8"), np.arange(10), 10, seed=0)
    with pytest.raises(ValueError, match="among 3 processes. Received: a batch of 10 items"):
        ProcessShare(batches, 0, processes=3)[0]
    with pytest.raises(ValueError, match="divided by Keras. Received: a ndarray"):
        ProcessShare(np.zeros(4))


def test_without_a_distribution_there_is_one_device_and_one_process():
    assert devices.distribution() is None
    assert (devices.num_parts(), devices.num_processes(), devices.process_index()) == (1, 1, 0)
    devices.check_same({"steps": 3})
    assert devices.of_all_processes({"steps": 2**40}) == {"steps": [2**40]}
    with pytest.raises(KeyError, match="of this process"), devices.failing_together():
        raise KeyError("of this process")


@pytest.mark.parametrize(("count", "parts"), [(1, 2), (4, 2), (5, 3)])
def test_a_batch_is_filled_up_by_its_last_item(count, parts):
    filled = prediction._filled(np.arange(count), parts)
    assert len(filled) % parts == 0
    assert filled[:count].tolist() == list(range(count))
    assert set(filled[count:].tolist()) <= {count - 1}


def test_another_kind_of_distribution_is_refused(monkeypatch):
    class ModelParallel:
        pass

    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(keras.distribution, "distribution", ModelParallel)
    with pytest.raises(ValueError, match="`keras.distribution.DataParallel`. Received: a Model"):
        devices.distribution()
