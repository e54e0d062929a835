"""Retrieval quality during `fit`: in which epochs, and what is logged."""

import keras
import pytest
from interruption import Killed, KillIn

from tfhash import metrics
from tfhash.callbacks import RetrievalEvaluation, TwoStageTraining


def fit(model, data, epochs=5, pretrain_epochs=2, callbacks=(), **arguments):
    stages = TwoStageTraining(pretrain_epochs, **arguments)
    history = model.fit(
        *data, batch_size=16, epochs=epochs, verbose=0, callbacks=[*callbacks, stages]
    )
    return stages, history


def test_retrieval_evaluation_logs_what_the_metrics_give(make_model, striped):
    model = make_model()
    images, labels = striped
    evaluation = RetrievalEvaluation((images[:10], labels[:10]), (images, labels))
    _, history = fit(model, striped, callbacks=[evaluation])
    packed = model.encode(images)
    histograms = metrics.distance_histograms(packed[:10], packed, labels[:10], labels, model.bits)
    assert history.history["val_map"][-1] == metrics.mean_average_precision(histograms)
    assert history.history["val_precision_radius_2"][-1] == pytest.approx(
        metrics.precision_within_radius(histograms, 2)
    )


def test_queries_search_each_other_where_no_database_is_given(make_model, striped):
    model, (images, labels) = make_model(), striped
    _, history = fit(model, striped, callbacks=[RetrievalEvaluation((images[:9], labels[:9]))])
    histograms = metrics.leave_one_out_histograms(model.encode(images[:9]), labels[:9], model.bits)
    assert history.history["val_map"][-1] == metrics.mean_average_precision(histograms)


def test_retrieval_evaluation_runs_every_few_epochs_and_after_the_last(make_model, striped):
    evaluation = RetrievalEvaluation(striped, striped, every=2)
    stages, _ = fit(make_model(), striped, callbacks=[evaluation])
    assert ["val_map" in logs for logs in stages.epoch_logs] == [False, True, False, True, True]


def test_retrieval_evaluation_runs_in_the_last_epoch_after_pretraining_ended_early(
    make_model, striped, tmp_path
):
    """Alone, and in a run that is resumed after pre-training."""
    # No epoch is better by 10: pre-training ends after 2 of 4 epochs, so 3 of fine-tuning are epochs
    # 3 to 5 of 7.
    stopping = keras.callbacks.EarlyStopping("pretrain_loss", patience=1, min_delta=10, mode="min")
    arguments = {"epochs": 7, "pretrain_epochs": 4, "backup_dir": tmp_path}
    evaluation = RetrievalEvaluation(striped, striped, every=3)
    with pytest.raises(Killed):
        fit(
            make_model(),
            striped,
            callbacks=[evaluation, stopping, KillIn(4, "on_epoch_begin")],
            **arguments,
        )
    stages, history = fit(make_model(), striped, callbacks=[evaluation, stopping], **arguments)
    assert [logs["stage"] for logs in stages.epoch_logs] == [1, 1, 2, 2, 2]
    assert ["val_map" in logs for logs in stages.epoch_logs] == [False, False, True, False, True]
    assert len(history.history["val_map"]) == 2


def test_retrieval_evaluation_of_a_run_that_stops_early_is_in_the_history(make_model, striped):
    model, seen = make_model(), []
    callbacks = [
        RetrievalEvaluation(striped, striped, every=3),
        keras.callbacks.EarlyStopping("loss", patience=1, min_delta=1e9, mode="min"),
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(set(logs))),
    ]
    history = model.fit(*striped, epochs=9, verbose=0, callbacks=callbacks).history
    assert len(history["loss"]) == 2
    packed = model.encode(striped[0])
    histograms = metrics.distance_histograms(packed, packed, striped[1], striped[1], model.bits)
    assert history["val_map"] == [metrics.mean_average_precision(histograms)]
    assert not any("val_map" in names for names in seen)


def test_retrieval_evaluation_can_wait_for_the_codes_to_be_trained(make_model, striped):
    evaluation = RetrievalEvaluation(striped, striped, first_epoch=3)
    stages, _ = fit(make_model(), striped, callbacks=[evaluation])
    assert ["val_map" in logs for logs in stages.epoch_logs] == [False] * 3 + [True] * 2


def test_checkpoint_and_early_stopping_work_on_val_map(make_model, striped, tmp_path):
    callbacks = [
        RetrievalEvaluation(striped, striped),
        keras.callbacks.ModelCheckpoint(
            tmp_path / "best.keras", monitor="val_map", mode="max", save_best_only=True
        ),
        keras.callbacks.EarlyStopping(monitor="val_map", mode="max", patience=0, min_delta=1.0),
    ]
    _, history = fit(make_model(), striped, callbacks=callbacks)
    # No epoch can be better by 1.0: each stage stops after its second.
    assert history.history["stage"] == [1, 1, 2, 2]
    assert (tmp_path / "best.keras").exists()


@pytest.mark.parametrize("given", [{"every": 0}, {"every": 1.5}, {"radius": 2.9}, {"radius": -1}])
def test_epochs_and_bits_are_integers_in_range(striped, given):
    (name,) = given
    with pytest.raises(ValueError, match=f"`{name}` must be an integer >= "):
        RetrievalEvaluation(striped, **given)
