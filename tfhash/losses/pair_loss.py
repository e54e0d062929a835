"""Base class of objectives over the pairs of a batch."""

import keras

from tfhash import labels as labels_lib
from tfhash.losses import pairs, replicas


class PairLoss(keras.losses.Loss):
    """Passes the pairs of the whole batch to `values`.

    Under a `tf.distribute` strategy, the whole batch is that of all replicas: an item forms pairs with
    the items of the other replicas too, and the loss is that of one device. Replicas with different
    numbers of items weigh alike, as in every Keras loss.
    """

    def call(self, y_true, y_pred):
        pairs.check_batch(y_true, y_pred)
        y_true, y_pred, own = replicas.gather(y_true, y_pred)
        return own(self.values(labels_lib.similar(y_true, y_true), y_pred))

    def values(self, similar, codes):
        """The loss of each item.

        Args:
            similar: Booleans `[n, n]`, True where two items share a label.
            codes: Relaxed codes `[n, B]`.

        Returns:
            Float `[n]`.
        """
        raise NotImplementedError
