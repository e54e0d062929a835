"""The exponentiated hashing loss and its bilinear smooth approximation.

For codes of B bits, `a = scale / B`, and a pair with `s = +1` (similar) or `-1`:

    exponentiated   l = exp(-a s <h_i, h_j>)
    bilinear        L = prod_k (cosh a - s h_ik h_jk sinh a)

Both agree where the codes are binary. The bilinear form is also the expectation of the
exponentiated loss when bit k of item i is drawn +1 with probability `(1 + h_ik) / 2`; it
is linear in each coordinate, so its minimum over the cube lies at a vertex and no
quantization penalty is needed.

The objective is named after Mu and Liu, "Deep Hashing: A Joint Approach for Image
Signature Learning" (AAAI 2017); the formulas are derived here, not quoted from it.
"""

import math

import keras
from keras import ops

from tfhash.losses import pairs
from tfhash.losses.pair_loss import PairLoss

# exp(-2 scale), the smallest intermediate value, must be a normal float32.
MAX_SCALE = 40.0

# Longest series that is still cheaper than a loop over the bits (see `_series_length`).
MAX_SERIES_LENGTH = 128


def exponentiated_pair_loss(left, right, similar, scale):
    """Exponentiated loss of every pair: `exp(-a s <h_i, h_j>)`, `a = scale / B`.

    Args:
        left: Codes `[n, B]`, relaxed (in [-1, 1]) or binary, float.
        right: Codes `[m, B]`.
        similar: Booleans `[n, m]`, True where the pair shares a label.
        scale: Sharpness in (0, 40]: the loss runs from exp(-scale) to exp(scale).

    Returns:
        Float `[n, m]`, all positive.

    Example:

    >>> import numpy as np
    >>> codes = np.array([[1.0, 1.0], [1.0, -1.0]], "float32")
    >>> loss = exponentiated_pair_loss(codes, codes, np.eye(2, dtype=bool), scale=1.0)
    >>> bool(np.allclose(loss, [[np.exp(-1.0), 1.0], [1.0, np.exp(-1.0)]]))
    True

    Reference: derived here, after Mu and Liu (AAAI 2017).
    """
    bits = left.shape[-1]
    sign = pairs.sign_of_pairs(similar, left.dtype)
    return ops.exp(-(scale / bits) * sign * ops.matmul(left, ops.transpose(right)))


def bilinear_pair_loss(left, right, similar, scale):
    """Bilinear smooth approximation of every pair: `prod_k (cosh a - s u_k sinh a)`.

    Here `u = h_i * h_j` and `a = scale / B`. No tensor is larger than `[n, m]` or
    `[n, B M]` with M the length of a short power series.

    Args:
        left: Relaxed codes `[n, B]` in [-1, 1], float; values outside count as the nearest of these.
        right: Relaxed codes `[m, B]`.
        similar: Booleans `[n, m]`, True where the pair shares a label.
        scale: Sharpness in (0, 40].

    Returns:
        Float `[n, m]`, all positive.

    Example: an undecided bit (0) gives the mean of both values.

    >>> import numpy as np
    >>> from keras import ops
    >>> left, right = np.array([[1.0, 0.0]], "float32"), np.array([[1.0, 1.0]], "float32")
    >>> loss = bilinear_pair_loss(left, right, np.array([[True]]), scale=2.0)
    >>> expected = np.exp(-1.0) * (np.exp(-1.0) + np.exp(1.0)) / 2
    >>> bool(np.allclose(ops.convert_to_numpy(loss), expected))
    True

    Reference: derived here, after Mu and Liu (AAAI 2017).
    """
    # Outside of the cube the form may be negative.
    left, right = pairs.into_cube(left), pairs.into_cube(right)
    a = scale / left.shape[-1]
    length = _series_length(math.tanh(a), _epsilon(left.dtype))
    if length <= MAX_SERIES_LENGTH:
        log_loss = log_bilinear_by_series(left, right, similar, scale, length)
    else:
        log_loss = log_bilinear_by_bits(left, right, similar, scale)
    return ops.exp(log_loss)


def log_bilinear_by_bits(left, right, similar, scale):
    """Logarithm of the bilinear pair loss, one bit at a time.

    Works for every scale, but its gradient keeps one `[n, m]` tensor per bit, so
    `bilinear_pair_loss` uses it only where the series is long, which means few bits.
    """
    bits = left.shape[-1]
    a = scale / bits
    sign = pairs.sign_of_pairs(similar, left.dtype)
    log_loss = scale
    for k in range(bits):
        agreement = sign * ops.expand_dims(left[:, k], 1) * ops.expand_dims(right[:, k], 0)
        # cosh a - u sinh a = e^a ((1 - u) + (1 + u) e^-2a) / 2
        log_loss += ops.log((1 - agreement + (1 + agreement) * math.exp(-2 * a)) / 2)
    return log_loss


def log_bilinear_by_series(left, right, similar, scale, length=None):
    """Logarithm of the bilinear pair loss by the power series of log(1 - x).

    With `t = tanh a`: `sum_k log(1 - s t u_k) = - sum_m (s t)^m / m <h_i^m, h_j^m>`. The even
    powers do not depend on the sign s, so the even and the odd powers take one matrix product each.

    Args:
        left, right, similar, scale: As in `bilinear_pair_loss`.
        length: Number of terms; by default what the precision of the codes needs.
    """
    bits = left.shape[-1]
    a = scale / bits
    if length is None:
        length = _series_length(math.tanh(a), _epsilon(left.dtype))
    sign = pairs.sign_of_pairs(similar, left.dtype)
    odd, even = (
        _sum_of_powers(left, right, math.tanh(a), range(first, length + 1, 2)) for first in (1, 2)
    )
    return bits * _log_cosh(a) - even - sign * odd


@keras.saving.register_keras_serializable("tfhash")
class ExponentiatedHashingLoss(PairLoss):
    """Exponentiated hashing loss over all pairs of a batch.

    The value of an item is the mean loss of its similar pairs plus the mean loss of its dissimilar
    pairs in the batch, so a batch should hold several items of each class (256 images of ten classes
    do). Memory is O(n^2 + n B) for a batch of n, or O(n^2 B) if `scale / B` is above about 1.4 (a
    large scale with few bits).

    Args:
        scale: Sharpness in (0, 40]. A pair of binary codes costs exp(-scale) when every bit is right
            and exp(scale) when every bit is wrong.
        approximation: `"bilinear"`, the smooth approximation over relaxed codes, or
            `None`, the plain exponential of the relaxed inner product.
        reduction: As in `keras.losses.Loss`; `None` gives the values of the samples.
        name: Name of the loss.
        dtype: Type of the computation, by default `keras.config.floatx()`.

    Call arguments:
        y_true: Labels: integers `[n]`, or multi-hot `[n, C]`, 0 or 1, where two items are similar
            if they share any label.
        y_pred: Relaxed codes `[n, B]` in [-1, 1]. Values outside count as the nearest of these, and
            are pulled as these are.
        sample_weight: Optional weights `[n]` of the anchors. An item of weight 0 takes no part at all.

    Raises:
        ValueError: If an argument is out of range, labels or codes have a wrong rank or different
            lengths, or NumPy labels are NaN, mixed or smoothed.

    Example:

    >>> import numpy as np
    >>> loss = ExponentiatedHashingLoss(scale=1.0)
    >>> codes = np.array([[1, 1], [1, 1], [-1, -1]], "float32")
    >>> round(float(loss(np.array([0, 0, 1]), codes)), 4)
    0.6131

    Reference: derived here, after Mu and Liu, "Deep Hashing: A Joint Approach for Image
    Signature Learning" (AAAI 2017).
    """

    def __init__(
        self,
        scale=2.0,
        approximation="bilinear",
        reduction="sum_over_batch_size",
        name="exponentiated_hashing_loss",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        if not 0 < scale <= MAX_SCALE:
            raise ValueError(f"`scale` must be in (0, {MAX_SCALE:g}]. Received: scale={scale!r}")
        if approximation not in ("bilinear", None):
            raise ValueError(
                '`approximation` must be "bilinear" or None. '
                f"Received: approximation={approximation!r}"
            )
        self.scale = float(scale)
        self.approximation = approximation

    def values(self, similar, codes, between):
        pair_loss = bilinear_pair_loss if self.approximation else exponentiated_pair_loss
        of_pairs = pair_loss(codes, codes, similar, self.scale)
        return pairs.balanced_pair_mean(of_pairs, similar, between)

    def get_config(self):
        return {
            **super().get_config(),
            "scale": self.scale,
            "approximation": self.approximation,
        }


def _sum_of_powers(left, right, t, exponents):
    """`sum_m t^m / m (left^m)(right^m)^T` over `exponents`, as one matrix product."""
    if not exponents:
        return ops.zeros((), left.dtype)
    roots = [math.sqrt(t**m / m) for m in exponents]
    stacked = (
        ops.concatenate([root * codes**m for root, m in zip(roots, exponents)], axis=1)
        for codes in (left, right)
    )
    left_powers, right_powers = stacked
    return ops.matmul(left_powers, ops.transpose(right_powers))


def _series_length(t, epsilon):
    """Number of terms after which the rest of the series is below `epsilon`.

    At most `MAX_SERIES_LENGTH + 1`; t may round to 1, for which no length is enough.
    """
    length = 1
    while length <= MAX_SERIES_LENGTH and (t ** (length + 1) > epsilon * (length + 1) * (1 - t)):
        length += 1
    return length


def _epsilon(dtype):
    return 2.0**-53 if keras.backend.standardize_dtype(dtype) == "float64" else 2.0**-24


def _log_cosh(a):
    # log((e^a + e^-a) / 2) without overflow.
    return a + math.log1p(math.exp(-2 * a)) - math.log(2)
