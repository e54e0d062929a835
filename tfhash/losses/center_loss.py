"""Base class of objectives with one center per class."""

import numbers

from keras import ops

from tfhash import labels
from tfhash.losses import pairs
from tfhash.losses.centers import class_centers
from tfhash.losses.hashing_loss import HashingLoss


class CenterLoss(HashingLoss):
    """Pulls codes to the centers of `tfhash.losses.class_centers`."""

    def __init__(self, num_classes, bits, seed, reduction, name, dtype):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        for argument, value in (("num_classes", num_classes), ("bits", bits)):
            if not isinstance(value, numbers.Integral) or value < 1:
                raise ValueError(
                    f"`{argument}` must be an integer >= 1. Received: {argument}={value!r}"
                )
        self.num_classes, self.bits, self.seed = int(num_classes), int(bits), seed
        self.centers = class_centers(num_classes, bits, seed)

    def memberships(self, y_true, y_pred):
        """Checks the batch and returns 1 where an item has a label, float `[n, C]`."""
        pairs.check_batch(y_true, y_pred)
        if y_pred.shape[1] != self.bits:
            raise ValueError(
                f"codes must have shape [n, {self.bits}] for bits={self.bits}. "
                f"Received: y_pred of shape {tuple(y_pred.shape)}"
            )
        return labels.memberships(y_true, self.num_classes, y_pred.dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "bits": self.bits,
            "seed": self.seed,
        }


def cross_entropy(logits, memberships):
    """Cross-entropy of each item, float `[n]`; its labels are equally likely."""
    shares = memberships / ops.maximum(ops.sum(memberships, axis=1, keepdims=True), 1)
    return -ops.sum(shares * ops.log_softmax(logits, axis=1), axis=1)
