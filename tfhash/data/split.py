"""A split: a source and the indices of its items."""

import dataclasses
import functools
import math

import numpy as np
import tensorflow as tf

from tfhash.data import sampling
from tfhash.data.arrays import ArrayBatches
from tfhash.data.sources import Source, decode
from tfhash.errors import translated


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Items of a source in a fixed order, with images of one shape.

    Images are decoded when they are first asked for. Where they take 2 GiB or less they are kept,
    for all splits of the source.

    Attributes:
        source: `tfhash.data.sources.Source`.
        indices: NumPy `int64 [n]`, which items of the source.
        image_shape: `(height, width, channels)`.
    """

    source: Source
    indices: np.ndarray
    image_shape: tuple[int, int, int]

    @classmethod
    def of_all(cls, source, image_shape):
        """All items of a source."""
        return cls(source, np.arange(len(source)), tuple(image_shape))

    def __len__(self):
        return len(self.indices)

    def __repr__(self):
        return f"Split of {len(self):,} images of shape {self.image_shape}"

    @functools.cached_property
    def names(self):
        """Name of each item."""
        return [self.source.names[i] for i in self.indices.tolist()]

    @functools.cached_property
    def labels(self):
        """Label of each item, NumPy `int64 [n]`; -1 where there is none."""
        return self.source.labels[self.indices]

    def batches(self, batch_size=256):
        """`tf.data.Dataset` of `(images, labels)` batches in order, the last one smaller.

        Raises:
            OSError: If a file is gone, ValueError if it has changed: here where the images are kept
                in memory, otherwise while they are read, as errors that
                `tfhash.errors.translated` turns into these.
        """
        labels = tf.data.Dataset.from_tensor_slices(self.labels)
        if self._decoded is None:
            images = decode(self.source, self.indices, self.image_shape)
            return tf.data.Dataset.zip(images, labels).batch(batch_size).prefetch(2)
        rows = tf.data.Dataset.from_tensor_slices(self._decoded.rows_of(self.indices))
        batches = tf.data.Dataset.zip(rows, labels).batch(batch_size)
        return batches.map(lambda rows, labels: (self._from_memory(rows), labels)).prefetch(2)

    def images(self, indices=None):
        """Images, NumPy `uint8 [*indices.shape, height, width, channels]`.

        Args:
            indices: Integers of any shape, which items; by default all.
        """
        chosen = self.indices if indices is None else self.indices[np.asarray(indices, "int64")]
        if self._decoded is not None:
            return self._decoded.images(self._decoded.rows_of(chosen))
        unique, places = np.unique(chosen, return_inverse=True)
        with translated():
            images = decode(self.source, unique, self.image_shape).as_numpy_iterator()
            found = np.array(list(images), np.uint8).reshape(-1, *self.image_shape)
        return found[places.reshape(chosen.shape)]

    def resize_to(self, image_shape):
        """The same items brought to another shape; see `tfhash.data.images.resize_to`."""
        return Split(self.source, self.indices, tuple(image_shape))

    def take(self, count):
        """The first `count` items."""
        return self.pick(np.arange(min(count, len(self))))

    def pick(self, indices):
        """The items at `indices`, in the order given."""
        chosen = self.indices[np.asarray(indices, "int64")]
        return Split(self.source, chosen, self.image_shape)

    def concatenate(self, other):
        """The items of this split, then those of another of the same source.

        Raises:
            ValueError: If the other has another source or image shape.
        """
        if other.source is not self.source or other.image_shape != self.image_shape:
            raise ValueError(
                "splits to concatenate must have the same source and image shape. Received: shapes "
                f"{self.image_shape} and {other.image_shape}"
                + (" of different sources" if other.source is not self.source else "")
            )
        indices = np.concatenate([self.indices, other.indices])
        return Split(self.source, indices, self.image_shape)

    def steps_per_epoch(self, batch_size):
        """Whole batches in an epoch, at least 1."""
        return max(1, len(self) // batch_size)

    def shuffled_batches(
        self,
        batch_size,
        seed,
        first_epoch=0,
        augmentation=None,
        augmented_epochs=math.inf,
        items_per_class=None,
    ):
        """Endless training batches, those of `ArrayBatches` for the same images and seed.

        Order and augmentation depend on the seed and the epoch alone, so a run resumed at epoch e
        sees the batches it would have seen without the break.

        Args:
            batch_size: Images in a batch; a smaller last batch of an epoch is dropped.
            seed: Integer >= 0.
            first_epoch: First epoch, counted from 0.
            augmentation: `Augmentation`; by default none.
            augmented_epochs: Epochs with augmentation, counted from epoch 0.
            items_per_class: Items of one class in a batch of classes x items, >= 2; see
                `tfhash.data.sampling`. By default batches are random.

        Returns:
            `tf.data.Dataset` of `(images, labels)`; `steps_per_epoch` batches make an epoch.

        Raises:
            ValueError: If there are no items, or the augmentation does not suit the images.
        """
        arrays = ArrayBatches(
            _Images(self),
            self.labels,
            batch_size,
            seed,
            first_epoch,
            augmentation,
            augmented_epochs,
            items_per_class,
        )
        if self._decoded is None:
            return self._streamed(arrays).prefetch(tf.data.AUTOTUNE)
        rows = self._decoded.rows_of(self.indices)
        arrays.images = _Rows(self._decoded, rows)

        def batch(index):
            images, labels = tf.numpy_function(
                arrays.__getitem__, [index], (tf.uint8, tf.int64), stateful=False
            )
            size = arrays.batch_size
            return tf.ensure_shape(images, (size, *self.image_shape)), tf.ensure_shape(labels, size)

        batches = tf.data.Dataset.range(tf.int64.max).map(
            batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        return batches.prefetch(tf.data.AUTOTUNE)

    def _streamed(self, arrays):
        """Batches of `ArrayBatches` whose images are decoded on the way."""
        size, steps = arrays.batch_size, arrays.steps_per_epoch

        def order(epoch):
            drawn = sampling.epoch_order(
                self.labels, arrays.seed, int(epoch), arrays.items_per_class
            )
            return self.indices[drawn[: steps * size]]

        def items_of(epoch):
            indices = tf.numpy_function(order, [epoch], tf.int64)
            return tf.data.Dataset.from_tensor_slices(tf.ensure_shape(indices, (steps * size,)))

        def augment(images, number):
            epoch, step = divmod(int(number), steps)
            epoch += arrays.first_epoch
            if epoch >= arrays.augmented_epochs:
                return images
            return arrays.augmentation(images, (arrays.seed, epoch, step))

        labels = tf.constant(self.source.labels)
        batches = (
            tf.data.Dataset.range(arrays.first_epoch, tf.int32.max)
            .flat_map(items_of)
            .map(
                lambda i: (self.source.resized_image(i, self.image_shape), tf.gather(labels, i)),
                num_parallel_calls=tf.data.AUTOTUNE,
                deterministic=True,
            )
            .batch(size, drop_remainder=True)
        )
        if not arrays.augmentation:
            return batches

        def augmented(number, batch):
            images = tf.numpy_function(augment, [batch[0], number], tf.uint8, stateful=False)
            return tf.ensure_shape(images, batch[0].shape), batch[1]

        return batches.enumerate().map(augmented, num_parallel_calls=tf.data.AUTOTUNE)

    @functools.cached_property
    def _decoded(self):
        return self.source.decoded(self.image_shape, self.indices)

    def _from_memory(self, rows):
        images = tf.numpy_function(self._decoded.images, [rows], tf.uint8, stateful=False)
        return tf.ensure_shape(images, (None, *self.image_shape))


class _Images:
    """The images of a split as `ArrayBatches` takes them, by index."""

    def __init__(self, split):
        self.shape = (len(split), *split.image_shape)

    def __len__(self):
        return self.shape[0]


class _Rows:
    """Rows of decoded images, by index."""

    def __init__(self, decoded, rows):
        self._decoded, self._rows = decoded, rows

    def __getitem__(self, indices):
        return self._decoded.images(self._rows[indices])
