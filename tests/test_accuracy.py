"""The comparison of losses resumes where it stopped, and every arm has the same budget."""

import dataclasses
import json

import accuracy
import keras
import numpy as np
import pytest

from tfhash import data
from tfhash.experiments import make_recipe

ARMS = ["untrained network", "exponentiated", "HashNet"]
RECIPE = dataclasses.replace(
    make_recipe("simple", (8, 8, 1), 1_340),
    width=2,
    pretrain_epochs=1,
    finetune_epochs=2,
    unaugmented_epochs=0,
)


@pytest.fixture
def compare(tmp_path, monkeypatch):
    """Runs the benchmark on the digits in place of MNIST; gives its report and what it trained."""
    splits, fits, fit = data.load("digits"), [], accuracy.fit

    def recorded(model, stage, *arguments):
        fits.append(stage)
        return fit(model, stage, *arguments)

    monkeypatch.setattr(accuracy.data, "load", lambda *arguments, **options: splits)
    monkeypatch.setattr(accuracy, "fit", recorded)

    def run(arms, recipe=RECIPE):
        monkeypatch.setitem(accuracy.RECIPES, "mnist", recipe)
        fits.clear()
        accuracy.FLAGS.unparse_flags()
        folders = [f"--output_dir={tmp_path}", f"--checkpoints={tmp_path / 'pretrained'}"]
        chosen = [f"--arms={arm}" for arm in arms]
        accuracy.FLAGS(["accuracy", "--dataset=mnist", "--seeds=0", *folders, *chosen])
        accuracy.main([])
        return json.loads((tmp_path / "accuracy-mnist.json").read_text()), list(fits)

    return run


def test_arms_go_on_from_one_pretrained_network_and_cells_are_made_once(compare, tmp_path, capsys):
    report, fits = compare(ARMS[1:])
    assert fits == ["pretrain", "finetune", "finetune"]
    # The sharpness grows within the epochs of the recipe, too.
    assert report["cells"]["HashNet"]["0"]["last_epoch"]["sharpness"] == pytest.approx(10)
    again, fits = compare(ARMS)
    assert not fits
    assert list(again["cells"]) == ARMS
    assert {name: again["cells"][name] for name in ARMS[1:]} == report["cells"]
    printed = capsys.readouterr().out
    for arm in ARMS:
        assert f"| {arm} | 12 | {again['cells'][arm]['0']['metrics']['map']:.4f} |" in printed
    assert (tmp_path / "accuracy-mnist.png").stat().st_size > 0
    with pytest.raises(ValueError, match="was made with"):
        compare(ARMS, dataclasses.replace(RECIPE, width=3))


def test_a_cell_of_another_loss_than_todays_is_not_gone_on_from(compare, monkeypatch):
    compare(["exponentiated"])
    today = dataclasses.replace(
        accuracy.ARMS["exponentiated"], loss=accuracy._exponentiated(scale=3.0)
    )
    monkeypatch.setitem(accuracy.ARMS, "exponentiated", today)
    with pytest.raises(ValueError, match="exponentiated, seed 0, was made with .*'scale': 2.0"):
        compare(["exponentiated"])


def test_averaged_weights_are_the_moving_average_of_those_of_the_steps(monkeypatch):
    monkeypatch.setattr(accuracy.AveragedWeights, "momentum", 0.5)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.set_weights([np.zeros((1, 1))])
    # Each step takes 1 off the weight: 0, then 1/2, 5/4 and 17/8 off on average.
    model.compile(keras.optimizers.SGD(1.0), loss=lambda target, output: output)
    ones = np.ones((3, 1))
    model.fit(ones, ones, 1, verbose=0, callbacks=[accuracy.AveragedWeights()])
    np.testing.assert_allclose(model.get_weights(), [[[-17 / 8]]])
