"""Hardening of the relaxed codes."""

import keras


class TanhContinuation(keras.callbacks.Callback):
    """Raises the sharpness of a hashing layer, so that relaxed codes become nearly binary.

    Relaxed codes are `tanh(sharpness slope z)`, see `tfhash.layers.HashingLayer`. The sharpness is 1
    until the first epoch of fine-tuning and then grows by the same factor every epoch, to
    `last_sharpness` in the last. Use several epochs: with two it jumps, with one it stays at 1.

    Args:
        last_sharpness: Sharpness in the last epoch, >= 1.
        first_epoch: Last epoch with sharpness 1, counted from 0: the number of epochs of
            pre-training.

    Raises:
        ValueError: If an argument is out of range, or the model has no `HashingLayer` called
            `hashing`.

    Example:

    >>> import keras, numpy as np
    >>> from tfhash.models import HashingModel, build_backbone
    >>> model = HashingModel(build_backbone("mlp", (8, 8, 1)), bits=12, num_classes=2)
    >>> model.compile(optimizer="adam")
    >>> images, labels = np.zeros((16, 8, 8, 1), "uint8"), np.arange(16) % 2
    >>> history = model.fit(images, labels, epochs=3, verbose=0, callbacks=[TanhContinuation(4.0)])
    >>> history.history["sharpness"]
    [1.0, 2.0, 4.0]

    Reference: Cao, Long, Wang and Yu, "HashNet: Deep Learning to Hash by Continuation" (ICCV
    2017); the geometric schedule is derived here.
    """

    def __init__(self, last_sharpness=10.0, first_epoch=0):
        super().__init__()
        if not last_sharpness >= 1:
            raise ValueError(
                f"`last_sharpness` must be at least 1. Received: last_sharpness={last_sharpness!r}"
            )
        if first_epoch < 0:
            raise ValueError(f"`first_epoch` must be at least 0. Received: {first_epoch!r}")
        self.last_sharpness = float(last_sharpness)
        self.first_epoch = first_epoch

    def sharpness_of(self, epoch):
        """The sharpness in an epoch, counted from 0."""
        steps = max(1, self.params["epochs"] - 1 - self.first_epoch)
        return self.last_sharpness ** (max(0, epoch - self.first_epoch) / steps)

    def on_train_begin(self, logs=None):
        if not hasattr(getattr(self.model, "hashing", None), "sharpness"):
            raise ValueError(
                "`TanhContinuation` trains a built model with a `HashingLayer` as its attribute "
                f"`hashing`. Received: a {type(self.model).__name__}"
            )

    def on_epoch_begin(self, epoch, logs=None):
        self.model.hashing.sharpness.assign(self.sharpness_of(epoch))

    def on_epoch_end(self, epoch, logs=None):
        logs["sharpness"] = self.sharpness_of(epoch)
