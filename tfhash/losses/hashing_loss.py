"""Base class of all objectives: how labels and weights reach them."""

import keras
import numpy as np
from keras import ops

from tfhash import labels as labels_lib
from tfhash.losses import pairs


class HashingLoss(keras.losses.Loss):
    """Computes a value for each item, from labels as they are.

    Keras passes labels in the precision of the codes, in which integers of 2^24 and more merge. Here
    integers stay integers. Where labels are NumPy arrays, NaN and multi-hot labels between 0 and 1 are
    refused; elsewhere, as in a compiled training step, they make the loss NaN.
    """

    def __call__(self, y_true, y_pred, sample_weight=None):
        if isinstance(y_true, (list, tuple)):
            y_true = np.asarray(y_true)
        if isinstance(y_true, np.ndarray):
            labels_lib.check_values(y_true)
            y_true = self.as_exact(y_true)
        y_true = ops.convert_to_tensor(y_true)
        y_pred = ops.convert_to_tensor(y_pred, dtype=self.dtype)
        pairs.check_batch(y_true, y_pred)
        values = self.of_items(y_true, y_pred, sample_weight)
        reduced = _Values(reduction=self.reduction, name=self.name, dtype=self.dtype)
        return reduced(values, values, sample_weight)

    def as_exact(self, labels):
        """NumPy labels as the backend can hold them."""
        return labels

    def of_items(self, y_true, y_pred, sample_weight):
        """The loss of each item before it is weighted, float `[n]`."""
        del sample_weight
        return self.call(y_true, y_pred)


class _Values(keras.losses.Loss):
    """Weighs and reduces values as every loss of Keras does."""

    def call(self, y_true, y_pred):
        return y_pred
