import json

import keras
import numpy as np
import pytest
from interruption import Killed
from keras import ops

from tfhash.callbacks import (
    RetrievalEvaluation,
    TanhContinuation,
    TimeEstimate,
    TwoStageTraining,
    estimate,
    two_stage,
)
from tfhash.callbacks.backup import Backup


class KillAt(keras.callbacks.Callback):
    def __init__(self, epoch, batch):
        super().__init__()
        self.at = epoch, batch
        self.epoch = None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            raise Killed


def fit(model, data, epochs=5, pretrain_epochs=2, callbacks=(), **arguments):
    stages = TwoStageTraining(pretrain_epochs, **arguments)
    history = model.fit(
        *data,
        batch_size=16,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=[*callbacks, stages],
    )
    return stages, history


def weights(model):
    return [ops.convert_to_numpy(w) for w in model.weights]


def test_one_fit_runs_both_stages_and_says_so(make_model, striped):
    model = make_model()
    _, history = fit(model, striped)
    assert history.history["stage"] == [1, 1, 2, 2, 2]
    assert len(history.history["pretrain_accuracy"]) == 2
    assert len(history.history["finetune_saturation"]) == 3
    assert model.stage == "finetune"


def test_the_progress_bar_shows_the_stage(make_model, striped, capsys):
    make_model().fit(*striped, epochs=2, callbacks=[TwoStageTraining(1)])
    printed = capsys.readouterr().out
    assert "Stage 1 of 2: pretrain" in printed
    assert "Stage 2 of 2: finetune" in printed
    assert "stage: 1.0000" in printed
    assert "stage: 2.0000" in printed


def test_each_stage_trains_its_own_weights(make_model, striped):
    model = make_model()
    snapshots = []

    class Snapshot(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            heads = (model.classifier, model.hashing)
            snapshots.append([ops.convert_to_numpy(head.kernel) for head in heads])

    start = ops.convert_to_numpy(model.hashing.kernel)
    fit(model, striped, callbacks=[Snapshot()])
    classifiers, hashing = zip(*snapshots)
    assert (classifiers[0] != classifiers[1]).any()
    assert (hashing[1] == start).all()
    assert all((kernel == classifiers[1]).all() for kernel in classifiers[2:])
    assert (hashing[2] != hashing[3]).any()


def test_each_stage_counts_the_steps_of_its_own_schedule(make_model, striped):
    model = make_model()
    rates = []

    class Rates(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            rates.append(float(model.optimizer.learning_rate))

    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([6], [0.5, 0.25])
    fit(
        model,
        striped,
        callbacks=[Rates()],
        pretrain_learning_rate=0.125,
        finetune_learning_rate=schedule,
    )
    assert rates == [0.125, 0.125, 0.5, 0.25, 0.25]  # four steps an epoch


def test_pretraining_may_be_left_out(make_model, striped):
    _, history = fit(make_model(), striped, epochs=2, pretrain_epochs=0)
    assert history.history["stage"] == [2, 2]


@pytest.mark.parametrize("pretrain_epochs", [2, 7])
def test_pretraining_alone_warns_that_no_codes_are_learned(make_model, striped, pretrain_epochs):
    with pytest.warns(UserWarning, match="the hashing head stays untrained"):
        _, history = fit(make_model(), striped, epochs=2, pretrain_epochs=pretrain_epochs)
    assert history.history["stage"] == [1, 1]


@pytest.mark.filterwarnings("ignore:.*stays untrained")
def test_the_weights_at_the_end_of_pretraining_are_kept(make_model, striped, tmp_path):
    path = tmp_path / "pretrained.weights.h5"
    fit(make_model(), striped, epochs=4, pretrain_epochs=2, pretrained_weights=path)
    pretrained = make_model()
    fit(pretrained, striped, epochs=2, pretrain_epochs=2)
    restored = make_model().uncompiled_copy()
    restored.load_weights(path)
    for expected, found in zip(pretrained.get_weights(), restored.get_weights(), strict=True):
        np.testing.assert_array_equal(expected, found)


@pytest.mark.filterwarnings("ignore:.*stays untrained")
def test_a_frozen_backbone_stays_in_finetune(make_model, striped):
    model = make_model()
    fit(model, striped, epochs=2, pretrain_epochs=2)
    before = weights(model.backbone)
    fit(model, striped, epochs=2, pretrain_epochs=0, freeze_backbone=True)
    assert all((a == b).all() for a, b in zip(before, weights(model.backbone)))


@pytest.fixture(scope="module")
def uninterrupted(make_model, striped):
    """Weights and history of the run that the killed ones must end like."""
    model = make_model()
    _, history = fit(model, striped)
    return weights(model), history.history


@pytest.mark.parametrize(
    "killed_at", [(0, 2), (1, 1), (2, 0), (3, 3), (4, 1)], ids=lambda at: f"epoch{at[0]}"
)
def test_a_killed_run_resumes_to_the_same_weights(
    make_model, striped, tmp_path, uninterrupted, killed_at
):
    expected_weights, expected_history = uninterrupted
    with pytest.raises(Killed):
        fit(make_model(), striped, callbacks=[KillAt(*killed_at)], backup_dir=tmp_path)
    # Where there is a backup, the new model's own initialization must play no part.
    resumed = make_model(seed=0 if killed_at[0] == 0 else 99)
    stages, history = fit(resumed, striped, backup_dir=tmp_path)
    for expected, weight in zip(expected_weights, resumed.weights):
        found = ops.convert_to_numpy(weight)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6, err_msg=weight.path)
    assert history.epoch == list(range(5))
    assert history.history["stage"] == expected_history["stage"] == [1, 1, 2, 2, 2]
    assert len(stages.epoch_logs) == 5


def test_a_kill_while_the_backup_is_written_loses_one_epoch_at_most(
    make_model, striped, tmp_path, monkeypatch
):
    written = []

    def killed_after_weights(path, value):
        written.append(path)
        if len(written) == 3:
            raise Killed
        write_json(path, value)

    write_json = Backup.save.__globals__["files"].write_json
    monkeypatch.setattr("tfhash.files.write_json", killed_after_weights)
    with pytest.raises(Killed):
        fit(make_model(), striped, backup_dir=tmp_path)
    monkeypatch.undo()
    assert Backup(tmp_path).read()["epochs_done"] == 2
    _, history = fit(make_model(), striped, backup_dir=tmp_path)
    assert history.history["stage"] == [1, 1, 2, 2, 2]
    assert [p.name for p in tmp_path.glob("*.h5")] == ["epoch-0005.weights.h5"]


def test_the_seconds_of_training_are_those_of_all_its_epochs(make_model, striped, tmp_path):
    with pytest.raises(Killed):
        fit(make_model(), striped, callbacks=[KillAt(3, 0)], backup_dir=tmp_path)
    state = Backup(tmp_path).read()
    assert state["seconds"] > 0
    (tmp_path / "state.json").write_text(json.dumps({**state, "seconds": 1000.0}))
    stages, _ = fit(make_model(), striped, backup_dir=tmp_path)
    assert stages.seconds > 1000


def test_the_seconds_of_training_include_what_other_callbacks_do(monkeypatch, make_model, striped):
    class Work(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            spent.append(10.0)

        def on_epoch_end(self, epoch, logs=None):
            spent.append(100.0)

    spent = []
    monkeypatch.setattr(two_stage.time, "perf_counter", lambda: sum(spent))
    stages, _ = fit(make_model(), striped, callbacks=[Work()])
    assert stages.seconds == 5 * 110


def test_a_finished_run_has_nothing_left_to_train(make_model, striped, tmp_path):
    model = make_model()
    fit(model, striped, backup_dir=tmp_path)
    again = make_model(seed=1)
    stages, history = fit(again, striped, backup_dir=tmp_path)
    assert stages.epochs_done() == 5
    assert history.history["stage"] == [1, 1, 2, 2, 2]
    np.testing.assert_array_equal(again.encode(striped[0]), model.encode(striped[0]))
    # A later fit is another training.
    assert len(again.fit(*striped, epochs=3, verbose=0).history["loss"]) == 3


@pytest.mark.filterwarnings("ignore:.*stays untrained")
def test_a_backup_of_another_schedule_is_refused(make_model, striped, tmp_path):
    fit(make_model(), striped, epochs=1, backup_dir=tmp_path)
    with pytest.raises(ValueError, match="has pretrain_epochs=2. Received: pretrain_epochs=1"):
        fit(make_model(), striped, pretrain_epochs=1, backup_dir=tmp_path)
    with pytest.raises(ValueError, match="has freeze_backbone=False. Received: freeze_backbone=T"):
        fit(make_model(), striped, freeze_backbone=True, backup_dir=tmp_path)
    with pytest.raises(ValueError, match="has bits=12. Received: bits=9"):
        fit(make_model(bits=9), striped, backup_dir=tmp_path)


def test_a_broken_backup_is_named(make_model, striped, tmp_path):
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(ValueError, match=r"state.json is not a training state"):
        fit(make_model(), striped, backup_dir=tmp_path)


@pytest.mark.parametrize(("epochs", "stage"), [(1, "pretrain"), (0, "finetune")])
def test_nan_stops_training_and_names_the_step(make_model, striped, epochs, stage):
    images = striped[0].astype("float32")
    images[40] = np.nan  # the third batch of 16
    with pytest.raises(FloatingPointError, match=f"nan in stage {stage}, epoch 1, step 3"):
        fit(make_model(), (images, striped[1]), pretrain_epochs=epochs)


@pytest.mark.parametrize("pretrain_epochs", [-1, 1.5, None])
def test_pretrain_epochs_out_of_range_are_refused(pretrain_epochs):
    with pytest.raises(ValueError, match="`pretrain_epochs` must be an integer >= 0"):
        TwoStageTraining(pretrain_epochs)


def test_a_model_without_stages_is_refused():
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile(loss="mse")
    with pytest.raises(ValueError, match="trains a `tfhash.models.HashingModel`"):
        model.fit(np.zeros((4, 2)), np.zeros(4), verbose=0, callbacks=[TwoStageTraining(1)])


def test_the_backup_holds_what_other_callbacks_logged(make_model, striped, tmp_path):
    fit(
        make_model(),
        striped,
        callbacks=[RetrievalEvaluation(striped, striped)],
        backup_dir=tmp_path,
    )
    state = json.loads((tmp_path / "state.json").read_text())
    assert all("val_map" in logs for logs in state["epoch_logs"])


def test_codes_harden_from_the_first_epoch_of_finetuning_to_the_last(make_model, striped):
    model = make_model()
    hardening = TanhContinuation(last_sharpness=16.0, first_epoch=2)
    _, history = fit(model, striped, epochs=5, pretrain_epochs=2, callbacks=[hardening])
    assert history.history["sharpness"] == [1.0, 1.0, 1.0, 4.0, 16.0]
    assert float(model.hashing.sharpness) == 16.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"last_sharpness": 0.5}, "`last_sharpness` must be at least 1. .*=0.5"),
        ({"last_sharpness": float("nan")}, "`last_sharpness` must be at least 1"),
        ({"first_epoch": -1}, "`first_epoch` must be at least 0. Received: -1"),
    ],
)
def test_continuation_out_of_range_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        TanhContinuation(**arguments)


def test_continuation_needs_a_hashing_layer():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(loss="mse")
    with pytest.raises(ValueError, match="`HashingLayer` as its attribute `hashing`. .*Sequential"):
        model.fit(np.zeros((4, 2)), np.zeros(4), verbose=0, callbacks=[TanhContinuation()])


@pytest.mark.parametrize(
    ("seconds_a_step", "initial_epoch", "words"),
    [
        (0.5, 0, "about 14 seconds"),  # 3 epochs of 10 steps, 2 + 1 of them done: 27 to go
        (10.0, 0, "about 4 minutes"),
        (10.0, 2, "about 70 seconds"),
        (400.0, 0, "about 3.0 hours"),
    ],
)
def test_the_time_to_go_is_that_of_the_steps_to_go(
    monkeypatch, capsys, seconds_a_step, initial_epoch, words
):
    clock = iter(i * seconds_a_step for i in range(100))
    monkeypatch.setattr(estimate.time, "perf_counter", lambda: next(clock))
    callback = TimeEstimate(after=1)
    callback.set_params({"epochs": 3, "steps": 10, "verbose": 1})
    callback.on_train_begin()
    for epoch in range(initial_epoch, 3):
        callback.on_epoch_begin(epoch)
        for batch in range(10):
            callback.on_train_batch_end(batch)
    assert capsys.readouterr().out.split("\n") == ["", f"{words} of training to go", ""]


@pytest.mark.parametrize("known", [{"steps": None, "verbose": 1}, {"steps": 10, "verbose": 0}])
def test_nothing_is_said_where_steps_are_unknown_or_nobody_listens(capsys, known):
    callback = TimeEstimate(after=1)
    callback.set_params({"epochs": 3, **known})
    callback.on_train_begin()
    callback.on_epoch_begin(0)
    for batch in range(5):
        callback.on_train_batch_end(batch)
    assert capsys.readouterr().out == ""


def test_weights_of_another_kind_of_file_are_refused_at_once():
    with pytest.raises(ValueError, match="`pretrained_weights` must end in .weights.h5.*'w.h5'"):
        TwoStageTraining(1, pretrained_weights="w.h5")


def test_an_estimate_needs_a_step():
    with pytest.raises(ValueError, match="`after` must be an integer >= 1. Received: after=0"):
        TimeEstimate(after=0)
