"""What turns a file into the input of a network: one function for training, encoding and export."""

import tensorflow as tf

from tfhash.data.decoding import decode_image, to_uint8


def decode_and_resize(contents, image_shape):
    """Decodes an image file and brings it to a shape; see `decode_image` and `resize_to`.

    Made of stock TensorFlow ops, so an exported model can hold it.

    Args:
        contents: Scalar string tensor or bytes, the contents of a file.
        image_shape: `(height, width, channels)`.

    Returns:
        `uint8` tensor of `image_shape`.
    """
    return resize_to(decode_image(contents), image_shape)


def resize_to(image, shape):
    """Brings an image `[height, width, channels]` to `shape` as `uint8`.

    The aspect ratio is not kept. Colors become gray by their luminance (ITU-R BT.601), gray is
    repeated over three channels. An image that has the shape already is returned exactly.

    Args:
        image: `[height, width, 1 or 3]`, values 0 to 255, or `uint16` with values 0 to 65535.
        shape: `(height, width, channels)`.

    Raises:
        ValueError: If the channels are not 1 or 3 where they have to change.
    """
    *size, channels = shape
    pixels = tf.image.resize(to_uint8(image), size, antialias=True)
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
