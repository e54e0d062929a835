"""The images of a request as the model takes them, and refusals that number them."""

import io
import itertools
import reprlib
import threading

import numpy as np

from tfhash import errors
from tfhash.data.formats import format_of
from tfhash.data.images import decode_and_resize, resize_to
from tfhash.experiments.serving.request_error import RequestError

# Those which an exported model decodes.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WebP")

# A larger image is refused before it is decoded.
MOST_PIXELS = 100_000_000

# Images of so many pixels are decoded one at a time, because each takes up to a gigabyte.
_MANY_PIXELS = 8_000_000
_decoding_large = threading.Lock()


def of_file(contents, i, image_shape):
    """Decodes an image file and brings it to a shape, as in training.

    Args:
        contents: Bytes.
        i: Number of the image in the request.
        image_shape: `(height, width, channels)`.

    Returns:
        NumPy `uint8` of that shape.

    Raises:
        RequestError: If it is no image file, damaged, or too large.
    """
    found = format_of(contents)
    if found not in FORMATS:
        raise RequestError(
            f"image {i} must be a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file. Received: "
            f"{len(contents):,} bytes" + (f" of {found}" if found else _start_of(contents))
        )
    if _count_pixels(contents, i, found) < _MANY_PIXELS:
        return _decode(contents, i, image_shape, found)
    with _decoding_large:
        return _decode(contents, i, image_shape, found)


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
    if images.shape[1:] == tuple(image_shape):
        return images
    return np.stack([resize_to(image, image_shape).numpy() for image in images])


def _decode(contents, i, image_shape, found):
    try:
        with errors.translated():
            return decode_and_resize(contents, image_shape).numpy()
    except Exception as error:
        # A damaged file makes a decoder raise almost anything. Nothing else can go wrong here.
        raise RequestError(_unreadable(contents, i, found, error)) from error


def _count_pixels(contents, i, found):
    """Width x height, from the header alone; refuses too many."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(contents), formats=[found.upper()]) as image:
            size = image.size
    except Image.DecompressionBombError as error:
        raise RequestError(f"image {i} has too many pixels: {errors.in_words(error)}") from error
    except Exception as error:
        raise RequestError(_unreadable(contents, i, found, error)) from error
    if size[0] * size[1] > MOST_PIXELS:
        raise RequestError(
            f"image {i} must have at most {MOST_PIXELS:,} pixels. Received: a {found} file of "
            f"{size[0]:,} x {size[1]:,}"
        )
    return size[0] * size[1]


def _unreadable(contents, i, found, error):
    return (
        f"image {i}, a {found} file of {len(contents):,} bytes, cannot be read: "
        f"{errors.in_words(error)}. It may be damaged or cut off"
    )


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


def _start_of(contents):
    return f" that start with {contents[:8].hex(' ')}" if contents else ""
