"""Decoded images that are kept, and how many may be decoded at a time."""

import collections
import concurrent.futures
import os

import numpy as np
import tensorflow as tf

from tfhash.errors import translated

# Images decoded at a time, whatever the number of cores: one of 12 megapixels takes 36 MB, and several
# times that while transparency is composited.
PARALLEL = min(16, os.cpu_count() or 1)

# Batches that wait to be trained on or encoded.
WAITING = 2


class MemoryImages:
    """Images of a source in memory, decoded when they are first asked for.

    Attributes:
        images: NumPy `uint8 [n, height, width, channels]`; zeros where not decoded.
        tensor: The same as a tensor.

    Args:
        source: `tfhash.data.sources.Source`.
        image_shape: `(height, width, channels)`.
        indices: Items that fit in memory, ascending.
    """

    def __init__(self, source, image_shape, indices):
        self._source, self._image_shape, self._indices = source, image_shape, indices
        self.images = _aligned_zeros((len(indices), *image_shape))
        self.tensor = as_tensor(self.images)
        self._is_decoded = np.zeros(len(indices), bool)

    def rows_of(self, indices):
        """The rows of items in `images` and `tensor`, decoded now if they are not yet."""
        rows = np.searchsorted(self._indices, indices)
        missing = np.unique(rows[~self._is_decoded[rows]])
        if not len(missing):
            return rows  # without a pipeline, which takes a moment to build
        images = self._source.decoded(self._indices[missing], self._image_shape)
        with translated():
            for row, image in zip(missing, images, strict=True):
                self.images[row] = image
                self._is_decoded[row] = True
        return rows


def in_threads(function, items):
    """Results of a function in the order of the items, some of which are in work while one is used."""
    with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        waiting: collections.deque[concurrent.futures.Future] = collections.deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > PARALLEL:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def as_written(function):
    """The function, for `map`, without AutoGraph: converting it takes longer than tracing it.

    The function must use TensorFlow's ops for control flow.
    """
    return tf.autograph.experimental.do_not_convert(function)


def without_autotuning(dataset):
    """The dataset, whose iterators start no thread that tunes them.

    There is nothing to tune, and freeing an iterator waits for that thread, at times for seconds.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def as_tensor(array):
    """The same memory as a tensor, not a copy."""
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())


def _aligned_zeros(shape):
    """A NumPy array `uint8` at an address that TensorFlow takes. Nothing is taken up until written."""
    alignment, size = 64, int(np.prod(shape))
    memory = np.zeros(size + alignment, np.uint8)
    start = -memory.ctypes.data % alignment
    return memory[start : start + size].reshape(shape)
