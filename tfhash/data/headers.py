"""Height and width of an image by the header of its file, read with TensorFlow ops, before decoding.

Each function takes the bytes of a file, `uint8 [n]`, and returns `int64 [2]`, never negative. Headers are
not trusted: one that is cut off gives zeros or any other size.
"""

import tensorflow as tf

from tfhash.data.containers import integer_at

# The first chunk of a WebP file: extended, which has flags, or lossless.
VP8X, _VP8L, _VP8 = (int.from_bytes(name, "big") for name in (b"VP8X", b"VP8L", b"VP8 "))
_WEBP, _IHDR = (int.from_bytes(name, "big") for name in (b"WEBP", b"IHDR"))


def jpeg_size(data, frame):
    """Of a JPEG whose frame header starts at `frame`, as `containers.find_segments` finds it."""
    size = tf.stack([integer_at(data, frame + 1, 2), integer_at(data, frame + 3, 2)])
    return tf.where(frame < 0, tf.zeros_like(size), size)


def png_size(data):
    # The header must come first. A decoder may pass over another chunk, and find other sizes.
    size = tf.stack([integer_at(data, 20, 4), integer_at(data, 16, 4)])
    return tf.where(integer_at(data, 12, 4) == _IHDR, size, tf.zeros_like(size))


def gif_size(data, descriptor):
    """Of a GIF whose first frame has this descriptor, as `gif.find_blocks` finds it.

    The larger of the screen and the frame: which of them is decoded depends on the decoder.
    """
    screen = tf.stack([_little(data, 8, 2), _little(data, 6, 2)])
    frame = tf.stack([_little(data, descriptor + 7, 2), _little(data, descriptor + 5, 2)])
    return tf.maximum(screen, tf.where(descriptor < 0, tf.zeros_like(frame), frame))


def bmp_size(data):
    # Signed: a negative height is that of an image from top to bottom.
    size = tf.stack([_little(data, 22, 4), _little(data, 18, 4)])
    return tf.where(size >= 2**31, 2**32 - size, size)


def webp_size(data):
    first = integer_at(data, 12, 4)
    extended = tf.stack([_little(data, 27, 3), _little(data, 24, 3)]) + 1
    bits = _little(data, 21, 4)
    lossless = tf.stack([bits // 2**14 % 2**14, bits % 2**14]) + 1
    lossy = tf.stack([_little(data, 28, 2), _little(data, 26, 2)]) % 2**14
    size = tf.where(first == VP8X, extended, tf.where(first == _VP8L, lossless, lossy))
    is_known = (integer_at(data, 8, 4) == _WEBP) & tf.reduce_any(first == [VP8X, _VP8L, _VP8])
    return tf.where(is_known, size, tf.zeros_like(size))


def _little(data, position, size):
    return integer_at(data, position, size, is_big_endian=False)
