"""Retrieval quality during `fit`."""

from typing import Any

import keras
import numpy as np

from tfhash import devices, encoding, errors, labels, metrics
from tfhash.callbacks import tensorboard
from tfhash.metrics.histograms import check_integer


class RetrievalEvaluation(keras.callbacks.Callback):
    """Adds the retrieval quality of the current codes to the logs of an epoch.

    `val_map` and `val_precision_radius_2` then serve `ModelCheckpoint(monitor="val_map",
    mode="max")`, `EarlyStopping`, TensorBoard and the history. Put it before those callbacks.
    Queries should come from validation data: test queries that select an epoch are no test.

    The model is a `tfhash.models.HashingModel` or any other that ends in relaxed codes.

    Args:
        queries: `(images, labels)` arrays, or a dataset of such batches that can be read again in
            every epoch: a `tf.data.Dataset` or a `keras.utils.PyDataset`. Images and labels are
            read together, so the dataset may be shuffled.
        database: Items to search, in the same form. By default the queries search each other, each all
            but itself: held-out items in both roles, because a network has memorized its training
            images, and codes that find those again need not find others.
        every: Evaluate every that many epochs, and after the last one. In between, the logs
            lack these values. Where a callback after this one stops training early, the last epoch
            is evaluated when training ends: the values are in the history, and other callbacks do
            not see them.
        radius: Hamming radius of the precision.
        batch_size: Images per step, where arrays are given.
        first_epoch: First epoch to evaluate, counted from 0. With the number of epochs of
            pre-training, codes are not evaluated before they are trained.
        output: Name of the output that holds the codes, if the model has several.
        log_dir: Directory for TensorBoard, such as that of `keras.callbacks.TensorBoard`. Each
            evaluation writes its figures, histograms of the balance and correlation of bits, and a
            picture of neighbors in a sample of up to 500 queries; the end of training writes the codes
            of the sample for the embedding projector. Needs TensorFlow and `tensorboard`.

    Raises:
        ImportError: If `log_dir` is given and a package it needs is not installed.
        ValueError: If `every`, `radius` or `first_epoch` is out of range or no integer. When `fit` begins:
            if one side has no items, lacks labels, or its labels are of another kind than those of
            the other side.

    Example:

    >>> import keras, numpy as np
    >>> from tfhash.models import HashingModel, build_backbone
    >>> model = HashingModel(build_backbone("mlp", (8, 8, 1)), bits=12, num_classes=2)
    >>> model.compile(optimizer="adam")
    >>> data = np.zeros((16, 8, 8, 1), "uint8"), np.arange(16) % 2
    >>> evaluation = RetrievalEvaluation(data)  # of held-out items, where it counts
    >>> sorted(model.fit(*data, verbose=0, callbacks=[evaluation]).history)
    ['finetune_loss', 'finetune_saturation', 'loss', 'val_map', 'val_precision_radius_2']
    """

    def __init__(
        self,
        queries,
        database=None,
        every=1,
        radius=2,
        batch_size=256,
        first_epoch=0,
        output=None,
        log_dir=None,
    ):
        super().__init__()
        self.queries, self.database = queries, database
        self.every = check_integer("every", every, least=1)
        self.radius = check_integer("radius", radius, least=0)
        self.batch_size = batch_size
        self.first_epoch = check_integer("first_epoch", first_epoch, least=0)
        self.output = output
        self.log_dir = log_dir
        if log_dir is not None:
            tensorboard.check_installed()

    def on_train_begin(self, logs=None):
        self._last_epoch_is_missing = False
        with errors.translated():
            samples = [
                _sample(self.model, name, data)
                for name, data in (("queries", self.queries), ("database", self.database))
                if data is not None
            ]
        for images, _ in samples:
            if self.model.built and not encoding.has_several_inputs(self.model, images):
                encoding.check_images(
                    self.model, images, is_dataset=not isinstance(images, np.ndarray)
                )
        # The first side with the last, which is itself where there is one.
        labels.check_same_kind(samples[0][1], samples[-1][1])
        self._log = None
        if self.log_dir is not None and devices.process_index() == 0:
            self._sample, of_sample = tensorboard.sample_of(self.queries)
            class_names = getattr(self.model, "class_names", None)
            self._log = tensorboard.RetrievalLog(self.log_dir, self._sample, of_sample, class_names)

    def on_epoch_end(self, epoch, logs=None):
        if epoch < self.first_epoch:
            return
        is_last = epoch + 1 == self.params["epochs"] or self.model.stop_training
        self._last_epoch_is_missing = (epoch + 1) % self.every != 0 and not is_last
        if not self._last_epoch_is_missing:
            logs.update(self._evaluate(epoch))

    def on_train_end(self, logs=None):
        # Another callback may stop training after `on_epoch_end` here.
        if self._last_epoch_is_missing and np.isfinite((logs or {}).get("loss", 0)):
            last = self.model.history.epoch[-1]
            for name, value in self._evaluate(last).items():
                logs[name] = value
                self.model.history.history.setdefault(name, []).append(value)
        if self._log is not None:
            self._log.finish(*self._encode_sample())

    def _evaluate(self, epoch):
        queries, query_labels, bits = self._encode(self.queries)
        if self.database is None:
            histograms = metrics.leave_one_out_histograms(queries, query_labels, bits)
        else:
            database, database_labels, _ = self._encode(self.database)
            histograms = metrics.distance_histograms(
                queries, database, query_labels, database_labels, bits
            )
        radius = min(self.radius, bits)
        figures = {
            "val_map": metrics.mean_average_precision(histograms),
            f"val_precision_radius_{radius}": metrics.precision_within_radius(histograms, radius),
        }
        if self._log is not None:
            self._log.write(epoch, figures, queries, bits)
            self._log.write_neighbors(epoch, self._encode_sample()[0])
        return figures

    def _encode_sample(self):
        """Packed codes of the sample, and the number of bits."""
        pairs = self._sample, np.zeros(len(self._sample), "int64")
        packed, _, bits = encoding.encode_with_labels(
            self.model, pairs, self.output, self.batch_size
        )
        return packed, bits

    def _encode(self, data):
        return encoding.encode_with_labels(self.model, data, self.output, self.batch_size)


def _sample(model, name, data):
    """The first images and labels, checked."""
    sample: Any
    if isinstance(data, (tuple, list)) and len(data) == 2:
        images, of_images = data[0], np.asarray(data[1])
        if not encoding.has_several_inputs(model, images):
            images = np.asarray(images)
        for array in keras.tree.flatten(images):
            if len(array) != len(of_images):
                raise ValueError(
                    f"`{name}` must have one label for each image. "
                    f"Received: {len(array)} images and {len(of_images)} labels"
                )
        sample = (keras.tree.map_structure(lambda array: array[:1], images), of_images[:1])
    elif hasattr(data, "element_spec") or isinstance(data, keras.utils.PyDataset):
        sample = next(iter(data), None)
    else:
        raise ValueError(
            f"`{name}` must be (images, labels), a tf.data.Dataset or a keras.utils.PyDataset. "
            f"Received: a {type(data).__name__}"
        )
    if sample is not None and (not isinstance(sample, (tuple, list)) or len(sample) < 2):
        raise ValueError(
            f"`{name}` must have batches of (images, labels). "
            f"Received: batches of type {type(sample).__name__}"
        )
    if sample is None or not any(len(array) for array in keras.tree.flatten(sample[0])):
        raise ValueError(f"`{name}` must hold at least one item. Received: none")
    return sample[:2]
