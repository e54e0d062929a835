"""GreedyHash: a classifier of binary codes with a straight-through gradient."""

import keras
from keras import ops

from tfhash import codes
from tfhash.losses import pairs
from tfhash.losses.center_loss import CenterLoss, cross_entropy


@keras.saving.register_keras_serializable("tfhash")
class GreedyHashLoss(CenterLoss):
    """Cross-entropy of a linear classifier of the signs, with a quantization penalty.

        L = cross_entropy(W sign(h), y) + alpha mean_k | |h_k| - 1 |^3

    The gradient of sign(h) is replaced by that of h. In the paper, W is learned and h is unbounded;
    here h is a relaxed code, and W is fixed, because a loss has no weights: row k is the center of
    class k, times `scale / B`.

    Args:
        num_classes: Number of classes.
        bits: Length of the codes.
        penalty_weight: The `alpha` above, >= 0.
        scale: Largest logit, > 0.
        seed: Seed of the centers; see `tfhash.losses.class_centers`.
        reduction, name, dtype: As in `keras.losses.Loss`.

    Call arguments:
        y_true: Labels: integers `[n]`, or multi-hot `[n, C]`, of which each is equally likely.
        y_pred: Relaxed codes `[n, B]` in [-1, 1].

    Raises:
        ValueError: If an argument is out of range, or labels or codes have a wrong shape.

    Example: the centers are (1, 1) and (1, -1), the logits 2 and 0.

    >>> import numpy as np
    >>> loss = GreedyHashLoss(2, bits=2, penalty_weight=0.0, scale=2.0)
    >>> round(float(loss(np.array([0]), np.array([[0.5, 0.1]], "float32"))), 4)
    0.1269

    Reference: Su, Zhang, Han and Tian, "Greedy Hash: Towards Fast Optimization for Accurate Hash
    Coding in CNN" (NeurIPS 2018).
    """

    def __init__(
        self,
        num_classes,
        bits,
        penalty_weight=0.1,
        scale=10.0,
        seed=0,
        reduction="sum_over_batch_size",
        name="greedyhash_loss",
        dtype=None,
    ):
        super().__init__(num_classes, bits, seed, reduction, name, dtype)
        self.penalty_weight = pairs.check_weight("penalty_weight", penalty_weight)
        self.scale = pairs.check_positive("scale", scale)

    def call(self, y_true, y_pred):
        memberships = self.memberships(y_true, y_pred)
        signs = ops.cast(codes.binarize(y_pred), y_pred.dtype)
        straight_through = y_pred + ops.stop_gradient(signs - y_pred)
        logits = self.scale / self.bits * ops.matmul(straight_through, self.centers.T)
        penalty = ops.mean(ops.abs(1 - ops.abs(y_pred)) ** 3, axis=1)
        return cross_entropy(logits, memberships) + self.penalty_weight * penalty

    def get_config(self):
        return {
            **super().get_config(),
            "penalty_weight": self.penalty_weight,
            "scale": self.scale,
        }
