"""Image files as the page shows them and the model takes them: bounded, with errors in words."""

import io
import re

from tfhash.data import formats
from tfhash.data.guarded import MAX_PIXELS
from tfhash.experiments.serving import pixels
from tfhash.experiments.serving.request_error import RequestError

# What is decoded here. JPEG XL is not: nothing here reads its size before it is decoded.
FORMATS = "JPEG, PNG, GIF, BMP, WebP, TIFF, AVIF, JPEG 2000, PNM or HEIC"

# Shape of a thumbnail.
THUMBNAIL = (320, 320, 3)


def decode(contents, image_shape, name=""):
    """Decodes a file and brings it to a shape, as for training and indexing.

    Args:
        contents: Bytes of the file.
        image_shape: `(height, width, channels)`.
        name: Its name, if it has one.

    Returns:
        NumPy `uint8` of that shape.

    Raises:
        RequestError: If it is no image, damaged, or has too many pixels.
    """
    if formats.format_of(contents) in formats.PILLOW_FORMATS or formats.is_for_pillow(
        name, contents
    ):
        contents = _through_pillow(contents)
    try:
        return pixels.of_files([contents], 0, image_shape)[0]
    except RequestError as error:
        # Written for a batch, and for servers that decode no other formats.
        message = re.sub(r" \(1 of 1 images are bad\)$", "", error.message)
        message = message.replace("JPEG, PNG, GIF, BMP or WebP", FORMATS, 1)
        raise RequestError(re.sub(r"^image 0 ", "the file ", message)) from None


def thumbnail(contents, name=""):
    """JPEG of the middle square of an image, as a network with square images sees it.

    Args:
        contents, name: As for `decode`.

    Raises:
        RequestError: As for `decode`.
    """
    from PIL import Image

    jpeg = io.BytesIO()
    Image.fromarray(decode(contents, THUMBNAIL, name)).save(jpeg, "JPEG", quality=85)
    return jpeg.getvalue()


def warm_up():
    """Has TensorFlow trace the decoding of thumbnails, before several threads would."""
    from PIL import Image

    png = io.BytesIO()
    Image.new("RGB", (8, 8)).save(png, "PNG")
    thumbnail(png.getvalue())


def _through_pillow(contents):
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(contents)) as image:
            width, height = image.size
    except UnidentifiedImageError:
        width = height = 0  # of which `to_png` says more
    except Exception as error:
        # A damaged file, or a size that Pillow takes for an attack.
        raise RequestError(f"the file cannot be read: {error}") from None
    if width * height > MAX_PIXELS:
        raise RequestError(
            f"the file has too many pixels, more than {MAX_PIXELS}: received {width} x {height}"
        )
    try:
        return formats.to_png(contents)
    except ValueError as error:
        raise RequestError(
            f"the file cannot be decoded: received {len(contents):,} bytes of "
            f"{formats.format_of(contents) or 'an unknown format'} ({error})"
        ) from None
