"""Runs that fine-tune what another run pre-trained."""

import json
import shutil

import numpy as np
import pytest
from interruption import Killed, KillIn

from tfhash.cli import main
from tfhash.experiments import pretraining, train, validation
from tfhash.experiments.run_directory import PRETRAINED

SMALL = {"backbone": "mlp", "width": 4, "pretrain_epochs": 2, "finetune_epochs": 2, "verbose": 0}


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A run of 12 bits whose last epoch of fine-tuning is without augmentation."""
    directory = tmp_path_factory.mktemp("first") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tfhash.experiments.pictures.draw", lambda *_: None)
        return train("digits", bits=12, unaugmented_epochs=1, output_dir=directory, **SMALL)


@pytest.fixture
def copied(first, tmp_path):
    """The run, which a test may change."""
    return shutil.copytree(first.directory, tmp_path / "copied")


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("given", [{"bits": 20}, {"bits": 12, "loss": "dpsh"}])
def test_fine_tuning_alone_gives_the_weights_of_the_whole_training(first, tmp_path, given):
    whole = train("digits", output_dir=tmp_path / "whole", unaugmented_epochs=1, **given, **SMALL)
    fine_tuned = train(
        "digits",
        output_dir=tmp_path / "fine-tuned",
        pretrained_from=first.directory,
        verbose=0,
        **given,
    )
    for expected, found in zip(whole.model.get_weights(), fine_tuned.model.get_weights()):
        np.testing.assert_array_equal(found, expected)
    assert fine_tuned.report["metrics"] == whole.report["metrics"]
    assert fine_tuned.report["baselines"] == whole.report["baselines"]
    assert [epoch["stage"] for epoch in fine_tuned.report["epochs"]] == [2, 2]
    # Its own pre-training is kept, too.
    assert (tmp_path / "fine-tuned" / PRETRAINED).exists()


@pytest.mark.usefixtures("without_pictures")
def test_an_interrupted_run_resumes_fine_tuning(first, tmp_path, monkeypatch):
    given = {"bits": 20, "pretrained_from": first.directory, "verbose": 0}
    whole = train("digits", output_dir=tmp_path / "whole", **given)
    callbacks = validation.callbacks
    with monkeypatch.context() as patch:
        patch.setattr(
            validation,
            "callbacks",
            lambda *arguments: [*callbacks(*arguments), KillIn(3, "on_epoch_begin")],
        )
        with pytest.raises(Killed):
            train("digits", output_dir=tmp_path / "resumed", **given)
    resumed = train("digits", output_dir=tmp_path / "resumed", resume=True, **given)
    assert resumed.report["metrics"] == whole.report["metrics"]
    assert [epoch["loss"] for epoch in resumed.report["epochs"]] == [
        epoch["loss"] for epoch in whole.report["epochs"]
    ]


@pytest.mark.usefixtures("without_pictures")
def test_a_run_that_fine_tunes_is_started_from_and_resumed_without_its_source(copied, tmp_path):
    second = train("digits", bits=20, output_dir=tmp_path / "b", pretrained_from=copied, verbose=0)
    shutil.rmtree(copied)
    third = train(
        "digits", bits=12, output_dir=tmp_path / "c", pretrained_from=second.directory, verbose=0
    )
    assert third.report["settings"]["width"] == SMALL["width"]
    again = train(
        "digits",
        bits=20,
        output_dir=second.directory,
        pretrained_from=copied,
        verbose=0,
        resume=True,
    )
    assert again.report == second.report


def test_settings_of_pretraining_are_taken_over_and_those_of_fine_tuning_are_not(first):
    given = {"dataset": "digits", "bits": 20, "pretrained_from": str(first.directory)}
    found = pretraining.with_settings_of_pretraining(given)
    assert (found["bits"], found["width"], found["finetune_epochs"]) == (20, 4, 2)
    assert not {"loss", "scale", "slope"} & set(found)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"width": 8}, "was pre-trained with width=4. Received: width=8"),
        (
            {"seed": 1, "protocol": "cnnh"},
            "protocol=official, seed=0. Received: protocol=cnnh, seed=1",
        ),
        ({"recipe": "photographs"}, "with recipe=simple. Received: recipe=photographs"),
        ({"image_size": 16}, "with image_size=None. Received: image_size=16"),
        ({"dataset": "mnist"}, "which was trained on digits. Received: mnist"),
        ({"unaugmented_epochs": 3}, "3 epochs without augmentation of 2 epochs of fine-tuning"),
        (
            {"finetune_epochs": 0, "unaugmented_epochs": 0, "pretrain_epochs": 3},
            "pretrain_epochs=3",
        ),
    ],
)
def test_what_pretraining_depends_on_is_refused(first, given, message):
    given = {"dataset": "digits", "pretrained_from": str(first.directory), **given}
    with pytest.raises(ValueError, match=message):
        pretraining.with_settings_of_pretraining(given)


def test_a_run_does_not_replace_the_one_that_it_starts_from(first):
    given = {"pretrained_from": first.directory, "output_dir": first.directory, "overwrite": True}
    with pytest.raises(ValueError, match="another directory than that of `pretrained_from`"):
        train("digits", verbose=0, **given)
    assert (first.directory / PRETRAINED).exists()


def test_other_items_are_refused_before_anything_is_written(copied, tmp_path):
    run = json.loads((copied / "run.json").read_text())
    (copied / "run.json").write_text(json.dumps({**run, "items": "0" * 64}))
    with pytest.raises(ValueError, match="of the items have changed since `pretrained_from`"):
        train("digits", output_dir=tmp_path / "new", pretrained_from=copied, verbose=0)
    assert not (tmp_path / "new").exists()


def test_a_mirror_image_may_be_left_out_unless_pseudo_labels_depend_on_it(copied):
    given = {"dataset": "digits", "pretrained_from": str(copied), "flip_tta": True}
    assert pretraining.with_settings_of_pretraining(given)["flip_tta"]
    run = json.loads((copied / "run.json").read_text())
    run["settings"]["unlabeled"] = True
    (copied / "run.json").write_text(json.dumps(run))
    with pytest.raises(ValueError, match="with flip_tta=False. Received: flip_tta=True"):
        pretraining.with_settings_of_pretraining(given)


def test_the_command_repeats_settings_of_the_first_run(first, tmp_path, capsys):
    flags = ["--dataset=digits", f"--pretrained_from={first.directory}", f"--output_dir={tmp_path}"]
    assert main(["train", *flags, "--width=8"]) == 1
    assert "was pre-trained with width=4. Received: width=8" in capsys.readouterr().err
    assert main(["train", *flags, "--width=4", "--finetune_epochs=1", "--baselines=none"]) == 0
    assert "fine-tuning only: pre-training is that of" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("removed", "message"),
    [
        ("report.json", "holds no finished run"),
        ("run.json", "holds no finished run"),
        (PRETRAINED, f"has no {PRETRAINED}"),
    ],
)
def test_a_run_without_the_weights_of_pretraining_is_refused(copied, removed, message):
    (copied / removed).unlink()
    with pytest.raises(FileNotFoundError, match=message):
        pretraining.with_settings_of_pretraining(
            {"dataset": "digits", "pretrained_from": str(copied)}
        )
