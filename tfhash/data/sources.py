"""Sources: items by index."""

import os
import weakref

import numpy as np
import tensorflow as tf

from tfhash.data import formats
from tfhash.data.decoding import decode_image
from tfhash.data.images import resize_to
from tfhash.data.scan import checksum_of
from tfhash.errors import translated
from tfhash.labels import is_multi_hot

# Decoded images are kept in memory where all of a source, or of a split, take less.
MEMORY_BYTES = 2**31

# Images decoded at a time to be kept.
_CHUNK = 256


class Source:
    """Items, each with an image, a label and a name.

    Subclasses define `image`.

    Args:
        names: Name of each item.
        labels: Labels of the items, NumPy: integers `[n]`, or multi-hot `[n, C]`.
        is_read_once: Whether each image is read a single time, so that keeping it is of no use.
    """

    def __init__(self, names, labels, is_read_once=False):
        self.names = list(names)
        labels = np.asarray(labels)
        # Of many classes, multi-hot labels are large.
        self.labels = labels.astype("uint8" if is_multi_hot(labels) else "int64")
        self.is_read_once = is_read_once
        self._decoded: weakref.WeakValueDictionary = weakref.WeakValueDictionary()
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
        return resize_to(self.image(index), image_shape)

    def decoded(self, image_shape, indices):
        """Decoded images in memory that hold the items at `indices`, or `None` if they are too many.

        All splits of a source that fits into memory share its images.
        """
        if self.is_read_once:
            return None
        fitting = MEMORY_BYTES // int(np.prod(image_shape))
        if len(self) <= fitting:
            decoded = self._decoded.get(image_shape)
            if decoded is None:
                decoded = DecodedImages(self, image_shape, np.arange(len(self)))
                self._decoded[image_shape] = decoded
            return decoded
        if len(indices) <= fitting:
            return DecodedImages(self, image_shape, np.unique(indices))
        return None


class DecodedImages:
    """Images of a source in memory, decoded when they are first asked for.

    Attributes:
        images: NumPy `uint8 [n, height, width, channels]`; zeros where not decoded.
        tensor: The same as a tensor.

    Args:
        source: `Source`.
        image_shape: `(height, width, channels)`.
        indices: Items that fit in memory, ascending.
    """

    def __init__(self, source, image_shape, indices):
        self._source, self._image_shape, self._indices = source, image_shape, indices
        self.images = _aligned_zeros((len(indices), *image_shape))
        # The same memory, not a copy.
        self.tensor = tf.experimental.dlpack.from_dlpack(self.images.__dlpack__())
        self._is_decoded = np.zeros(len(indices), bool)

    def rows_of(self, indices):
        """The rows of items in `images` and `tensor`, decoded now if they are not yet."""
        rows = np.searchsorted(self._indices, indices)
        missing = np.unique(rows[~self._is_decoded[rows]])
        images = decode(self._source, self._indices[missing], self._image_shape).batch(_CHUNK)
        done = 0
        with translated():
            for batch in images.prefetch(tf.data.AUTOTUNE).as_numpy_iterator():
                written = missing[done : done + len(batch)]
                self.images[written] = batch
                self._is_decoded[written] = True
                done += len(batch)
        return rows


def _aligned_zeros(shape):
    """A NumPy array `uint8` at an address that TensorFlow takes. Nothing is taken up until written."""
    alignment, size = 64, int(np.prod(shape))
    memory = np.zeros(size + alignment, np.uint8)
    start = -memory.ctypes.data % alignment
    return memory[start : start + size].reshape(shape)


def decode(source, indices, image_shape):
    """`tf.data.Dataset` of the images of a source at `indices`, in this order."""
    return tf.data.Dataset.from_tensor_slices(np.asarray(indices, "int64")).map(
        lambda index: source.resized_image(index, image_shape),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )


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


class FileSource(Source):
    """Image files in a folder.

    A file that was changed or deleted since the scan raises an error that names it.

    Args:
        root: Path of the folder.
        examined: `tfhash.data.scan.Examined` of each file.
        labels, is_read_once: As in `Source`.
    """

    def __init__(self, root, examined, labels, is_read_once=False):
        super().__init__([file.name for file in examined], labels, is_read_once)
        self.root = root
        # As bytes, for a file system may hold names that are no valid UTF-8.
        paths = [os.fsencode(os.path.join(root, file.name)) for file in examined]
        with tf.device("CPU"):
            self._paths = tf.constant(paths, tf.string)
            self._checksums = tf.constant([file.checksum for file in examined], tf.int64)
            self._are_for_pillow = tf.constant([file.is_for_pillow for file in examined], tf.bool)
        self._needs_pillow = any(file.is_for_pillow for file in examined)

    def image(self, index):
        path = tf.gather(self._paths, index)
        contents = tf.io.read_file(path)
        tf.debugging.Assert(
            checksum_of(contents) == tf.gather(self._checksums, index),
            [tf.strings.join([path, ": the file has changed since it was first read"])],
        )
        if self._needs_pillow:
            contents = tf.cond(
                tf.gather(self._are_for_pillow, index),
                lambda: tf.ensure_shape(
                    tf.numpy_function(formats.to_png, [contents], tf.string, stateful=False), ()
                ),
                lambda: contents,
            )
        return decode_image(contents)
