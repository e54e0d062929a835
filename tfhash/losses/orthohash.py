"""OrthoHash: a classifier by the cosine to binary centers, with a margin."""

import keras
from keras import ops

from tfhash.losses import pairs
from tfhash.losses.center_loss import CenterLoss, cross_entropy


@keras.saving.register_keras_serializable("tfhash")
class OrthoHashLoss(CenterLoss):
    """Cross-entropy over the cosines between a code and the centers of all classes.

    With the cosine `c_y` to the center of class y:

        L = -log(exp(s (c_y - m)) / (exp(s (c_y - m)) + sum_{k != y} exp(s c_k)))

    Args:
        num_classes: Number of classes.
        bits: Length of the codes.
        scale: The `s` above, > 0.
        margin: The `m` above, in [0, 2).
        seed: Seed of the centers; see `tfhash.losses.class_centers`.
        reduction, name, dtype: As in `keras.losses.Loss`.

    Call arguments:
        y_true: Labels: integers `[n]`, or multi-hot `[n, C]`, of which each is equally likely.
        y_pred: Relaxed codes `[n, B]` in [-1, 1].

    Raises:
        ValueError: If an argument is out of range, or labels or codes have a wrong shape.

    Example: the centers are (1, 1) and (1, -1), the cosines 1 and 0.

    >>> import numpy as np
    >>> loss = OrthoHashLoss(2, bits=2, scale=1.0, margin=0.5)
    >>> round(float(loss(np.array([0]), np.array([[0.5, 0.5]], "float32"))), 4)
    0.4741

    Reference: Hoe, Ng, Zhang, Chan, Song and Xiang, "One Loss for All: Deep Hashing with a Single
    Cosine Similarity based Learning Objective" (NeurIPS 2021).
    """

    def __init__(
        self,
        num_classes,
        bits,
        scale=8.0,
        margin=0.2,
        seed=0,
        reduction="sum_over_batch_size",
        name="orthohash_loss",
        dtype=None,
    ):
        super().__init__(num_classes, bits, seed, reduction, name, dtype)
        self.scale = pairs.check_positive("scale", scale)
        if not 0 <= margin < 2:
            raise ValueError(f"`margin` must be in [0, 2). Received: margin={margin!r}")
        self.margin = float(margin)

    def call(self, y_true, y_pred):
        memberships = self.memberships(y_true, y_pred)
        unit = pairs.unit_rows(y_pred)
        cosine = ops.matmul(unit, self.centers.T) / self.bits**0.5
        return cross_entropy(self.scale * (cosine - self.margin * memberships), memberships)

    def get_config(self):
        return {**super().get_config(), "scale": self.scale, "margin": self.margin}
