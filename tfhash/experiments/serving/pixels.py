"""The images of a request as the model takes them, and errors that number them."""

import functools
import itertools
import re
import reprlib

import numpy as np
import tensorflow as tf

from tfhash import errors
from tfhash.data import guarded
from tfhash.data.images import resize_to
from tfhash.experiments.serving.request_error import RequestError

# In the message of a failed assertion of `tfhash.data.guarded`.
_BAD_IMAGE = re.compile(r"\[image (\d+) (.*)\]$")


def of_files(files, start, image_shape):
    """Decodes image files and brings them to a shape, as in training.

    Args:
        files: List of bytes, at least one.
        start: Number of the first one in the request.
        image_shape: `(height, width, channels)`.

    Returns:
        NumPy `uint8 [n, *image_shape]`.

    Raises:
        RequestError: If one is no image file, damaged, or too large.
    """
    try:
        return _decoder(guarded.decode_batch_or_fail, tuple(image_shape))(
            tf.constant(files)
        ).numpy()
    except tf.errors.InvalidArgumentError as error:
        bad = _BAD_IMAGE.search(errors.in_words(error))
        if bad is None:
            raise
        raise RequestError(f"image {start + int(bad[1])} {bad[2]}") from error


def of_files_or_masked(files, image_shape):
    """As `of_files`, but what cannot be read fails nothing.

    Returns:
        NumPy `uint8 [n, *image_shape]`, and whether each file could be read, `bool [n]`.
    """
    images, valid = _decoder(guarded.decode_batch, tuple(image_shape))(tf.constant(files))
    return images.numpy(), valid.numpy()


def of_lists(images):
    """Makes an array of images that were sent as pixels.

    Args:
        images: Nested lists of integers 0 to 255, `[n, height, width, 1 or 3]`.

    Returns:
        NumPy `uint8` of that shape.

    Raises:
        RequestError: If they are something else.
    """
    try:
        shape, values = _flatten(images)
    except ValueError as error:
        raise RequestError(
            "`images` must be lists of one shape, [n, height, width, channels]. Received: "
            f"{error}. Send images of several sizes in several requests, or as files"
        ) from None
    if len(shape) != 4 or shape[-1] not in (1, 3) or 0 in shape:
        raise RequestError(
            "`images` must be lists of shape [n, height, width, 1 or 3]. Received: shape "
            f"{shape}. For one image send a list of one"
        )
    # By exact type: a boolean is an integer of Python.
    if set(map(type, values)) != {int} or min(values) < 0 or max(values) > 255:
        wrong = next(v for v in values if type(v) is not int or not 0 <= v <= 255)
        raise RequestError(
            f"`images` must hold integers from 0 to 255. Received: {reprlib.repr(wrong)}"
        )
    return np.array(values, np.uint8).reshape(shape)


def resized(images, image_shape):
    """Brings images `uint8 [n, height, width, 1 or 3]` to a shape, as in training."""
    is_right = images.shape[1:] == tuple(image_shape)
    return images if is_right else resize_to(images, image_shape).numpy()


@functools.cache
def _decoder(decode, image_shape):
    # Traced once for all requests.
    files = tf.TensorSpec((None,), tf.string)
    traced = tf.function(lambda files: decode(files, image_shape), [files], autograph=False)
    return traced.get_concrete_function()


def _flatten(value):
    """The shape of nested lists, up to five sides, and their elements.

    Raises:
        ValueError: If there are several shapes.
    """
    shape: list[int] = []
    level = [value]
    while list in (kinds := set(map(type, level))):
        if len(kinds) > 1:
            other = next(each for each in level if not isinstance(each, list))
            raise ValueError(f"a list beside {reprlib.repr(other)}")
        lengths = set(map(len, level))
        if len(lengths) > 1:
            raise ValueError(f"lists of {min(lengths):,} and of {max(lengths):,} elements")
        shape += lengths
        if shape[-1] == 0 or len(shape) > 4:
            break
        level = list(itertools.chain.from_iterable(level))
    return shape, level
