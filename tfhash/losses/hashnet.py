"""HashNet: weighted likelihood of the pairs, for codes that harden during training."""

import keras
from keras import ops

from tfhash.losses import pairs
from tfhash.losses.pair_loss import PairLoss


@keras.saving.register_keras_serializable("tfhash")
class HashNetLoss(PairLoss):
    """Negative log-likelihood of the pairs, with the same weight for both kinds.

    With `s_ij` 1 or 0 and the weights of `tfhash.losses.pairs.class_balanced_pair_mean`:

        L = sum_ij w_ij (log(1 + exp(alpha <h_i, h_j>)) - alpha s_ij <h_i, h_j>)

    The weights of the paper also grow with the share of common labels; here all similar pairs have the
    same weight. Use it with `tfhash.callbacks.TanhContinuation`, which hardens the codes.

    Args:
        alpha: Slope of the likelihood, > 0; by default 10 / B.
        reduction, name, dtype: As in `keras.losses.Loss`.

    Call arguments:
        y_true: Labels: integers `[n]`, or multi-hot `[n, C]`.
        y_pred: Relaxed codes `[n, B]` in [-1, 1].

    Raises:
        ValueError: If an argument is out of range, or labels or codes have a wrong shape.

    Example:

    >>> import numpy as np
    >>> codes = np.array([[1, 1], [1, 1], [-1, -1]], "float32")
    >>> round(float(HashNetLoss(alpha=1.0)(np.array([0, 0, 1]), codes)), 4)
    0.2539

    Reference: Cao, Long, Wang and Yu, "HashNet: Deep Learning to Hash by Continuation" (ICCV
    2017).
    """

    def __init__(
        self, alpha=None, reduction="sum_over_batch_size", name="hashnet_loss", dtype=None
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.alpha = None if alpha is None else pairs.check_positive("alpha", alpha)

    def values(self, similar, codes, between):
        alpha = 10 / codes.shape[1] if self.alpha is None else self.alpha
        product = alpha * ops.matmul(codes, ops.transpose(codes))
        pair_loss = ops.softplus(product) - ops.cast(similar, product.dtype) * product
        return pairs.class_balanced_pair_mean(pair_loss, similar, between)

    def get_config(self):
        return {**super().get_config(), "alpha": self.alpha}
