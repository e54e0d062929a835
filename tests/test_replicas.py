"""Replicas of a `tf.distribute` strategy train as one device does: two virtual CPUs show it."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tfhash.losses import replicas


@pytest.fixture(scope="module")
def results():
    script = pathlib.Path(__file__).with_name("mirrored_training.py")
    finished = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])


# Losses over pairs, triplets and centers.
@pytest.mark.parametrize("loss", ["exponentiated", "hashnet", "dch", "dpsh", "dtsh", "csq"])
def test_two_replicas_have_the_loss_and_the_gradient_of_the_whole_batch(results, loss):
    (value, gradient), (expected, expected_gradient) = results["losses"][loss]
    assert value == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-7)
    assert np.abs(expected_gradient).max() > 1e-4


def test_pairs_across_replicas_count_where_each_replica_has_one_item_of_a_class(results):
    # Without those pairs no item has a similar one, and the loss lacks that term.
    (value, _), _ = results["losses"]["exponentiated"]
    assert results["naive"] < 0.85 * value


# With a penalty that must count once, and statistics of the backbone and the head.
@pytest.mark.parametrize("training", ["conv_muon", "stages"])
def test_two_replicas_train_as_one_device_on_the_whole_batch(results, training):
    mirrored, alone = results[training]
    np.testing.assert_allclose(mirrored["losses"], alone["losses"], rtol=5e-5)
    np.testing.assert_allclose(mirrored["kernel"], alone["kernel"], rtol=1e-4, atol=1e-6)
    for found, expected in zip(mirrored["statistics"], alone["statistics"]):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_a_model_of_a_strategy_gives_the_codes_of_its_copy_without_one(results):
    mirrored, alone = results["codes"]
    assert len(mirrored) == 37  # no even number for two replicas
    assert mirrored == alone


def test_a_model_of_a_strategy_is_the_same_model_as_its_copy_without_one(results):
    mirrored, alone = results["fingerprints"]
    assert mirrored == alone


def test_other_statistics_on_each_replica_give_an_image_one_code(results):
    found = results["other statistics"]
    assert found["shift"] == pytest.approx([0, 0.5])
    exported, encoded, copied = found["codes"]
    assert len({*map(tuple, exported)}) > 1  # or the comparisons below show nothing
    assert exported == encoded == copied


@pytest.mark.parametrize("strategy", ["MultiWorkerMirroredStrategy", "CentralStorageStrategy"])
def test_strategies_that_were_not_tested_are_refused(results, strategy):
    message = results["refused"][strategy]
    assert f"Received: a {strategy}" in message
    assert "KERAS_BACKEND=jax" in message


def test_a_strategy_of_one_device_is_taken(results):
    assert results["refused"]["OneDeviceStrategy"] is None


def test_without_replicas_nothing_is_gathered():
    codes, labels = np.ones((3, 2)), np.arange(3)
    gathered_codes, gathered_labels, own = replicas.gather(codes, labels)
    assert gathered_codes is codes
    assert gathered_labels is labels
    assert own(codes) is codes
    assert replicas.num_replicas() == 1
