"""Splits of a dataset as `tf.data` pipelines."""

import dataclasses
import json
import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfhash.data.content import digest
from tfhash.data.images import resize_to

# A split whose decoded images take less is kept in memory after its first pass.
CACHE_BYTES = 2**31

# Decoded images a shuffle holds at a time; a larger split is shuffled within a moving window.
SHUFFLE_BYTES = 2**30


@dataclasses.dataclass(frozen=True)
class Split:
    """Images of one size with their labels, in a fixed order.

    Attributes:
        elements: `tf.data.Dataset` of `(image, label)`: `uint8 [height, width, channels]` and an
            `int64` scalar. Make one with `Split.create`.
        names: Name of each item.
        labels: NumPy `int64 [n]`.
        image_shape: `(height, width, channels)`.
    """

    elements: tf.data.Dataset
    names: Sequence[str]
    labels: np.ndarray
    image_shape: tuple[int, int, int]

    @classmethod
    def create(cls, elements, names, labels, image_shape, read_once=False):
        """Makes a split; keeps its images in memory if they are small and read more than once."""
        # Before the cache: what is left in the middle can look like its end, and the cache would
        # take the part read so far for all there is.
        elements = elements.apply(tf.data.experimental.assert_cardinality(len(names)))
        if not read_once and len(names) * np.prod(image_shape) <= CACHE_BYTES:
            elements = elements.cache()
        return cls(elements, names, np.asarray(labels, "int64"), tuple(image_shape))

    def __len__(self):
        return len(self.names)

    def batches(self, batch_size=256):
        """`tf.data.Dataset` of `(images, labels)` batches in order, the last one smaller."""
        return self.elements.batch(batch_size).prefetch(2)

    def images(self):
        """All images, NumPy `uint8 [n, height, width, channels]`."""
        return np.concatenate([images for images, _ in self.batches(1000).as_numpy_iterator()])

    def resize_to(self, image_shape):
        """The same items brought to another shape; see `tfhash.data.images.resize_to`."""
        if self.image_shape == tuple(image_shape):
            return self
        elements = self.elements.map(
            lambda image, label: (resize_to(image, image_shape), label),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        return Split(elements, self.names, self.labels, tuple(image_shape))

    def take(self, count):
        """The first `count` items as a split of their own."""
        return Split(
            self.elements.take(count), self.names[:count], self.labels[:count], self.image_shape
        )

    def pick(self, indices):
        """The items at `indices`, each once, as a split of their own, in the order they have here.

        All items are read to find them.
        """
        indices = np.unique(np.asarray(indices, "int64"))
        is_chosen = np.zeros(len(self), bool)
        is_chosen[indices] = True
        elements = self.elements.enumerate()
        elements = elements.filter(lambda i, _: tf.gather(is_chosen, i)).map(lambda _, item: item)
        names = [self.names[i] for i in indices.tolist()]
        return Split.create(elements, names, self.labels[indices], self.image_shape)

    def concatenate(self, other):
        """The items of this split, then those of another."""
        return Split(
            self.elements.concatenate(other.elements),
            [*self.names, *other.names],
            np.concatenate([self.labels, other.labels]),
            self.image_shape,
        )

    def steps_per_epoch(self, batch_size):
        """Whole batches in an epoch, at least 1."""
        return max(1, len(self) // batch_size)

    def shuffled_batches(
        self, batch_size, seed, first_epoch=0, augmentation=None, augmented_epochs=math.inf
    ):
        """Endless training batches.

        The order of an epoch depends on the seed and the number of the epoch alone, so a run that
        goes on from epoch e sees what it would have seen without a break.

        Args:
            batch_size: Images in a batch; the rest of an epoch that fills no batch is dropped.
            seed: Integer.
            first_epoch: Epoch to begin with, counted from 0.
            augmentation: `Augmentation`, changes to every image; by default none.
            augmented_epochs: From this epoch on, counted from 0, images are left as they are.

        Returns:
            `tf.data.Dataset` of `(images, labels)`; `steps_per_epoch` batches make an epoch.

        Raises:
            ValueError: If the augmentation does not suit the images.
        """
        if augmentation:
            augmentation.check(self.image_shape)
        batch_size = min(batch_size, len(self))
        window = min(len(self), max(1000, SHUFFLE_BYTES // int(np.prod(self.image_shape))))

        def epoch_batches(epoch):
            # This function is traced into a graph of its own and seeds that graph alone, so that
            # the global seed plays no part in the order.
            tf.random.set_seed(1)
            items = self.elements.shuffle(
                window, seed=seed * 1_000_003 + epoch, reshuffle_each_iteration=False
            )
            batches = items.batch(batch_size, drop_remainder=True)
            if not augmentation:
                return batches
            return batches.enumerate().map(
                lambda step, batch: (_with_numpy(change, batch[0], epoch, step), batch[1]),
                num_parallel_calls=tf.data.AUTOTUNE,
            )

        def change(images, epoch, step):
            return augmentation(images, (seed, epoch, step)) if epoch < augmented_epochs else images

        epochs = tf.data.Dataset.range(first_epoch, tf.int32.max)
        return epochs.flat_map(epoch_batches).prefetch(tf.data.AUTOTUNE)


def _with_numpy(function, images, *arguments):
    """What a NumPy function makes of images, in their shape."""
    changed = tf.numpy_function(function, (images, *arguments), images.dtype)
    return tf.ensure_shape(changed, images.shape)


@dataclasses.dataclass(frozen=True)
class Splits:
    """The splits of a dataset.

    Attributes:
        source: What was loaded.
        classes: Name of each class; label i is class i.
        train: Items to train on.
        validation: Items kept out of training, to choose by.
        queries: Items to report on, never to choose by.
        database: Items that the queries search.
        skipped: Files left out because they are broken.
        protocol: How the items were divided; see `tfhash.data.load`.
    """

    source: str
    classes: list[str]
    train: Split
    validation: Split
    queries: Split
    database: Split
    skipped: list[str] = dataclasses.field(default_factory=list)
    protocol: str = "official"

    @classmethod
    def create(cls, source, classes, train, validation, queries, skipped=()):
        """Splits whose database is what can be trained on: `train`, then `validation`."""
        database = train.concatenate(validation)
        return cls(source, classes, train, validation, queries, database, list(skipped))

    @property
    def image_shape(self):
        return self.train.image_shape

    def unlabeled(self):
        """Items of the database that are neither trained on nor kept for validation.

        Under `cnnh` and `cnnh54k`: their images may be trained on, and their labels not.
        """
        labeled = {*self.train.names, *self.validation.names}
        return self.database.pick(
            [i for i, name in enumerate(self.database.names) if name not in labeled]
        )

    def fingerprint(self):
        """SHA-256 of the names and labels of the items of every split, in hexadecimal.

        It tells which items were divided how, not what their pixels are. Items of
        tensorflow-datasets are named by their places in the prepared splits: a dataset that was
        prepared in another order is divided otherwise, and has another fingerprint.
        """
        parts = (self.train, self.validation, self.queries, self.database)
        lists = [[list(part.names), part.labels.tolist()] for part in parts]
        return digest(json.dumps(lists).encode())

    def resize_to(self, image_shape):
        """The same splits with images brought to another shape."""
        parts = {
            name: getattr(self, name).resize_to(image_shape)
            for name in ("train", "validation", "queries", "database")
        }
        return dataclasses.replace(self, **parts)
