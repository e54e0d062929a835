"""A split: a source and the indices of its items."""

import dataclasses
import functools
import math

import keras
import numpy as np
import tensorflow as tf

from tfhash.data import keras_layers, sampling
from tfhash.data.kept import PARALLEL, WAITING, as_written, without_autotuning
from tfhash.data.sources import Source
from tfhash.errors import translated

# More epochs than anyone trains for.
ENDLESS = tf.int32.max

# Arguments of `map` for images and for batches, which take more memory.
IMAGES = {"num_parallel_calls": PARALLEL, "deterministic": True}
BATCHES = {"num_parallel_calls": min(4, PARALLEL), "deterministic": True}


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Items of a source in a fixed order, with images of one shape.

    Images are decoded when they are first asked for, at most 16 at a time. Where they take 2 GiB or
    less, those of all splits of the source together, they are kept; see also `cache_dir` of
    `tfhash.data.load`.

    Attributes:
        source: `tfhash.data.sources.Source`.
        indices: NumPy `int64 [n]`, which items of the source.
        image_shape: `(height, width, channels)`.

    Example:

    >>> from tfhash import data
    >>> split = data.load("digits").queries.take(3)
    >>> split.images().shape, split.labels.shape
    ((3, 8, 8, 1), (3,))
    """

    source: Source
    indices: np.ndarray
    image_shape: tuple[int, int, int]

    @classmethod
    def of_all(cls, source, image_shape):
        """All items of a source.

        Args:
            source, image_shape: The attributes.
        """
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
        """Labels of the items, NumPy: `int64 [n]`, -1 where there is none, or multi-hot `uint8 [n, C]`."""
        return self.source.labels[self.indices]

    def batches(self, batch_size=256):
        """`tf.data.Dataset` of `(images, labels)` batches in order, the last one smaller.

        Raises:
            OSError: If a file no longer exists, ValueError if it has changed: here where the images are kept
                in memory, otherwise while they are read, as errors that
                `tfhash.errors.translated` turns into these.
        """
        count = len(self)
        positions = tf.data.Dataset.range(0, count, batch_size).map(
            as_written(lambda start: tf.range(start, tf.minimum(start + batch_size, count)))
        )
        batches = self._reader(batch_size, drop_remainder=False)(positions)
        cardinality = tf.data.experimental.assert_cardinality(math.ceil(count / batch_size))
        return without_autotuning(batches.apply(cardinality).prefetch(WAITING))

    @property
    def is_kept(self):
        """Whether images are decoded once, and kept in memory or in a cache on disk."""
        return self._kept is not None

    def is_larger_than(self, size):
        """Whether both sides of most images, as stored, are at least as long as `(height, width)`.

        Of datasets other than folders it is not known, and the answer is no.
        """
        sides = self.source.shorter_sides
        return sides is not None and bool(np.median(sides[self.indices]) >= max(size))

    @property
    def elements(self):
        """`tf.data.Dataset` of `(image, label)` in order, for a custom pipeline."""
        return self.batches().unbatch()

    def images(self, indices=None):
        """Images, NumPy `uint8 [*indices.shape, height, width, channels]`.

        Args:
            indices: Integers of any shape, which items; by default all.
        """
        chosen = self.indices if indices is None else self.indices[np.asarray(indices, "int64")]
        if self._kept is not None:
            return np.asarray(self._kept.images[self._kept.rows_of(chosen)])
        unique, places = np.unique(chosen, return_inverse=True)
        with translated():
            images = list(self.source.decoded(unique, self.image_shape))
        found = np.array(images, np.uint8).reshape(-1, *self.image_shape)
        return found[places.reshape(chosen.shape)]

    def fill_cache(self, report=None):
        """Decodes the images that the disk cache lacks, if there is one; see `Source.fill_cache`."""
        self.source.fill_cache(self.image_shape, self.indices, report)

    def resize_to(self, image_shape):
        """The same items brought to another shape; see `tfhash.data.images.resize_to`."""
        if tuple(image_shape) == self.image_shape:
            return self  # with the images that it keeps
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
            batch_size, seed, first_epoch, augmentation, augmented_epochs, items_per_class: As in
                `tfhash.data.ArrayBatches`.

        Returns:
            `tf.data.Dataset` of `(images, labels)`; `steps_per_epoch` batches make an epoch.

        Raises:
            ValueError: If there are no items, or the augmentation does not suit the images.
        """
        if not len(self):
            raise ValueError("there must be images to train on. Received: an empty split")
        if augmentation:
            augmentation.check(self.image_shape)
        steps = self.steps_per_epoch(batch_size)
        batch_size = min(batch_size, len(self))

        # Not the split: TensorFlow keeps functions for good, and with it would go its images.
        labels = self.labels

        def draw(epoch):
            order = sampling.epoch_order(labels, seed, int(epoch), items_per_class)
            return order[: steps * batch_size].reshape(steps, batch_size)

        def order_of(epoch):
            order = tf.numpy_function(draw, [epoch], tf.int64)
            return tf.data.Dataset.from_tensor_slices(tf.ensure_shape(order, (steps, batch_size)))

        def epochs(first, end, batches_of):
            numbers = tf.data.Dataset.range(max(first, first_epoch), end)
            return numbers.flat_map(as_written(lambda epoch: batches_of(epoch, order_of(epoch))))

        end = min(augmented_epochs, ENDLESS) if augmentation else 0
        parts = []
        if end > first_epoch:
            parts.append(epochs(0, end, self._augmented_reader(augmentation, batch_size, seed)))
        if end < ENDLESS:
            read = self._reader(batch_size, drop_remainder=True)
            parts.append(epochs(end, ENDLESS, lambda _, order: read(order)))
        batches = functools.reduce(tf.data.Dataset.concatenate, parts).prefetch(WAITING)
        return without_autotuning(batches)

    def _augmented_reader(self, augmentation, batch_size, seed):
        """A function from an epoch and its batches of positions to `(images, labels)`."""
        # Random crops come from larger images, so that they are about as sharp as whole ones.
        larger = self.resize_to(augmentation.shape_before(self.image_shape))
        read = larger._reader(batch_size, drop_remainder=True)
        image_shape = self.image_shape  # not the split, which TensorFlow would keep for good

        # Keras's layers run in the graph, where they are fast; those of other backends cannot.
        if augmentation.layers and keras.backend.backend() == "tensorflow":
            change = keras_layers.Layers(augmentation.layers).change_in_graph
            augment_by_numpy = augmentation.without_layers
        else:
            change, augment_by_numpy = (lambda images, *_: images), augmentation

        def augment(images, epoch, step):
            return augment_by_numpy(images, (seed, epoch, step), image_shape[:2])

        def batches_of(epoch, order):
            def augment_batch(step, batch):
                images, labels = batch
                changed = tf.numpy_function(augment, [images, epoch, step], tf.uint8)
                return step, tf.ensure_shape(changed, (batch_size, *image_shape)), labels

            def change_batch(step, images, labels):
                return change(images, seed, epoch, step), labels

            # The layers take one batch at a time.
            return read(order).enumerate().map(augment_batch, **BATCHES).map(change_batch)

        return batches_of

    def _reader(self, batch_size, drop_remainder):
        """A function from a dataset of batches of positions in the split to `(images, labels)`."""
        # Made here, for a dataset may read them in a graph.
        labels = tf.constant(self.labels)
        if self._kept is None:
            indices, shape = tf.constant(self.indices), self.image_shape

            def read_item(position):
                image = self.source.resized_image(tf.gather(indices, position), shape)
                return image, tf.gather(labels, position)

            return lambda batches: (
                batches.unbatch()
                .map(as_written(read_item), **IMAGES)
                .batch(batch_size, drop_remainder=drop_remainder)
            )
        kept, rows = self._kept, tf.constant(self._kept.rows_of(self.indices))

        def read_batch(positions):
            # `kept` itself is held here, so that its source knows how much memory is taken.
            images = tf.gather(kept.tensor, tf.gather(rows, positions))
            return images, tf.gather(labels, positions)

        return lambda batches: batches.map(as_written(read_batch), **BATCHES)

    @functools.cached_property
    def _kept(self):
        return self.source.kept(self.image_shape, self.indices)
