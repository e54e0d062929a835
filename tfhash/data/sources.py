"""Sources: items by index."""

import os
import weakref

import numpy as np
import tensorflow as tf

from tfhash.data import formats
from tfhash.data.decoding import decode_image, trace
from tfhash.data.images import decode_and_resize, resize_to
from tfhash.data.kept import (
    PARALLEL,
    MemoryImages,
    as_written,
    in_threads,
    without_autotuning,
)
from tfhash.data.scan import checksum_of
from tfhash.labels import is_multi_hot

# Decoded images of a source, in all shapes and splits, that are kept in memory.
MEMORY_BYTES = 2**31

# Images of an array resized together.
_TOGETHER = 1024


class Source:
    """Items, each with an image, a label and a name.

    Subclasses define `image`.

    Args:
        names: Name of each item.
        labels: Labels of the items, NumPy: integers `[n]`, or multi-hot `[n, C]`.
        is_read_once: Whether each image is read a single time, so that keeping it is of no use.
        keep_aspect: As in `tfhash.data.images.resize_to`.

    Attributes:
        shorter_sides: Shorter side of each image as stored, in pixels, NumPy; `None` if not known.
        are_files: Whether images are decoded by `tfhash.data.decode_and_resize`.
    """

    shorter_sides: np.ndarray | None = None
    are_files = False

    def __init__(self, names, labels, is_read_once=False, keep_aspect=True):
        self.names = list(names)
        labels = np.asarray(labels)
        # Of many classes, multi-hot labels are large.
        self.labels = labels.astype("uint8" if is_multi_hot(labels) else "int64")
        self.is_read_once = is_read_once
        self.keep_aspect = keep_aspect
        # Those that splits still use: of all items by shape, and all of them.
        self._of_all: weakref.WeakValueDictionary = weakref.WeakValueDictionary()
        self._in_memory: weakref.WeakSet = weakref.WeakSet()
        if len(self.names) != len(self.labels):
            raise ValueError(
                "each item must have a name and a label. "
                f"Received: {len(self.names)} names and {len(self.labels)} labels"
            )

    def __len__(self):
        return len(self.names)

    def image(self, index):
        """The image of one item, made of TensorFlow ops.

        Args:
            index: Scalar integer tensor.

        Returns:
            `uint8 [height, width, channels]`.
        """
        raise NotImplementedError

    def resized_image(self, index, image_shape):
        """The image of one item brought to a shape."""
        return resize_to(self.image(index), image_shape, self.keep_aspect)

    def decoded(self, indices, image_shape):
        """Yields the images at `indices`, in this order, brought to a shape, NumPy `uint8`."""
        images = tf.data.Dataset.from_tensor_slices(np.asarray(indices, "int64")).map(
            as_written(lambda index: self.resized_image(index, image_shape)),
            num_parallel_calls=PARALLEL,
            deterministic=True,
        )
        yield from without_autotuning(images).as_numpy_iterator()

    def kept(self, image_shape, indices):
        """Images that are kept and hold the items at `indices`, or `None` if they are too many.

        All splits of a source that fits into memory share its images. Where it does not, splits are
        kept as long as there is room, those that are asked for first.
        """
        if self.is_read_once:
            return None
        if image_shape in self._of_all:
            return self._of_all[image_shape]
        taken = sum(kept.images.nbytes for kept in self._in_memory)
        fitting = (MEMORY_BYTES - taken) // int(np.prod(image_shape))
        if len(self) <= fitting:
            kept = MemoryImages(self, image_shape, np.arange(len(self)))
            self._of_all[image_shape] = kept
        elif len(indices) <= fitting:
            kept = MemoryImages(self, image_shape, np.unique(indices))
        else:
            return None
        self._in_memory.add(kept)
        return kept

    def fill_cache(self, image_shape, indices, report=None):
        """Decodes the items at `indices` that a disk cache lacks, where there is one.

        Args:
            image_shape, indices: As in `kept`.
            report: Function that is told how many images were decoded now, again and again.
        """


class ArraySource(Source):
    """Images in an array.

    Args:
        images: NumPy `uint8 [n, height, width, channels]`.
        names, labels: As in `Source`.
    """

    def __init__(self, images, names, labels, is_read_once=False):
        super().__init__(names, labels, is_read_once)
        self._images = tf.constant(images)

    def image(self, index):
        return tf.gather(self._images, index)

    def decoded(self, indices, image_shape):
        # Many at a time, for they have one size.
        for start in range(0, len(indices), _TOGETHER):
            images = tf.gather(self._images, indices[start : start + _TOGETHER])
            yield from resize_to(images, image_shape, self.keep_aspect).numpy()


class FileSource(Source):
    """Image files in a folder.

    A file that was changed or deleted since the scan raises an error that names it.

    Args:
        root: Path of the folder.
        examined: `tfhash.data.scan.Examined` of each file.
        labels, is_read_once, keep_aspect: As in `Source`.
        cache: `tfhash.data.disk_cache.DiskCache` that keeps the images, in place of memory.
    """

    are_files = True

    def __init__(self, root, examined, labels, is_read_once=False, keep_aspect=True, cache=None):
        super().__init__([file.name for file in examined], labels, is_read_once, keep_aspect)
        self.root = root
        self.digests = [file.digest for file in examined]
        self.shorter_sides = np.array([file.shorter_side for file in examined], "int64")
        self._cache = cache
        # As bytes, for a file system may hold names that are no valid UTF-8.
        paths = [os.fsencode(os.path.join(root, file.name)) for file in examined]
        with tf.device("CPU"):
            self._paths = tf.constant(paths, tf.string)
            self._checksums = tf.constant([file.checksum for file in examined], tf.int64)
            self._are_for_pillow = tf.constant([file.is_for_pillow for file in examined], tf.bool)
        self._needs_pillow = any(file.is_for_pillow for file in examined)

    def image(self, index):
        return decode_image(self._contents(index))

    def resized_image(self, index, image_shape):
        return decode_and_resize(self._contents(index), image_shape, self.keep_aspect)

    def decoded(self, indices, image_shape):
        # In threads, for building a pipeline with the decoders takes a second.
        def decode(index):
            with tf.device("CPU"):
                return self.resized_image(tf.constant(index, tf.int64), image_shape).numpy()

        trace()  # before several threads would
        return in_threads(decode, indices)

    def kept(self, image_shape, indices):
        if self._cache is None or self.is_read_once:
            return super().kept(image_shape, indices)
        return self._cache.images(self, image_shape, indices)

    def fill_cache(self, image_shape, indices, report=None):
        if self._cache is not None:
            self._cache.images(self, image_shape, indices, report)

    def _contents(self, index):
        path = tf.gather(self._paths, index)
        contents = tf.io.read_file(path)
        tf.debugging.Assert(
            checksum_of(contents) == tf.gather(self._checksums, index),
            [tf.strings.join([path, ": the file has changed since it was first read"])],
        )
        if self._needs_pillow:
            is_for_pillow = tf.gather(self._are_for_pillow, index)
            contents = tf.cond(is_for_pillow, lambda: _to_png(contents), lambda: contents)
        return contents


def _to_png(contents):
    if tf.executing_eagerly():
        return tf.constant(formats.to_png(contents.numpy()))
    png = tf.numpy_function(formats.to_png, [contents], tf.string, stateful=False)
    return tf.ensure_shape(png, ())
