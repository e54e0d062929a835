"""A frozen backbone, and one that is frozen for the first epochs."""

import functools

import keras
import numpy as np
import pytest
from interruption import Killed
from keras import ops
from keras.optimizers.schedules import PolynomialDecay

from tfhash.callbacks import TwoStageTraining
from tfhash.optimizers import ContinuedSchedule

EPOCHS = 5


class Watch(keras.callbacks.Callback):
    """Keeps the backbone's weights and the learning rate after each epoch; kills where asked."""

    def __init__(self, kill_at=None):
        super().__init__()
        self.kill_at = kill_at
        self.backbones, self.rates = [], []

    def on_train_batch_end(self, batch, logs=None):
        if (len(self.backbones), batch) == self.kill_at:
            raise Killed

    def on_epoch_end(self, epoch, logs=None):
        self.backbones.append(weights(self.model.backbone))
        self.rates.append(float(self.model.optimizer.learning_rate))


def weights(model):
    return [ops.convert_to_numpy(weight) for weight in model.weights]


def fit(model, data, watch=None, pretrain_epochs=2, **arguments):
    stages = TwoStageTraining(
        pretrain_epochs, PolynomialDecay(1e-2, 8), PolynomialDecay(1e-2, 12), **arguments
    )
    callbacks = [stages] + ([watch] if watch else [])
    model.fit(*data, batch_size=16, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=callbacks)
    return model


@pytest.mark.parametrize("frozen_epochs", [0, 1, 2, 3, EPOCHS, EPOCHS + 1])
def test_the_backbone_is_as_it_was_for_so_many_epochs_batch_statistics_included(
    make_model, striped, frozen_epochs
):
    model, watch = make_model(), Watch()
    before = weights(model.backbone)
    fit(model, striped, watch, frozen_epochs=frozen_epochs)
    for epoch, after in enumerate(watch.backbones):
        same = [np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
        if epoch < frozen_epochs:
            assert all(same)
        else:
            assert not any(same)
    assert model.backbone_is_frozen == (frozen_epochs >= EPOCHS)


def test_heads_learn_on_a_frozen_backbone_and_codes_retrieve(make_model, striped):
    model = fit(make_model(backbone="convnet"), striped, frozen_epochs=EPOCHS)
    kernels = weights(model.hashing)
    assert not np.array_equal(kernels[0], weights(make_model(backbone="convnet").hashing)[0])
    codes = np.unpackbits(model.encode(striped[0]), axis=1).astype(int)
    distances = np.abs(codes[:, None] - codes[None]).sum(axis=-1)
    similar = striped[1][:, None] == striped[1]
    assert distances[similar].mean() < distances[~similar].mean()


@pytest.mark.parametrize("frozen_epochs", [1, 3])
def test_schedules_go_on_where_the_backbone_begins_to_train(make_model, striped, frozen_epochs):
    whole, thawed = Watch(), Watch()
    fit(make_model(), striped, whole)
    fit(make_model(), striped, thawed, frozen_epochs=frozen_epochs)
    # Four steps an epoch: two epochs of pre-training down to the end rate, then three.
    np.testing.assert_allclose(thawed.rates, whole.rates, rtol=1e-6)
    assert len(set(whole.rates)) > 3


@pytest.fixture(scope="module")
def uninterrupted(make_model, striped):
    """Trains once for each number of frozen epochs; gives the model and its watch."""

    @functools.cache
    def train(frozen_epochs):
        watch = Watch()
        return fit(make_model(), striped, watch, frozen_epochs=frozen_epochs), watch

    return train


@pytest.mark.parametrize("frozen_epochs", [1, 3, EPOCHS])
@pytest.mark.parametrize("kill_at", [(1, 1), (3, 0), (4, 2)], ids=str)
def test_a_killed_run_resumes_in_the_right_state_to_the_same_weights(
    make_model, striped, tmp_path, uninterrupted, frozen_epochs, kill_at
):
    whole, watch = uninterrupted(frozen_epochs)
    options = {"frozen_epochs": frozen_epochs, "backup_dir": tmp_path}
    with pytest.raises(Killed):
        fit(make_model(), striped, Watch(kill_at), **options)
    resumed, rest = make_model(seed=99), Watch()
    fit(resumed, striped, rest, **options)
    np.testing.assert_allclose(rest.rates, watch.rates[kill_at[0] :], rtol=1e-6)
    for expected, found in zip(weights(whole), weights(resumed), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert resumed.backbone_is_frozen == whole.backbone_is_frozen


def test_a_backup_with_other_frozen_epochs_is_refused(make_model, striped, tmp_path):
    fit(make_model(), striped, frozen_epochs=1, backup_dir=tmp_path)
    with pytest.raises(ValueError, match="has frozen_epochs=1. Received: frozen_epochs=2"):
        fit(make_model(), striped, frozen_epochs=2, backup_dir=tmp_path)
    with pytest.raises(ValueError, match="`frozen_epochs` must be an integer >= 0"):
        TwoStageTraining(1, frozen_epochs=-1)


def test_a_model_saved_while_its_schedule_goes_on_can_be_loaded_and_trained(
    make_model, striped, tmp_path
):
    model = make_model()
    fit(model, striped, frozen_epochs=4)
    assert isinstance(model.optimizer._learning_rate, ContinuedSchedule)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.optimizer._learning_rate.first_step == 8
    assert float(loaded.optimizer.learning_rate) == float(model.optimizer.learning_rate)
    loaded.fit(*striped, verbose=0)
