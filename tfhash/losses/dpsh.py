"""DPSH: likelihood of the pairwise labels."""

import keras
from keras import ops

from tfhash.losses import pairs
from tfhash.losses.pair_loss import PairLoss


@keras.saving.register_keras_serializable("tfhash")
class DPSHLoss(PairLoss):
    """Negative log-likelihood of the pairs, with a quantization penalty.

    With `theta_ij = <u_i, u_j> / 2`, `s_ij` 1 or 0, and b the sign of u:

        L = - sum_ij (s_ij theta_ij - log(1 + exp(theta_ij))) + eta sum_i |b_i - u_i|^2

    The first sum is a mean over the other items of the batch here, and the second a mean over bits, so
    `quantization_weight` means the same for every batch size and code length.

    Args:
        quantization_weight: The `eta` above, >= 0.
        reduction, name, dtype: As in `keras.losses.Loss`.

    Call arguments:
        y_true: Labels: integers `[n]`, or multi-hot `[n, C]`.
        y_pred: Relaxed codes `[n, B]` in [-1, 1].

    Raises:
        ValueError: If an argument is out of range, or labels or codes have a wrong shape.

    Example:

    >>> import numpy as np
    >>> codes = np.array([[1, 1], [1, 1], [-1, -1]], "float32")
    >>> round(float(DPSHLoss()(np.array([0, 0, 1]), codes)), 4)
    0.3133

    Reference: Li, Wang and Kang, "Feature Learning based Deep Supervised Hashing with Pairwise
    Labels" (IJCAI 2016).
    """

    def __init__(
        self,
        quantization_weight=0.1,
        reduction="sum_over_batch_size",
        name="dpsh_loss",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.quantization_weight = pairs.check_weight("quantization_weight", quantization_weight)

    def values(self, similar, codes, between):
        theta = ops.matmul(codes, ops.transpose(codes)) / 2
        likelihood = ops.cast(similar, theta.dtype) * theta - ops.softplus(theta)
        quantization = pairs.distance_to_vertex(codes)
        return self.quantization_weight * quantization - pairs.row_mean(likelihood, between)

    def get_config(self):
        return {**super().get_config(), "quantization_weight": self.quantization_weight}
