"""Decoding and resizing of images."""

import tensorflow as tf


def decode_image(contents):
    """Decodes JPEG, PNG, GIF (its first frame), BMP or WebP to `uint8 [height, width, 3]`.

    Gray images are repeated over the channels, alpha is dropped, palettes are looked up and
    16-bit values keep their upper byte.

    Args:
        contents: Scalar string tensor or bytes, the contents of a file.
    """
    decoded = tf.io.decode_image(contents, channels=3, expand_animations=False)
    return tf.cond(
        _is_palette_bmp(contents), lambda: _look_up_palette(contents, decoded), lambda: decoded
    )


def resize_to(image, shape):
    """Brings an image `[height, width, channels]` to `shape` as `uint8`.

    The size is changed without keeping the aspect; colors become gray by their luminance (ITU-R
    BT.601), gray is repeated over three channels. An image that has the shape already is returned
    as it is, to the last bit.

    Args:
        image: `[height, width, 1 or 3]`, values 0 to 255.
        shape: `(height, width, channels)`.
    """
    *size, channels = shape
    pixels = tf.image.resize(image, size, antialias=True)
    if image.shape[-1] == 3 and channels == 1:
        pixels = tf.tensordot(pixels, [[0.299], [0.587], [0.114]], axes=1)
    elif image.shape[-1] == 1 and channels == 3:
        pixels = tf.repeat(pixels, 3, axis=-1)
    elif image.shape[-1] != channels:
        raise ValueError(
            f"an image of {image.shape[-1]} channels cannot be made one of {channels}; 1 and 3 can"
        )
    pixels = tf.cast(tf.clip_by_value(tf.round(pixels), 0, 255), tf.uint8)
    return tf.ensure_shape(pixels, shape)


def _is_palette_bmp(contents):
    # Offset 28 of a BMP holds the bits of a pixel; TensorFlow reads 8 of them as gray.
    is_bmp = tf.strings.substr(contents, 0, 2) == b"BM"
    return tf.cond(
        is_bmp & (tf.strings.length(contents) > 54),
        lambda: _integer_at(contents, 28, tf.uint16) == 8,
        lambda: False,
    )


def _look_up_palette(contents, decoded):
    start = 14 + _integer_at(contents, 14, tf.int32)
    pixels = _integer_at(contents, 10, tf.int32)
    colors = tf.io.decode_raw(tf.strings.substr(contents, start, pixels - start), tf.uint8)
    palette = tf.reshape(colors, (-1, 4))[:, 2::-1]  # stored as blue, green, red, unused
    return tf.gather(palette, tf.cast(decoded[..., 0], tf.int32))


def _integer_at(contents, offset, dtype):
    return tf.io.decode_raw(tf.strings.substr(contents, offset, dtype.size), dtype)[0]
