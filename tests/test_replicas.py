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


# Losses over pairs, triplets and centers, with a penalty that must count once; another optimizer; and
# both stages by the exponentiated loss.
@pytest.mark.parametrize(
    "training", ["hashnet", "dch", "dpsh", "dtsh", "csq", "conv_muon", "stages"]
)
def test_two_replicas_train_as_one_device_on_the_whole_batch(results, training):
    mirrored, alone = results[training]
    np.testing.assert_allclose(mirrored["losses"], alone["losses"], rtol=5e-5)
    for part in ("kernel", "statistics"):
        np.testing.assert_allclose(mirrored[part], alone[part], rtol=1e-4, atol=1e-6)


def test_pairs_across_replicas_count_where_each_replica_has_one_item_of_a_class(results):
    found = results["one pair a class"]
    assert found["mirrored"] == pytest.approx(found["alone"], rel=1e-5)
    # Without those pairs no item has a similar one, and the loss lacks that term.
    assert found["naive"] < 0.85 * found["alone"]


def test_a_model_of_a_strategy_gives_the_codes_of_its_copy_without_one(results):
    mirrored, alone = results["codes"]
    assert len(mirrored) == 37  # no even number for two replicas
    assert mirrored == alone


def test_statistics_of_each_replica_give_an_image_one_code(results):
    exported, encoded, copied = results["codes with statistics of each replica"]
    assert len({*map(tuple, exported)}) > 1  # or the comparisons below show nothing
    assert exported == encoded == copied


def test_without_replicas_nothing_is_gathered():
    codes, labels = np.ones((3, 2)), np.arange(3)
    gathered_codes, gathered_labels, own = replicas.gather(codes, labels)
    assert gathered_codes is codes
    assert gathered_labels is labels
    assert own(codes) is codes
    assert replicas.num_replicas() == 1
