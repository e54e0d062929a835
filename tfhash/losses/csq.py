"""CSQ: codes near the center of their class."""

import keras
import numpy as np
from keras import ops

from tfhash.losses import pairs
from tfhash.losses.center_loss import CenterLoss


@keras.saving.register_keras_serializable("tfhash")
class CSQLoss(CenterLoss):
    """Cross-entropy between the bits of a code and those of its class's center.

    With `p = (1 + h) / 2` the probability of a bit and c the center's bit, 1 or 0:

        L = mean_k -(c_k log p_k + (1 - c_k) log(1 - p_k)) + lambda sum_k log cosh(|h_k| - 1)

    For an item with several labels, each bit of the center is the majority of those of its labels; a
    random code breaks ties. An item without labels has no center and keeps the second term only.

    Args:
        num_classes: Number of classes.
        bits: Length of the codes.
        quantization_weight: The `lambda` above, >= 0.
        seed: Seed of the random code and of the centers; see `tfhash.losses.class_centers`.
        reduction, name, dtype: As in `keras.losses.Loss`.

    Call arguments:
        y_true: Labels: integers `[n]`, or multi-hot `[n, C]`.
        y_pred: Relaxed codes `[n, B]` in [-1, 1].

    Raises:
        ValueError: If an argument is out of range, or labels or codes have a wrong shape.

    Example: the center of class 1 is (1, -1).

    >>> import numpy as np
    >>> round(float(CSQLoss(2, bits=2)(np.array([1]), np.array([[0.5, -0.5]], "float32"))), 4)
    0.2877

    Reference: Yuan et al., "Central Similarity Quantization for Efficient Image and Video
    Retrieval" (CVPR 2020).
    """

    def __init__(
        self,
        num_classes,
        bits,
        quantization_weight=1e-4,
        seed=0,
        reduction="sum_over_batch_size",
        name="csq_loss",
        dtype=None,
    ):
        super().__init__(num_classes, bits, seed, reduction, name, dtype)
        self.quantization_weight = pairs.check_weight("quantization_weight", quantization_weight)
        # Random rather than all +1, which could be the center of another class.
        self._of_ties = np.random.default_rng((seed, bits)).choice([-1.0, 1.0], bits)

    def call(self, y_true, y_pred):
        memberships = self.memberships(y_true, y_pred)
        center = self.center_of(memberships)
        # The probability of the center's bit, above 0 although tanh may round to the wrong vertex.
        probability = ops.maximum((1 + center * pairs.into_cube(y_pred)) / 2, 1e-6)
        away = 1 - ops.abs(y_pred)
        # log cosh x, where x is in [0, 1]
        quantization = ops.sum(ops.log(ops.cosh(away)), axis=1)
        of_center = -ops.mean(ops.log(probability), axis=1) * ops.max(memberships, axis=1)
        return of_center + self.quantization_weight * quantization

    def center_of(self, memberships):
        """The centers of items with labels `[n, C]`, float `[n, B]`, values -1 and +1."""
        votes = ops.matmul(memberships, self.centers)
        of_ties = ops.cast(self._of_ties, votes.dtype)
        return ops.where(ops.equal(votes, 0), of_ties, ops.sign(votes))

    def get_config(self):
        return {**super().get_config(), "quantization_weight": self.quantization_weight}
