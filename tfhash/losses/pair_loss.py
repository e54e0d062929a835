"""Base class of objectives over the pairs of a batch."""

import numpy as np
from keras import ops

from tfhash import labels as labels_lib
from tfhash.losses import pairs, replicas
from tfhash.losses.hashing_loss import HashingLoss


class PairLoss(HashingLoss):
    """Passes the pairs of the whole batch to `values`.

    `sample_weight` weighs the items as anchors. An item of weight 0 takes no part: it is no partner of
    others either.

    Under a `tf.distribute` strategy, the whole batch is that of all replicas: an item forms pairs with
    the items of the other replicas too, and the loss is that of one device. Replicas with different
    numbers of items weigh alike, as in every Keras loss.
    """

    def call(self, y_true, y_pred):
        return self.of_items(y_true, y_pred, sample_weight=None)

    def of_items(self, y_true, y_pred, sample_weight):
        pairs.check_batch(y_true, y_pred)
        weights = 1.0 if sample_weight is None else sample_weight
        weights = ops.reshape(ops.cast(weights, y_pred.dtype), (-1,))
        weights = ops.broadcast_to(weights, ops.shape(y_pred)[:1])
        takes_part = ops.cast(ops.not_equal(weights, 0), y_pred.dtype)
        is_broken = ops.logical_and(labels_lib.are_broken(y_true), takes_part > 0)
        y_true, y_pred, takes_part, own = replicas.gather(y_true, y_pred, takes_part)
        similar = labels_lib.similar(y_true, y_true)
        values = own(self.values(similar, y_pred, pairs.between(takes_part)))
        return ops.where(is_broken, float("nan"), values)

    def as_exact(self, labels):
        if labels.dtype.kind not in "iu" or labels_lib.is_multi_hot(labels):
            return labels
        # Numbered anew: only which are equal counts, and JAX has integers of 32 bits.
        _, numbers = np.unique(labels, return_inverse=True)
        return numbers.reshape(labels.shape).astype("int32")

    def values(self, similar, codes, between):
        """The loss of each item.

        Args:
            similar: Booleans `[n, n]`, True where two items share a label.
            codes: Relaxed codes `[n, B]`.
            between: Float `[n, n]`, 1 for the pairs of two items that take part, else 0.

        Returns:
            Float `[n]`.
        """
        raise NotImplementedError
