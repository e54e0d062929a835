"""What images a model takes: their shape and type, and pixel values from 0 to 255."""

import re
import types
import warnings

import keras
import numpy as np


def check_images(images, wanted, is_dataset=False):
    """Raises `ValueError` unless images have the shape that a model takes, and are numbers.

    Args:
        images: A batch of images, or anything else with a `shape` and a `dtype`. Sides of `None`, as
            of a `tf.TensorSpec`, may have any length.
        wanted: Shape of one image, with `None` for sides of any length.
        is_dataset: Whether the batch is one of a dataset, for the advice.

    Example:

    >>> check_images(np.zeros((2, 8, 8, 1)), (8, 8, 1))
    >>> check_images(np.zeros((2, 9, 8, 1), "uint8"), (8, 8, 1))
    Traceback (most recent call last):
        ...
    ValueError: images must be numbers of shape [n, 8, 8, 1] for this model. Received: uint8 [2, 9, 8, 1]. Resize them to 8 x 8
    """
    if not hasattr(images, "shape"):
        keys = f" with the keys {', '.join(map(str, images))}" if isinstance(images, dict) else ""
        raise ValueError(
            "each batch must be images or (images, labels). "
            f"Received: images as a {type(images).__name__}{keys}. Map each batch to such a pair"
        )
    shape = _known_shape(images)
    dtype = getattr(images.dtype, "name", str(images.dtype))
    is_number = re.match("bool|u?int|b?float", dtype)
    takes_gray = len(wanted) == 3 and wanted[-1] in (1, None)
    shapes = [wanted, wanted[:2]] if takes_gray else [wanted]
    if is_number and (shape is None or any(_fits(shape[1:], each) for each in shapes if shape)):
        return
    if not is_number:
        hint = "Decode and convert them first"
    elif any(_fits(shape, each) for each in shapes):
        hint = (
            "Batch the dataset: dataset.batch(64)"
            if is_dataset
            else "For one image pass image[None]"
        )
    elif len(wanted) == 3 and len(shape) in (3, 4) and not _fits(shape[1:3], wanted[:2]):
        hint = "Resize them to " + " x ".join(
            "any" if side is None else str(side) for side in wanted[:2]
        )
    elif len(wanted) == 3 and len(shape) == 4:
        hint = f"Convert them to {wanted[-1]} channel{'s' * (wanted[-1] != 1)}"
    else:
        hint = "Reshape them"
    raise ValueError(
        f"images must be numbers of shape {_in_words((None, *wanted), is_batch=True)} for this model. "
        f"Received: {dtype} {_in_words(shape, is_batch=True)}. {hint}"
    )


def checked(data, wanted):
    """Images whose shape and type are checked as `check_images` does, batch by batch in a dataset.

    What is known without reading is checked now, the shape of a batch that its dataset does not know
    when it is read.

    Args:
        data: An array of images, or a dataset of batches of images, with or without labels: a
            `tf.data.Dataset`, a `keras.utils.PyDataset` (its first batch is checked) or a generator.
            Anything else is not looked at.
        wanted: Shape of one image, with `None` for sides of any length.

    Returns:
        The data, or a dataset that holds the same.

    Raises:
        ValueError: As `check_images`, or if labels are not numbers.
    """
    if isinstance(data, types.GeneratorType):
        return _checked_one_by_one(data, wanted)
    if isinstance(data, keras.utils.PyDataset):
        if data.num_batches != 0:
            check_images(_images_of(data[0]), wanted, is_dataset=True)
    elif hasattr(data, "shape"):
        check_images(data, wanted)
    if not hasattr(data, "element_spec"):
        return data
    spec = data.element_spec
    images = _images_of(spec)
    if hasattr(images, "ragged_rank"):
        raise ValueError(
            "the images of a batch must have one shape. Received: a ragged batch. Resize images before "
            "they are batched"
        )
    check_images(images, wanted, is_dataset=True)
    if isinstance(spec, tuple) and len(spec) > 1 and getattr(spec[1], "dtype", None) == "string":
        raise ValueError(
            "labels must be integers [n] or multi-hot [n, C]. Received: string labels. Map each to "
            "its number, as by keras.layers.StringLookup(num_oov_indices=0)"
        )
    shape = _known_shape(images)
    # Keras keeps one traced function for all calls, so images come with all axes.
    is_known = (
        shape is not None
        and len(shape) == len(wanted) + 1
        and all(side or wanted_side is None for side, wanted_side in zip(shape[1:], wanted))
    )
    return data if is_known or not hasattr(data, "map") else _checked_when_read(data, wanted)


def _images_of(batch):
    return batch[0] if isinstance(batch, (tuple, list)) and len(batch) else batch


def _checked_one_by_one(batches, wanted):
    for batch in batches:
        check_images(_images_of(batch), wanted, is_dataset=True)
        yield batch


def _checked_when_read(data, wanted):
    import tensorflow as tf

    def check(shape, dtype):
        check_images(np.broadcast_to(np.zeros((), dtype), shape), wanted, is_dataset=True)

    def checked_batch(images, *labels):
        count = None if images.shape.rank is None else images.shape[0]
        shape = tf.shape(images)
        dtype = images.dtype.as_numpy_dtype
        seen = tf.numpy_function(lambda shape: check(shape, dtype), [shape], [])
        with tf.control_dependencies([seen]):
            if len(wanted) == 3:  # gray images may lack the last axis
                shape = tf.concat([shape, [1]], axis=0)[:4]
            images = tf.ensure_shape(tf.reshape(images, shape), (count, *wanted))
        return (images, *labels) if labels else images

    return data.map(checked_batch)


def _known_shape(images):
    """The shape as a tuple, or `None` where not even the rank is known."""
    rank = getattr(images.shape, "rank", 0)  # of TensorFlow's shapes
    return None if rank is None else tuple(images.shape)


def _fits(shape, wanted):
    return len(shape) == len(wanted) and all(
        None in (side, wanted_side) or side == wanted_side
        for side, wanted_side in zip(shape, wanted)
    )


def _in_words(shape, is_batch=False):
    sides = ["any" if side is None else str(side) for side in shape]
    if is_batch and shape[0] is None:
        sides[0] = "n"
    return f"[{', '.join(sides)}]"


def check_pixel_range(images):
    """Warns of pixel values outside of [0, 255], and of images that look scaled to [0, 1].

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
        hint = ", which are all nearly black. Multiply images in [0, 1] by 255"
    elif low < 0:
        hint = ". Map them to 0 to 255, as (images + 1) * 127.5 does from [-1, 1]"
    elif high > 255:
        hint = ". Divide images of 16 bits by 257"
    else:
        return
    warnings.warn(
        f"expected pixel values from 0 to 255. Received: {images.dtype} images with values from "
        f"{low:g} to {high:g}{hint}",
        stacklevel=3,
    )


def check_first_batch(data):
    """As `check_pixel_range`, for the first batch of a dataset that can be read again.

    It reads a batch, so it is for datasets whose order does not matter: one more reading moves the
    order of a `tf.data.Dataset` that shuffles.

    Args:
        data: A `tf.data.Dataset` or a `keras.utils.PyDataset` of images, with or without labels.
            `uint8` images are not read, and anything else is not looked at.
    """
    batch = None
    if hasattr(data, "element_spec"):
        spec = data.element_spec
        spec = spec[0] if isinstance(spec, tuple) else spec
        if getattr(spec, "dtype", "uint8") != "uint8":
            batch = next(iter(data.take(1)), None)
    elif isinstance(data, keras.utils.PyDataset):
        batch = data[0]
    check_pixel_range(batch[0] if isinstance(batch, (tuple, list)) else batch)
