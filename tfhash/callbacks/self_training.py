"""Pre-training on unlabeled images with pseudo-labels."""

import keras
import numpy as np


class SelfTraining(keras.callbacks.Callback):
    """Pre-trains a `tfhash.models.HashingModel` on unlabeled images too.

    The first epochs use labeled images only. Before each later epoch of pre-training, the network
    classifies the unlabeled images without augmentation; its confident predictions are their
    pseudo-labels in that epoch, in which the images are augmented. Fine-tuning uses labeled images
    only, because wrong pseudo-labels would pull codes of different classes together.

    The logs hold `pseudo_label_rate`, the share of unlabeled images with a pseudo-label.

    Args:
        batches: `tfhash.data.PartlyLabeledBatches`, the same that `fit` trains on.
        first_epoch: First epoch with pseudo-labels, counted from 0.
        pretrain_epochs: As in `TwoStageTraining`; later epochs have no pseudo-labels.
        confidence: Smallest probability of a class that becomes a pseudo-label, in [0, 1]. Label
            smoothing bounds the probabilities that a network learns to predict.
        batch_size: Images per step of classification.

    Raises:
        ValueError: If `confidence` is out of range.

    Example:

    >>> import keras, numpy as np
    >>> from tfhash.callbacks import TwoStageTraining
    >>> from tfhash.data import PartlyLabeledBatches
    >>> from tfhash.models import HashingModel, build_backbone
    >>> model = HashingModel(build_backbone("mlp", (8, 8, 1)), bits=12, num_classes=2)
    >>> model.compile(optimizer="adam")
    >>> images, labels = np.zeros((16, 8, 8, 1), "uint8"), np.array([0, 1] + 14 * [-1])
    >>> batches = PartlyLabeledBatches(images, labels, batch_size=4, seed=0)
    >>> callbacks = [SelfTraining(batches, 1, 2, confidence=0.0), TwoStageTraining(2)]
    >>> history = model.fit(batches, epochs=3, shuffle=False, verbose=0, callbacks=callbacks)
    >>> history.history["pseudo_label_rate"]
    [0.0, 1.0, 0.0]

    Reference: Lee, "Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for
    Deep Neural Networks" (ICML 2013 workshop); labels of unchanged images for changed ones and the
    bound on the confidence as in Sohn et al., "FixMatch: Simplifying Semi-Supervised Learning with
    Consistency and Confidence" (NeurIPS 2020).
    """

    def __init__(self, batches, first_epoch, pretrain_epochs, confidence=0.7, batch_size=256):
        super().__init__()
        if not 0 <= confidence <= 1:
            raise ValueError(f"`confidence` must be in [0, 1]. Received: confidence={confidence!r}")
        self.batches = batches
        self.first_epoch = first_epoch
        self.pretrain_epochs = pretrain_epochs
        self.confidence = confidence
        self.batch_size = batch_size

    def on_epoch_begin(self, epoch, logs=None):
        is_unlabeled = ~self.batches.is_labeled
        pseudo_labels = np.full(is_unlabeled.sum(), -1)
        if self.first_epoch <= epoch < self.pretrain_epochs:
            unlabeled = self.batches.images[is_unlabeled]
            logits = self.model.predict_logits(unlabeled, self.batch_size)
            pseudo_labels = confident_classes(logits, self.confidence)
        self.batches.begin_epoch(epoch, pseudo_labels)
        self._share = float(np.mean(pseudo_labels >= 0)) if len(pseudo_labels) else 0.0

    def on_epoch_end(self, epoch, logs=None):
        logs["pseudo_label_rate"] = self._share


def confident_classes(logits, confidence):
    """The class of each row of logits `[n, C]`, or -1 where its probability is below `confidence`.

    Example:

    >>> confident_classes(np.array([[0.0, 1.0], [9.0, 0.0]]), 0.9).tolist()
    [-1, 0]
    """
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    # The largest probability of a row: its odds are 1.
    is_sure = 1 / odds.sum(axis=1) >= confidence
    return np.where(is_sure, np.argmax(logits, axis=1), -1)
