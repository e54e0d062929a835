"""Callbacks of Keras beside both stages of training, in any order."""

import csv

import keras
import numpy as np
import pytest
from interruption import Killed, KillIn
from keras import ops

from tfhash.callbacks import RetrievalEvaluation, TwoStageTraining

PRETRAIN, EPOCHS = 3, 6


class Rates(keras.callbacks.Callback):
    """The learning rate with which each epoch begins, after all other callbacks."""

    def __init__(self):
        super().__init__()
        self.rates = []

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 0:
            self.rates.append(float(self.model.optimizer.learning_rate))


def fit(model, data, *others, stages_first=True, **arguments):
    stages = TwoStageTraining(PRETRAIN)
    callbacks = [stages, *others] if stages_first else [*others, stages]
    return model.fit(
        *data,
        **{"batch_size": 16, "epochs": EPOCHS, "shuffle": False, "verbose": 0, **arguments},
        callbacks=callbacks,
    ).history


def assert_same_weights(model, expected):
    for found, weight in zip(model.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(found), ops.convert_to_numpy(weight), err_msg=found.path
        )


both_orders = pytest.mark.parametrize("stages_first", [True, False])


@pytest.fixture(scope="module")
def plain(make_model, striped):
    """A run without other callbacks."""
    model = make_model()
    return model, fit(model, striped)


def test_each_stage_logs_its_loss_under_a_separate_name(plain):
    _, history = plain
    assert history["pretrain_loss"] == history["loss"][:PRETRAIN]
    assert history["finetune_loss"] == history["loss"][PRETRAIN:]


def test_validation_logs_the_loss_of_the_stage_too(make_model, striped):
    history = fit(make_model(), striped, validation_data=striped)
    assert history["val_pretrain_loss"] == history["val_loss"][:PRETRAIN]
    assert history["val_finetune_loss"] == history["val_loss"][PRETRAIN:]


@both_orders
def test_early_stopping_restores_weights_of_finetune(make_model, striped, stages_first):
    model = make_model()
    start = ops.convert_to_numpy(model.hashing.kernel)
    stopping = keras.callbacks.EarlyStopping("loss", patience=EPOCHS, restore_best_weights=True)
    history = fit(model, striped, stopping, stages_first=stages_first)
    assert len(history["loss"]) == EPOCHS
    assert stopping.best == min(history["finetune_loss"])
    assert (ops.convert_to_numpy(model.hashing.kernel) != start).any()


@both_orders
def test_early_stopping_in_pretrain_ends_that_stage_alone(
    make_model, striped, stages_first, tmp_path
):
    stopping = keras.callbacks.EarlyStopping("loss", patience=1, min_delta=1e9)
    history = fit(make_model(), striped, stopping, stages_first=stages_first)
    assert history["stage"] == [1, 1, 2, 2]  # each stage stops after its second epoch


class StopPretraining(keras.callbacks.EarlyStopping):
    """Stops pre-training after its second epoch, because nothing is that much better."""

    def __init__(self):
        super().__init__("loss", patience=1, min_delta=1e9)

    def on_stage_begin(self, stage):
        self.min_delta = 0.0
        self.patience = EPOCHS


def test_fine_tuning_is_as_long_as_planned_after_an_early_end_of_pretrain(make_model, striped):
    history = fit(make_model(), striped, StopPretraining())
    assert history["stage"] == [1, 1, 2, 2, 2]


@both_orders
def test_the_last_epoch_is_evaluated_after_an_early_end_of_pretrain(
    make_model, striped, stages_first
):
    evaluation = RetrievalEvaluation(striped, striped, every=EPOCHS, first_epoch=PRETRAIN)
    history = fit(make_model(), striped, StopPretraining(), evaluation, stages_first=stages_first)
    assert history["stage"] == [1, 1, 2, 2, 2]
    assert len(history["val_map"]) == 1


def test_the_best_weights_of_pretrain_start_finetune_if_asked_for(make_model, striped):
    kernels = []

    class Kernels(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            kernels.append(ops.convert_to_numpy(self.model.classifier.kernel))

    stopping = keras.callbacks.EarlyStopping(
        "loss", patience=1, min_delta=1e9, restore_best_weights=True
    )
    model = make_model()
    fit(model, striped, stopping, Kernels(), epochs=4)
    np.testing.assert_array_equal(kernels[-1], kernels[0])


@both_orders
def test_plateaus_of_pretrain_do_not_lower_the_rate_of_finetune(make_model, striped, stages_first):
    rates = Rates()
    plateau = keras.callbacks.ReduceLROnPlateau("loss", patience=1, factor=0.1, min_delta=1e9)
    fit(make_model(), striped, plateau, rates, stages_first=stages_first)
    expected = [1e-2, 1e-2, 1e-3]  # the second epoch does not improve by 1e9
    assert rates.rates == pytest.approx(2 * expected)


@both_orders
def test_the_best_checkpoint_is_of_finetune(make_model, striped, tmp_path, stages_first):
    path = tmp_path / "best.keras"
    checkpoint = keras.callbacks.ModelCheckpoint(path, monitor="loss", save_best_only=True)
    history = fit(make_model(), striped, checkpoint, stages_first=stages_first)
    assert min(history["pretrain_loss"]) < min(history["finetune_loss"])  # or this shows nothing
    assert checkpoint.best == min(history["finetune_loss"])
    assert keras.saving.load_model(path).stage == "finetune"


@both_orders
@pytest.mark.parametrize("killed_after", [0, PRETRAIN - 1, PRETRAIN, EPOCHS - 2])
def test_backup_and_restore_resumes_bit_for_bit(
    make_model, striped, tmp_path, plain, stages_first, killed_after
):
    expected, _ = plain

    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup", delete_checkpoint=False)

    with pytest.raises(Killed):
        fit(
            make_model(),
            striped,
            backup(),
            KillIn(killed_after, "on_epoch_end"),
            stages_first=stages_first,
        )
    resumed = make_model(seed=99)
    history = fit(resumed, striped, backup(), stages_first=stages_first)
    assert history["stage"] == (PRETRAIN * [1] + (EPOCHS - PRETRAIN) * [2])[killed_after + 1 :]
    assert_same_weights(resumed, expected)


@both_orders
def test_a_scheduler_sets_the_rate_from_the_first_epoch_of_a_stage(
    make_model, striped, stages_first
):
    rates = Rates()
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.5 ** (epoch + 1))
    fit(make_model(), striped, scheduler, rates, stages_first=stages_first)
    assert rates.rates == [0.5 ** (epoch + 1) for epoch in range(EPOCHS)]


@both_orders
def test_the_csv_file_has_the_columns_of_both_stages(make_model, striped, tmp_path, stages_first):
    path = tmp_path / "log.csv"
    history = fit(make_model(), striped, keras.callbacks.CSVLogger(path), stages_first=stages_first)
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    for stage, of_stage in (("pretrain", rows[:PRETRAIN]), ("finetune", rows[PRETRAIN:])):
        assert [float(row[f"{stage}_loss"]) for row in of_stage] == history[f"{stage}_loss"]
    assert [row["finetune_saturation"] for row in rows[:PRETRAIN]] == PRETRAIN * ["nan"]
    assert [float(row["stage"]) for row in rows] == history["stage"]
    assert np.isfinite(history["loss"]).all()
    assert len(history["pretrain_accuracy"]) == PRETRAIN


def test_terminate_on_nan_stops_without_an_error(make_model, striped):
    images = np.full_like(striped[0], np.nan, dtype="float32")
    history = fit(make_model(), (images, striped[1]), keras.callbacks.TerminateOnNaN())
    assert len(history["loss"]) == 1


@both_orders
def test_averaged_weights_are_those_of_two_trainings(make_model, striped, stages_first):
    def averaging_model():
        model = make_model()
        model.compile(keras.optimizers.Adam(use_ema=True, ema_momentum=0.5))
        return model

    def swap():
        return keras.callbacks.SwapEMAWeights(swap_on_epoch=True)

    together, apart = averaging_model(), averaging_model()
    fit(together, striped, swap(), stages_first=stages_first)
    for stage, epochs in (("pretrain", PRETRAIN), ("finetune", EPOCHS - PRETRAIN)):
        apart.begin_stage(stage)
        apart.fit(
            *striped, batch_size=16, epochs=epochs, shuffle=False, verbose=0, callbacks=[swap()]
        )
    for found, expected in zip(together.weights, apart.weights, strict=True):
        np.testing.assert_allclose(
            ops.convert_to_numpy(found), ops.convert_to_numpy(expected), atol=1e-6
        )


STAGE_LOSSES = {"pretrain_loss", "finetune_loss"}


@both_orders
def test_tensorboard_and_lambda_callbacks_see_both_stages(
    make_model, striped, tmp_path, stages_first
):
    pytest.importorskip("tensorboard")
    seen = []
    see = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(sorted(set(logs) & STAGE_LOSSES))
    )
    board = keras.callbacks.TensorBoard(tmp_path, update_freq="epoch")
    fit(make_model(), striped, see, board, stages_first=stages_first)
    assert seen == PRETRAIN * [["pretrain_loss"]] + (EPOCHS - PRETRAIN) * [["finetune_loss"]]
    events = b"".join(path.read_bytes() for path in (tmp_path / "train").iterdir())
    assert all(name.encode() in events for name in STAGE_LOSSES)


def test_a_progress_bar_of_ones_own_shows_the_loss_of_the_stage(make_model, striped, capsys):
    fit(make_model(), striped, keras.callbacks.ProgbarLogger(), verbose=2)
    printed = capsys.readouterr().out
    assert printed.count("pretrain_loss:") == PRETRAIN
    assert printed.count("finetune_loss:") == EPOCHS - PRETRAIN


@both_orders
def test_a_callback_can_ask_for_the_stage(make_model, striped, stages_first):
    class Asks(keras.callbacks.Callback):
        seen = ()

        def on_stage_begin(self, stage):
            self.seen += ((stage, self.model.stage),)

    asks = Asks()
    fit(make_model(), striped, asks, stages_first=stages_first)
    assert asks.seen == (("finetune", "finetune"),)


def test_two_callbacks_that_run_stages_are_refused(make_model, striped):
    with pytest.raises(ValueError, match="one callback runs the stages .*Received: 2"):
        fit(make_model(), striped, TwoStageTraining(1))


def test_loading_weights_enters_their_stage(make_model, striped, tmp_path, plain):
    trained, _ = plain
    trained.save_weights(tmp_path / "finetune.weights.h5")
    model = make_model(seed=5)
    model.begin_stage("pretrain")
    model.load_weights(tmp_path / "finetune.weights.h5")
    assert model.stage == "finetune"
    assert int(model.optimizer.iterations) == int(trained.optimizer.iterations) > 0
    assert_same_weights(model, trained)
