"""Retrieval quality during `fit`."""

import keras
import numpy as np

from tfhash import metrics


class RetrievalEvaluation(keras.callbacks.Callback):
    """Adds the retrieval quality of the current codes to the logs of an epoch.

    `val_map` and `val_precision_radius_2` then serve `ModelCheckpoint(monitor="val_map",
    mode="max")`, `EarlyStopping`, TensorBoard and the history. Put it before those callbacks.
    Queries should come from validation data: test queries that choose an epoch are no test.

    Args:
        queries: `(images, labels)` arrays, or a `tf.data.Dataset` of such batches in a fixed
            order.
        database: Items to search, likewise.
        every: Evaluate every that many epochs, and after the last one. In between, the logs
            lack these values.
        first_epoch: Epoch, counted from 0, that is the first to be evaluated: with as many as
            there are of pre-training, codes are not asked before they are trained.
        radius: Hamming radius of the precision.
        batch_size: Images encoded at a time, where arrays are given.

    Raises:
        ValueError: If `every` is below 1, or there are no queries or no database items.

    Example:

    >>> import keras, numpy as np
    >>> from tfhash.models import HashingModel, build_backbone
    >>> model = HashingModel(build_backbone("mlp", (8, 8, 1)), bits=12, num_classes=2)
    >>> model.compile(optimizer="adam")
    >>> data = np.zeros((16, 8, 8, 1), "uint8"), np.arange(16) % 2
    >>> evaluation = RetrievalEvaluation(queries=data, database=data)
    >>> sorted(model.fit(*data, verbose=0, callbacks=[evaluation]).history)
    ['finetune_saturation', 'loss', 'val_map', 'val_precision_radius_2']
    """

    def __init__(self, queries, database, every=1, radius=2, batch_size=256, first_epoch=0):
        super().__init__()
        if every < 1:
            raise ValueError(f"`every` must be an integer >= 1. Received: every={every!r}")
        self.queries, self.database = queries, database
        self.every = every
        self.first_epoch = first_epoch
        self.radius = radius
        self.batch_size = batch_size
        self._query_labels = self._database_labels = None

    def on_train_begin(self, logs=None):
        self._query_labels = _labels_of(self.queries)
        self._database_labels = _labels_of(self.database)

    def on_epoch_end(self, epoch, logs=None):
        if epoch < self.first_epoch:
            return
        if (epoch + 1) % self.every and epoch + 1 != self.params["epochs"]:
            return
        histograms = metrics.distance_histograms(
            self._encode(self.queries),
            self._encode(self.database),
            self._query_labels,
            self._database_labels,
            self.model.bits,
        )
        radius = min(self.radius, self.model.bits)
        logs["val_map"] = metrics.mean_average_precision(histograms)
        logs[f"val_precision_radius_{radius}"] = metrics.precision_within_radius(histograms, radius)

    def _encode(self, data):
        images = data[0] if isinstance(data, (tuple, list)) else data
        return self.model.encode(images, batch_size=self.batch_size)


def _labels_of(data):
    if isinstance(data, (tuple, list)):
        return np.asarray(data[1])
    batches = [np.asarray(labels) for _, labels in data]
    if not batches:
        raise ValueError("`queries` and `database` must hold items. Received: an empty dataset")
    return np.concatenate(batches)
