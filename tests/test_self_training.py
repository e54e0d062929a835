"""Unlabeled images with pseudo-labels in pre-training."""

import keras
import numpy as np
import pytest
from interruption import Killed
from keras import ops

from tfhash.callbacks import SelfTraining, TwoStageTraining
from tfhash.callbacks.self_training import confident_classes
from tfhash.data import Augmentation, PartlyLabeledBatches

EPOCHS, FIRST_EPOCH, PRETRAIN_EPOCHS = 5, 2, 4


class Watch(keras.callbacks.Callback):
    """Records pseudo-labels and confident classes before each epoch; may kill the run."""

    def __init__(self, batches, confidence, kill_at=None):
        super().__init__()
        self.batches, self.confidence, self.kill_at = batches, confidence, kill_at
        self.pseudo_labels, self.sure = [], []

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.kill_at:
            raise Killed
        unlabeled = ~self.batches.is_labeled
        self.pseudo_labels.append(self.batches.labels[unlabeled].tolist())
        logits = self.model.predict_logits(self.batches.images[unlabeled])
        self.sure.append(confident_classes(logits, self.confidence).tolist())


def partly_labeled(striped):
    images, labels = striped
    return PartlyLabeledBatches(
        images,
        np.where(np.arange(len(labels)) < 8, labels, -1),
        batch_size=16,
        seed=0,
        augmentation=Augmentation(max_shift=1, cutout=3),
    )


def fit(model, batches, confidence=0.95, kill_at=None, **arguments):
    watch = Watch(batches, confidence, kill_at)
    history = model.fit(
        batches,
        epochs=EPOCHS,
        shuffle=False,
        verbose=0,
        callbacks=[
            SelfTraining(batches, FIRST_EPOCH, PRETRAIN_EPOCHS, confidence),
            watch,
            TwoStageTraining(PRETRAIN_EPOCHS, **arguments),
        ],
    )
    return watch, history.history


@pytest.fixture(scope="module")
def uninterrupted(make_model, striped):
    """A training that most tests compare with: its model, what was watched, and its history."""
    model = make_model()
    return model, *fit(model, partly_labeled(striped))


def test_pseudo_labels_are_the_confident_classes_before_each_epoch_of_pretraining(uninterrupted):
    _, watch, history = uninterrupted
    none = 56 * [-1]
    assert watch.pseudo_labels == [none, none, watch.sure[2], watch.sure[3], none]
    shares = [np.mean(np.array(pseudo_labels) >= 0) for pseudo_labels in watch.pseudo_labels]
    assert history["pseudo_label_rate"] == pytest.approx(shares)
    assert 0 < shares[2] < 1  # some are sure, some are not
    assert history["stage"] == [1, 1, 1, 1, 2]


def accuracy_on_unlabeled(model, batches, labels):
    classes = model.predict_logits(batches.images[~batches.is_labeled]).argmax(axis=1)
    return np.mean(classes == labels[~batches.is_labeled])


def test_pseudo_labels_are_right_and_harmful_ones_are_noticed(
    make_model, striped, uninterrupted, monkeypatch
):
    batches, labels = partly_labeled(striped), striped[1]
    helped, watch, _ = uninterrupted
    for pseudo_labels in watch.pseudo_labels[FIRST_EPOCH:PRETRAIN_EPOCHS]:
        is_sure = np.array(pseudo_labels) >= 0
        assert (np.array(pseudo_labels) == labels[8:])[is_sure].mean() > 0.9
    assert accuracy_on_unlabeled(helped, batches, labels) > 0.9

    def wrong(logits, confidence):
        sure = confident_classes(logits, confidence)
        return np.where(sure >= 0, 1 - sure, -1)

    monkeypatch.setattr("tfhash.callbacks.self_training.confident_classes", wrong)
    harmed = make_model()
    fit(harmed, batches, confidence=0.6)
    assert accuracy_on_unlabeled(harmed, batches, labels) < 0.7


def test_pseudo_labels_change_what_the_network_learns(make_model, striped, uninterrupted):
    alone, (helped, *_) = make_model(), uninterrupted
    fit(alone, partly_labeled(striped), confidence=1.0)
    same = [
        np.array_equal(ops.convert_to_numpy(one), ops.convert_to_numpy(other))
        for one, other in zip(alone.backbone.weights, helped.backbone.weights)
    ]
    assert not all(same)


@pytest.mark.parametrize("kill_at", [1, 3, 4])
def test_a_killed_run_resumes_to_the_same_weights(
    make_model, striped, tmp_path, uninterrupted, kill_at
):
    expected, _, history = uninterrupted
    with pytest.raises(Killed):
        fit(make_model(), partly_labeled(striped), kill_at=kill_at, backup_dir=tmp_path)
    resumed = make_model(seed=99)
    _, resumed_history = fit(resumed, partly_labeled(striped), backup_dir=tmp_path)
    assert resumed_history["pseudo_label_rate"] == history["pseudo_label_rate"]
    for one, other in zip(expected.weights, resumed.weights):
        one, other = ops.convert_to_numpy(one), ops.convert_to_numpy(other)
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_class_is_sure_from_the_confidence_on():
    # Probabilities of 1/4 and 3/4; of 1/2 and 1/2; and of numbers beyond what exp can hold.
    logits = np.array([[0.0, np.log(3)], [1.0, 1.0], [1e4, 0.0]])
    assert confident_classes(logits, 0.74).tolist() == [1, -1, 0]
    assert confident_classes(logits, 0.76).tolist() == [-1, -1, 0]
    assert confident_classes(logits, 0.5).tolist() == [1, 0, 0]
    assert confident_classes(logits[:0], 0.5).tolist() == []


def test_without_unlabeled_images_there_are_no_pseudo_labels(make_model, striped):
    images, labels = striped
    batches = PartlyLabeledBatches(images, labels, batch_size=16, seed=0)
    _, history = fit(make_model(), batches)
    assert history["pseudo_label_rate"] == EPOCHS * [0.0]


@pytest.mark.parametrize("confidence", [-0.1, 1.1])
def test_confidence_out_of_range_is_refused(striped, confidence):
    with pytest.raises(ValueError, match=f"Received: confidence={confidence}"):
        SelfTraining(partly_labeled(striped), 0, 1, confidence)
