"""DCH: likelihood of the pairs under a Cauchy distribution of their distance."""

import keras
from keras import ops

from tfhash.losses import pairs
from tfhash.losses.pair_loss import PairLoss


@keras.saving.register_keras_serializable("tfhash")
class DCHLoss(PairLoss):
    """Negative log-likelihood of the pairs, similar with probability `gamma / (gamma + d)`.

    The distance is `d(x, y) = B / 2 (1 - cos(x, y))`, which for binary codes is Hamming's. With
    the weights of `tfhash.losses.pairs.class_balanced_pair_mean`:

        L = sum_ij w_ij (s_ij log(d_ij / gamma) + log(1 + gamma / d_ij))
            + lambda sum_i log(1 + d(|h_i|, 1) / gamma)

    The first sum is a mean over the pairs of an item here. The weights of the paper also grow with the
    share of common labels; here all similar pairs have the same weight.

    Args:
        gamma: Distance at which a pair is similar with probability 1/2, in bits, > 0; by default
            5 / 12 B, which is 20 of 48 bits.
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
    >>> round(float(DCHLoss(gamma=2.0)(np.array([0, 0, 1]), codes)), 3)
    0.693

    Reference: Cao, Long, Liu and Wang, "Deep Cauchy Hashing for Hamming Space Retrieval" (CVPR
    2018).
    """

    def __init__(
        self,
        gamma=None,
        quantization_weight=0.1,
        reduction="sum_over_batch_size",
        name="dch_loss",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.gamma = None if gamma is None else pairs.check_positive("gamma", gamma)
        self.quantization_weight = pairs.check_weight("quantization_weight", quantization_weight)

    def values(self, similar, codes, between):
        bits = codes.shape[1]
        gamma = 5 / 12 * bits if self.gamma is None else self.gamma
        unit = pairs.unit_rows(codes)
        distance = bits / 2 * (1 - ops.matmul(unit, ops.transpose(unit)))
        # Rounding must not make it negative; log(1 + gamma / d) stays finite.
        distance = ops.maximum(distance, 1e-4)
        # s log(d / gamma) + log(1 + gamma / d), for s = 1 and s = 0.
        pair_loss = ops.where(similar, ops.log1p(distance / gamma), ops.log1p(gamma / distance))
        to_vertex = bits / 2 * (1 - ops.mean(ops.abs(unit), axis=1) * bits**0.5)
        quantization = ops.log1p(ops.maximum(to_vertex, 0) / gamma)
        pair_term = pairs.class_balanced_pair_mean(pair_loss, similar, between)
        return pair_term + self.quantization_weight * quantization

    def get_config(self):
        return {
            **super().get_config(),
            "gamma": self.gamma,
            "quantization_weight": self.quantization_weight,
        }
