"""The range of pixel values that models of tfhash take: 0 to 255, whatever the type."""

import warnings

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
