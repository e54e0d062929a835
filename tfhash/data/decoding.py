"""Decoding of images as a viewer shows them, with TensorFlow ops alone.

The exported model decodes with these functions too, so that training and serving see the same bits.
"""

import functools
import typing

import tensorflow as tf

from tfhash.data.containers import find_png_chunks, find_webp_chunks, integer_at, slice_of
from tfhash.data.gif import make_opaque
from tfhash.data.orientation import UPRIGHT, exif_orientation, jpeg_orientation, turn_upright

# The first chunk of an extended WebP file, which has flags.
_VP8X = int.from_bytes(b"VP8X", "big")

# What shows through transparent pixels: white.
BACKGROUND = 255

# A JPEG is decoded at a half, a quarter or an eighth where each side keeps so many times the pixels
# that are asked for. With 2, pixels of the resized image differ from those after a full decoding by
# 0.7 of 255 at most on average, with 1 by 2.2; see benchmarks/photos.py.
# In words in the report of a run, too.
MARGIN = 2
_RATIOS = (2, 4, 8)


def decode_image(contents):
    """Decodes JPEG, PNG, GIF (the first frame), BMP, WebP or JPEG XL to `uint8 [height, width, 3]`.

    The pixels are those a viewer shows: EXIF orientation is applied, transparent pixels show a white
    background, palettes are looked up, gray is repeated over the channels, and 16-bit values are
    scaled so that 65535 becomes 255. Runs eagerly and in graphs.

    Args:
        contents: Scalar string tensor or bytes, the contents of a file.

    Raises:
        tf.errors.InvalidArgumentError: If the contents cannot be decoded. Damaged EXIF data is
            ignored.
    """
    stored = decode_stored(contents)
    upright = turn_upright(stored.pixels, stored.orientation)
    return tf.ensure_shape(upright, (None, None, 3))


class Stored(typing.NamedTuple):
    """An image as its file stores it: not turned, and perhaps decoded at a reduced size.

    Attributes:
        pixels: `uint8 [height, width, 3]`.
        size: Height and width in the file, `int32 [2]`.
        ratio: What the size was divided by, rounded up; `int32` scalar.
        orientation: EXIF orientation, see `tfhash.data.orientation.turn_upright`.
    """

    pixels: tf.Tensor
    size: tf.Tensor
    ratio: tf.Tensor
    orientation: tf.Tensor


def decode_stored(contents, side=None):
    """Decodes as `decode_image`, but does not turn the image, and at a reduced size where that will do.

    Args:
        contents: As in `decode_image`.
        side: Pixels that each side of the image is needed with. Those of a JPEG may then be fewer
            than stored, but never less than `MARGIN` times as many. By default all are decoded.

    Returns:
        `Stored`.
    """
    contents = tf.convert_to_tensor(contents, tf.string)
    data = tf.io.decode_raw(contents, tf.uint8)
    branches = [
        (b"\xff\xd8\xff", functools.partial(_decode_jpeg, side=side)),
        (b"\x89PNG\r\n\x1a\n", _at_full_size(_decode_png)),
        (b"RIFF", _at_full_size(_decode_webp)),
        (b"GIF8", _at_full_size(_decode_gif)),
        (b"BM", _at_full_size(_decode_bmp)),
        (b"", _at_full_size(_decode_other)),
    ]
    starts = [tf.strings.substr(contents, 0, len(start)) == start for start, _ in branches]
    first = tf.argmax(tf.cast(tf.stack(starts), tf.int32), output_type=tf.int32)
    functions = [lambda decode=decode: decode(contents, data) for _, decode in branches]
    stored = tf.switch_case(first, functions)
    return stored._replace(pixels=tf.ensure_shape(stored.pixels, (None, None, 3)))


def to_uint8(image):
    """Brings unsigned integers to `uint8`, so that the largest value becomes 255.

    Args:
        image: `uint8` or `uint16` tensor of any shape.

    Example:

    >>> to_uint8(tf.constant([0, 128, 129, 65535], tf.uint16)).numpy().tolist()
    [0, 0, 1, 255]
    """
    if image.dtype == tf.uint16:
        return tf.cast((tf.cast(image, tf.int32) + 128) // 257, tf.uint8)
    return image


def on_background(image):
    """Composites `uint8 [height, width, 4]`, the last channel alpha, on the background."""
    # The sum is at most 255 * 255, so that 16 bits hold it: a photo of 12 megapixels takes 72 MB.
    pixels = tf.cast(image, tf.uint16)
    colors, alpha = pixels[..., :3], pixels[..., 3:]
    blended = colors * alpha + BACKGROUND * (255 - alpha)
    return tf.cast((blended + 127) // 255, tf.uint8)


def _at_full_size(decode):
    def decode_at_full_size(contents, data):
        pixels, orientation = decode(contents, data)
        return Stored(pixels, tf.shape(pixels)[:2], tf.constant(1), orientation)

    return decode_at_full_size


def _decode_jpeg(contents, data, side):
    # Pillow and most viewers use this DCT; TensorFlow's default is off by one here and there.
    decode = functools.partial(
        tf.io.decode_jpeg, contents, channels=3, dct_method="INTEGER_ACCURATE"
    )
    size = tf.io.extract_jpeg_shape(contents)[:2]
    if side is None:
        return Stored(decode(), size, tf.constant(1), jpeg_orientation(data))
    fitting = tf.reduce_min(size) >= MARGIN * side * tf.constant(_RATIOS)
    chosen = tf.reduce_sum(tf.cast(fitting, tf.int32))
    ratios = (1, *_RATIOS)
    pixels = tf.switch_case(chosen, [lambda ratio=ratio: decode(ratio=ratio) for ratio in ratios])
    return Stored(pixels, size, tf.constant(ratios)[chosen], jpeg_orientation(data))


def _decode_png(contents, data):
    exif, transparent_color = find_png_chunks(data, [b"eXIf", b"tRNS"])
    bit_depth, color_type = integer_at(data, 24, 1), integer_at(data, 25, 1)
    has_alpha = (color_type == 4) | (color_type == 6) | (transparent_color >= 0)

    def decode(dtype):
        # Four channels only where there is alpha: TensorFlow makes it 1 of 255 in 1-bit images.
        return tf.cond(
            has_alpha,
            lambda: on_background(to_uint8(tf.io.decode_png(contents, channels=4, dtype=dtype))),
            lambda: to_uint8(tf.io.decode_png(contents, channels=3, dtype=dtype)),
        )

    image = tf.cond(bit_depth == 16, lambda: decode(tf.uint16), lambda: decode(tf.uint8))
    return image, exif_orientation(slice_of(data, exif, integer_at(data, exif - 8, 4)))


def _decode_webp(contents, data):
    (exif,) = find_webp_chunks(data, [b"EXIF"])
    # Flags of an extended file. TensorFlow refuses an animation where three channels are asked for.
    is_animated = (integer_at(data, 12, 4) == _VP8X) & (integer_at(data, 20, 1) & 2 != 0)

    def decode_still():
        image = _decode(contents, channels=0)  # three, or four with alpha
        return tf.cond(
            tf.shape(image)[-1] == 4, lambda: on_background(image), lambda: image[..., :3]
        )

    image = tf.cond(is_animated, lambda: _decode(contents), decode_still)
    length = integer_at(data, exif - 4, 4, is_big_endian=False)
    return image, exif_orientation(slice_of(data, exif, length))


def _decode_gif(contents, data):
    return _decode(make_opaque(contents, data, BACKGROUND)), _upright()


def _decode_bmp(contents, data):
    bits, compression, header_bytes, alpha_mask = (
        integer_at(data, position, size, is_big_endian=False)
        for position, size in ((28, 2), (30, 4), (14, 4), (66, 4))
    )
    tf.debugging.Assert(
        (compression != 1) & (compression != 2),
        ["a run-length encoded BMP cannot be read; save it uncompressed"],
    )
    # Elsewhere the fourth byte of a pixel is unused, and only long headers have the mask of alpha.
    has_alpha = (bits == 32) & (compression == 3) & (header_bytes >= 56) & (alpha_mask != 0)
    decode_as = tf.where(has_alpha, 2, tf.where(bits == 8, 1, 0))
    functions = [
        lambda: _decode(contents),
        lambda: _look_up_palette(data, _decode(contents)),
        lambda: on_background(_decode(contents, channels=4)),
    ]
    return tf.switch_case(decode_as, functions), _upright()


def _decode_other(contents, _):
    # JPEG XL. For others, TensorFlow's error lists what it can read.
    return _decode(contents), _upright()


def _decode(contents, channels=3):
    image = tf.io.decode_image(contents, channels=channels, expand_animations=False)
    return tf.ensure_shape(image, (None, None, channels or None))


def _upright():
    return tf.constant(UPRIGHT, tf.int64)


def _look_up_palette(data, decoded):
    """Colors of an 8-bit BMP, whose indices TensorFlow takes for gray.

    Here and not in Pillow, so that the exported model shows the same colors.
    """
    start = 14 + integer_at(data, 14, 4, is_big_endian=False)
    colors = data[start : integer_at(data, 10, 4, is_big_endian=False)]
    # Blue, green, red and an unused byte. Pixels beyond a short palette are black.
    colors = tf.pad(colors[: 4 * 256], [[0, tf.maximum(4 * 256 - tf.size(colors), 0)]])
    palette = tf.reshape(colors, (256, 4))[:, 2::-1]
    return tf.gather(palette, tf.cast(decoded[..., 0], tf.int32))
