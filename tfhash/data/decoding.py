"""Decoding of images as a viewer shows them, with TensorFlow ops alone.

The exported model decodes with these functions too, so that training and serving see the same bits.
"""

import functools
import typing

import tensorflow as tf

from tfhash.data.containers import (
    find_png_chunks,
    find_segments,
    find_webp_chunks,
    integer_at,
    slice_of,
)
from tfhash.data.gif import find_blocks, first_frame, make_opaque
from tfhash.data.headers import VP8X, bmp_size, gif_size, jpeg_size, png_size, webp_size
from tfhash.data.orientation import UPRIGHT, exif_orientation, jpeg_orientation, turn_upright

# Which have a decoder of their own; JPEG XL is left to TensorFlow.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WebP")
_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"RIFF")

# What shows through transparent pixels: white.
BACKGROUND = 255

# A JPEG is decoded at a half, a quarter or an eighth where each side keeps so many times the pixels
# that are asked for. With 2, pixels of the resized image differ from those after a full decoding by
# 0.7 of 255 at most on average, with 1 by 2.2; see benchmarks/photos.py.
# In words in the report of a run, too.
MARGIN = 2
_RATIOS = (2, 4, 8)
# Larger than that of any image, so that a JPEG is decoded whole.
_ANY_SIDE = 2**31

# Calls of decoders: of JPEG at four ratios, of PNG with 8 or 16 bits without or with alpha, and others.
_JPEG, _PNG, _STILL_WEBP, _PALETTE, _ALPHA, _RUN_LENGTHS, _ANY = 0, 4, 8, 9, 10, 11, 12


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
    plan = plan_decoding(contents)
    return tf.ensure_shape(turn_upright(decode(plan), plan.orientation), (None, None, 3))


class Plan(typing.NamedTuple):
    """How a file is decoded, by its headers.

    Attributes:
        contents: What to decode, a string: the file, but for a GIF with transparent pixels.
        format: Index into `FORMATS`, or their number for any other file; `int32`.
        decoder: Which call of a decoder; `int32`.
        size: Height and width by the header, `int64 [2]`; 0 where they are not known.
        ratio: What `decode` divides the size by, rounded up; `int32`.
        orientation: EXIF orientation, see `tfhash.data.orientation.turn_upright`; `int64`.
    """

    contents: tf.Tensor
    format: tf.Tensor
    decoder: tf.Tensor
    size: tf.Tensor
    ratio: tf.Tensor
    orientation: tf.Tensor


PLAN_SPEC = Plan(
    contents=tf.TensorSpec((), tf.string),
    format=tf.TensorSpec((), tf.int32),
    decoder=tf.TensorSpec((), tf.int32),
    size=tf.TensorSpec((2,), tf.int64),
    ratio=tf.TensorSpec((), tf.int32),
    orientation=tf.TensorSpec((), tf.int64),
)


def plan_decoding(contents, side=None):
    """Reads the headers of a file, and never fails, whatever the contents are.

    Args:
        contents: As in `decode_image`.
        side: Pixels that each side of the image is needed with. Those of a JPEG may then be fewer
            than stored, but never less than `MARGIN` times as many. By default all are decoded.

    Returns:
        `Plan`.
    """
    plan, _ = trace()
    return plan(
        contents=tf.convert_to_tensor(contents, tf.string),
        side=tf.constant(side or _ANY_SIDE, tf.int64),
    )


def decode(plan):
    """Decodes a file by its plan to `uint8 [height, width, 3]`, not turned.

    Raises:
        tf.errors.InvalidArgumentError: If the file is damaged.
    """
    _, decode_planned = trace()
    return decode_planned(plan)


@functools.cache
def trace():
    """Traces what the functions here run, for all shapes and commands, and returns it.

    This takes as long as decoding a thousand small images. Threads that decode call it before they start.
    """
    contents, side = tf.TensorSpec((), tf.string), tf.TensorSpec((), tf.int64)
    return (
        tf.function(_plan, (contents, side), autograph=False).get_concrete_function(),
        tf.function(_decode_planned, (PLAN_SPEC,), autograph=False).get_concrete_function(),
    )


def _plan(contents, side):
    data = tf.io.decode_raw(contents, tf.uint8)
    starts = [tf.strings.substr(contents, 0, len(start)) == start for start in _STARTS]
    found = tf.argmax(tf.cast(tf.stack([*starts, True]), tf.int32), output_type=tf.int32)
    plans = [functools.partial(_plan_jpeg, side=side), _plan_png, _plan_gif, _plan_bmp, _plan_webp]
    branches = [lambda plan=plan: plan(contents, data) for plan in [*plans, _plan_other]]
    planned, decoder, size, ratio, orientation = tf.switch_case(found, branches)
    return Plan(planned, found, decoder, tf.ensure_shape(size, (2,)), ratio, orientation)


def _decode_planned(plan):
    contents = plan.contents
    # In the order of the constants above.
    decoders = [
        *(functools.partial(_decode_jpeg, contents, ratio) for ratio in (1, *_RATIOS)),
        lambda: tf.io.decode_png(contents, channels=3),
        lambda: on_background(tf.io.decode_png(contents, channels=4)),
        lambda: to_uint8(tf.io.decode_png(contents, channels=3, dtype=tf.uint16)),
        lambda: on_background(to_uint8(tf.io.decode_png(contents, channels=4, dtype=tf.uint16))),
        lambda: _decode_still_webp(contents),
        lambda: _look_up_palette(contents),
        lambda: on_background(_decode(contents, channels=4)),
        _refuse_run_lengths,
        lambda: _decode(contents),
    ]
    return tf.ensure_shape(tf.switch_case(plan.decoder, decoders), (None, None, 3))


def stored_size(plan, pixels):
    """Height and width that a file stores, `int64 [2]`, where `decode` made pixels of its plan."""
    # Only JPEGs are reduced, whose header can be relied on once they are decoded.
    return tf.where(plan.ratio > 1, plan.size, tf.shape(pixels, tf.int64)[:2])


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


def _plan_jpeg(contents, data, side):
    exif, frame = find_segments(data)
    size = jpeg_size(data, frame)
    fitting = tf.reduce_min(size) >= side * [MARGIN * ratio for ratio in _RATIOS]
    chosen = tf.reduce_sum(tf.cast(fitting, tf.int32))
    ratio = tf.constant((1, *_RATIOS))[chosen]
    return contents, _JPEG + chosen, size, ratio, jpeg_orientation(data, exif)


def _plan_png(contents, data):
    exif, transparent_color = find_png_chunks(data, [b"eXIf", b"tRNS"])
    bit_depth, color_type = integer_at(data, 24, 1), integer_at(data, 25, 1)
    # Four channels only where there is alpha: TensorFlow makes it 1 of 255 in 1-bit images.
    has_alpha = (color_type == 4) | (color_type == 6) | (transparent_color >= 0)
    decoder = _PNG + tf.where(has_alpha, 1, 0) + tf.where(bit_depth == 16, 2, 0)
    orientation = exif_orientation(slice_of(data, exif, integer_at(data, exif - 8, 4)))
    return contents, decoder, png_size(data), tf.constant(1), orientation


def _plan_gif(contents, data):
    blocks = find_blocks(data)
    _, descriptor = blocks
    opaque = make_opaque(contents, data, blocks, BACKGROUND)
    still = first_frame(opaque, data, descriptor)
    return still, tf.constant(_ANY), gif_size(data, descriptor), tf.constant(1), _upright()


def _plan_bmp(contents, data):
    bits, compression, header_bytes, alpha_mask = (
        integer_at(data, position, size, is_big_endian=False)
        for position, size in ((28, 2), (30, 4), (14, 4), (66, 4))
    )
    # Elsewhere the fourth byte of a pixel is unused, and only long headers have the mask of alpha.
    has_alpha = (bits == 32) & (compression == 3) & (header_bytes >= 56) & (alpha_mask != 0)
    decoder = tf.where(has_alpha, _ALPHA, tf.where(bits == 8, _PALETTE, _ANY))
    has_run_lengths = (compression == 1) | (compression == 2)
    decoder = tf.where(has_run_lengths, _RUN_LENGTHS, decoder)
    return contents, decoder, bmp_size(data), tf.constant(1), _upright()


def _plan_webp(contents, data):
    (exif,) = find_webp_chunks(data, [b"EXIF"])
    # Flags of an extended file. TensorFlow refuses an animation where three channels are asked for.
    is_animated = (integer_at(data, 12, 4) == VP8X) & (integer_at(data, 20, 1) & 2 != 0)
    length = integer_at(data, exif - 4, 4, is_big_endian=False)
    orientation = exif_orientation(slice_of(data, exif, length))
    decoder = tf.where(is_animated, _ANY, _STILL_WEBP)
    return contents, decoder, webp_size(data), tf.constant(1), orientation


def _plan_other(contents, _):
    # JPEG XL. For others, TensorFlow's error lists what it can read.
    return contents, tf.constant(_ANY), tf.zeros(2, tf.int64), tf.constant(1), _upright()


def _decode_jpeg(contents, ratio):
    # Pillow and most viewers use this DCT; TensorFlow's default is off by one here and there.
    return tf.io.decode_jpeg(contents, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE")


def _decode_still_webp(contents):
    image = _decode(contents, channels=0)  # three, or four with alpha
    return tf.cond(tf.shape(image)[-1] == 4, lambda: on_background(image), lambda: image[..., :3])


def _refuse_run_lengths():
    message = "a run-length encoded BMP cannot be read; save it uncompressed"
    with tf.control_dependencies([tf.debugging.Assert(False, [message])]):
        return tf.zeros((1, 1, 3), tf.uint8)


def _decode(contents, channels=3):
    image = tf.io.decode_image(contents, channels=channels, expand_animations=False)
    return tf.ensure_shape(image, (None, None, channels or None))


def _upright():
    return tf.constant(UPRIGHT, tf.int64)


def _look_up_palette(contents):
    """Decodes an 8-bit BMP, whose indices TensorFlow takes for gray.

    Here and not in Pillow, so that the exported model shows the same colors.
    """
    decoded, data = _decode(contents), tf.io.decode_raw(contents, tf.uint8)
    start = 14 + integer_at(data, 14, 4, is_big_endian=False)
    colors = data[start : integer_at(data, 10, 4, is_big_endian=False)]
    # Blue, green, red and an unused byte. Pixels beyond a short palette are black.
    colors = tf.pad(colors[: 4 * 256], [[0, tf.maximum(4 * 256 - tf.size(colors), 0)]])
    palette = tf.reshape(colors, (256, 4))[:, 2::-1]
    return tf.gather(palette, tf.cast(decoded[..., 0], tf.int32))
