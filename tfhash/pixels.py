"""The range of pixel values that models of tfhash take: 0 to 255, whatever the type."""

import warnings

import keras
import numpy as np


def check_pixel_range(images):
    """Warns if images look scaled to [0, 1], which makes nearly all of them black.

    Args:
        images: Array of numbers of any shape; anything else is not looked at.

    Example:

    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     check_pixel_range(np.array([0.0, 0.5, 1.0]))
    ...     check_pixel_range(np.array([0, 128, 255]))
    >>> len(caught)
    1
    """
    if not hasattr(images, "dtype") or not hasattr(images, "shape") or 0 in tuple(images.shape):
        return
    images = np.asarray(images)
    if images.dtype.kind not in "uifb":
        return
    low, high = float(images.min()), float(images.max())
    if low >= 0 and 0 < high <= 1:
        warnings.warn(
            f"expected pixel values from 0 to 255. Received: {images.dtype} images with values from "
            f"{low:g} to {high:g}, which are all nearly black. Multiply images in [0, 1] by 255",
            stacklevel=3,
        )


def check_first_batch(data):
    """As `check_pixel_range`, for the first batch of a dataset that can be read again.

    It reads a batch, so it is for datasets whose order does not matter: one more reading moves the
    order of a `tf.data.Dataset` that shuffles.

    Args:
        data: A `tf.data.Dataset` or a `keras.utils.PyDataset` of images, with or without labels.
            Integer images are not read, and anything else is not looked at.
    """
    batch = None
    if hasattr(data, "element_spec"):
        spec = data.element_spec
        spec = spec[0] if isinstance(spec, tuple) else spec
        if getattr(getattr(spec, "dtype", None), "is_floating", False):
            batch = next(iter(data.take(1)), None)
    elif isinstance(data, keras.utils.PyDataset):
        batch = data[0]
    check_pixel_range(batch[0] if isinstance(batch, (tuple, list)) else batch)
