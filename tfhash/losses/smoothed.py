"""Cross-entropy of softened labels, for pre-training."""

import keras
from keras import ops

from tfhash import labels
from tfhash.losses.center_loss import cross_entropy


@keras.saving.register_keras_serializable("tfhash")
class SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy of class logits against labels that are only nearly certain.

    The label of an item keeps `1 - smoothing` of the probability; the rest is shared by all
    classes alike. A network trained so does not drive its logits apart without end, and its
    features gather more tightly by class.

    Args:
        smoothing: Share of the probability that all classes share, in [0, 1).
        name, reduction, dtype: Arguments of `keras.losses.Loss`.

    Call arguments:
        y_true: Integer labels `[n]`, or multi-hot labels `[n, C]`, equally likely each.
        y_pred: Logits `[n, C]`.

    Raises:
        ValueError: If `smoothing` is out of range, or multi-hot labels have another number of
            classes than the logits.

    Example: two classes, logits that favor neither.

    >>> import numpy as np
    >>> loss = SmoothedCrossentropy(0.2)
    >>> round(float(loss(np.array([1]), np.array([[0.0, 0.0]]))), 4)
    0.6931

    Reference: Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, "Rethinking the Inception Architecture
    for Computer Vision" (CVPR 2016), section 7.
    """

    def __init__(
        self,
        smoothing=0.1,
        name="smoothed_crossentropy",
        reduction="sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        if not 0 <= smoothing < 1:
            raise ValueError(f"`smoothing` must be in [0, 1). Received: smoothing={smoothing!r}")
        self.smoothing = smoothing

    def call(self, y_true, y_pred):
        memberships = labels.memberships(y_true, y_pred.shape[1], y_pred.dtype)
        even = ops.ones_like(memberships)
        return (1 - self.smoothing) * cross_entropy(y_pred, memberships) + (
            self.smoothing * cross_entropy(y_pred, even)
        )

    def get_config(self):
        return {**super().get_config(), "smoothing": self.smoothing}
