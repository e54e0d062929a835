"""DTSH: likelihood of the triplets of a batch."""

import keras
from keras import ops

from tfhash.losses import pairs
from tfhash.losses.pair_loss import PairLoss


@keras.saving.register_keras_serializable("tfhash")
class DTSHLoss(PairLoss):
    """Negative log-likelihood that similar items are nearer than dissimilar ones.

    With `theta_ij = <u_i, u_j> / 2`, over all triplets of an item i, a similar item j and a dissimilar
    item k:

        L = - sum_ijk log sigmoid(theta_ij - theta_ik - margin) + lambda sum_i |b_i - u_i|^2

    The first sum is a mean over the triplets of an item here, and the second a mean over bits. All
    triplets of a batch of n count, in O(n^3) time and O(n^2) memory.

    Args:
        margin: Margin in units of theta, >= 0; by default B / 4.
        quantization_weight: The `lambda` above, >= 0.
        reduction, name, dtype: As in `keras.losses.Loss`.

    Call arguments:
        y_true: Labels: integers `[n]`, or multi-hot `[n, C]`.
        y_pred: Relaxed codes `[n, B]` in [-1, 1].

    Raises:
        ValueError: If an argument is out of range, or labels or codes have a wrong shape.

    Example:

    >>> import numpy as np
    >>> codes = np.array([[1, 1], [1, 1], [-1, -1]], "float32")
    >>> round(float(DTSHLoss(margin=0.0)(np.array([0, 0, 1]), codes)), 4)
    0.0846

    Reference: Wang, Shi and Kitani, "Deep Supervised Hashing with Triplet Labels" (ACCV 2016).
    """

    def __init__(
        self,
        margin=None,
        quantization_weight=0.1,
        reduction="sum_over_batch_size",
        name="dtsh_loss",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.margin = None if margin is None else pairs.check_weight("margin", margin)
        self.quantization_weight = pairs.check_weight("quantization_weight", quantization_weight)

    def values(self, similar, codes, between):
        margin = codes.shape[1] / 4 if self.margin is None else self.margin
        theta = ops.matmul(codes, ops.transpose(codes)) / 2
        positive = ops.cast(similar, theta.dtype) * between
        quantization = pairs.distance_to_vertex(codes)
        triplets = triplet_mean(theta, positive, between - positive, margin)
        return triplets + self.quantization_weight * quantization

    def get_config(self):
        return {
            **super().get_config(),
            "margin": self.margin,
            "quantization_weight": self.quantization_weight,
        }


def triplet_mean(theta, positive, negative, margin):
    """Mean over the triplets of each anchor of `-log sigmoid(theta_ij - theta_ik - margin)`.

    Computed one anchor at a time, together with its gradient, because automatic differentiation would
    keep all n^3 triplets.

    Args:
        theta: Affinities, float `[n, n]`; row i belongs to anchor i.
        positive: 1 where the pair is similar, else 0, float `[n, n]`.
        negative: 1 where the pair is dissimilar, else 0, float `[n, n]`.
        margin: Float.

    Returns:
        Float `[n]`; 0 for an anchor without triplets.
    """

    def of_anchor(rows):
        affinity, is_positive, is_negative = rows
        count = ops.maximum(ops.sum(is_positive) * ops.sum(is_negative), 1)
        weights = ops.expand_dims(is_positive, 1) * ops.expand_dims(is_negative, 0) / count
        gap = ops.expand_dims(affinity, 1) - ops.expand_dims(affinity, 0) - margin
        slope = weights * ops.sigmoid(-gap)
        gradient = ops.sum(slope, axis=0) - ops.sum(slope, axis=1)
        return ops.sum(weights * ops.softplus(-gap)), gradient

    @ops.custom_gradient
    def mean(theta):
        values, gradients = ops.map(of_anchor, (theta, positive, negative))

        def backward(*arguments, upstream=None):
            (upstream,) = arguments if upstream is None else (upstream,)
            return ops.expand_dims(upstream, 1) * gradients

        return values, backward

    return mean(theta)
