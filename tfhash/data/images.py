"""What turns a file into the input of a network: one function for training, encoding and export."""

import functools

import tensorflow as tf

from tfhash.data.decoding import decode, plan_decoding, stored_size, to_uint8
from tfhash.data.orientation import is_turned, turn_upright

# Names what the functions here make of a file. A change of their pixels needs another name, or images
# on disk would stay those of before.
VERSION = "1"


def decode_and_resize(contents, image_shape, keep_aspect=True):
    """Decodes an image file and brings it to a shape; see `decode_image` and `resize_to`.

    A JPEG is decoded at a half, a quarter or an eighth of its size where each side keeps twice the
    pixels of the larger side of `image_shape`. An image is turned upright after it was resized.

    Made of stock TensorFlow ops, so an exported model can hold it.

    Args:
        contents: Scalar string tensor or bytes, the contents of a file.
        image_shape: `(height, width, channels)`.
        keep_aspect: As in `resize_to`.

    Returns:
        `uint8` tensor of `image_shape`.

    Example:

    >>> photo = tf.io.encode_jpeg(tf.zeros((300, 2000, 3), tf.uint8))
    >>> decode_and_resize(photo, (48, 48, 3)).shape
    TensorShape([48, 48, 3])
    """
    plan = plan_decoding(contents, max(image_shape[:2]))
    return decode_planned(plan, image_shape, keep_aspect)


def decode_planned(plan, image_shape, keep_aspect=True):
    """The part of `decode_and_resize` that fails for a damaged file.

    Args:
        plan: Of `tfhash.data.decoding.plan_decoding`, with the larger side of `image_shape`.
        image_shape, keep_aspect: As in `decode_and_resize`.
    """
    pixels = decode(plan)
    # Not the size of the pixels: where it does not divide, the last ones are in part beyond the file.
    extent = tf.cast(stored_size(plan, pixels), tf.float32) / tf.cast(plan.ratio, tf.float32)
    resize = _resizing(tuple(image_shape), keep_aspect)
    return resize(pixels=pixels, extent=extent, orientation=plan.orientation)


@functools.cache
def _resizing(image_shape, keep_aspect):
    height, width = image_shape[:2]

    def resize(pixels, extent, orientation):
        size = tf.where(is_turned(orientation), (width, height), (height, width))
        resized = _resize(pixels[None], extent, size, keep_aspect)[0]
        return _finish(turn_upright(resized, orientation)[None], 3, image_shape)[0]

    specs = (
        tf.TensorSpec((None, None, 3), tf.uint8),
        tf.TensorSpec((2,), tf.float32),
        tf.TensorSpec((), tf.int64),
    )
    return tf.function(resize, specs, autograph=False).get_concrete_function()


def resize_to(image, shape, keep_aspect=True):
    """Brings an image, or a batch of images of one size, to `shape` as `uint8`.

    The image is scaled until it covers the shape, bilinear with antialiasing, and what stands out on
    two sides is cut off, the same on both. Colors become gray by their luminance (ITU-R BT.601), gray
    is repeated over three channels. An image that has the shape already is returned exactly.

    Args:
        image: `[height, width, 1 or 3]` or `[n, height, width, 1 or 3]`, values 0 to 255, or `uint16`
            with values 0 to 65535.
        shape: `(height, width, channels)`.
        keep_aspect: Otherwise, nothing is cut off, and the image is squeezed or stretched.

    Raises:
        ValueError: If the channels are not 1 or 3 where they have to change.
    """
    image = tf.convert_to_tensor(to_uint8(image))
    is_batch = len(image.shape) == 4
    images = image if is_batch else image[None]
    extent = tf.cast(tf.shape(images)[1:3], tf.float32)
    pixels = _resize(images, extent, tf.constant(shape[:2]), keep_aspect)
    resized = _finish(pixels, image.shape[-1], shape)
    return resized if is_batch else resized[0]


def _resize(images, extent, size, keep_aspect):
    """Pixels `float32 [n, *size, channels]` of images whose picture has an extent in their pixels."""
    wanted = tf.cast(size, tf.float32)
    scale = wanted / extent
    if keep_aspect:
        scale = tf.repeat(tf.reduce_max(scale), 2)
    # What is far from the middle is cut off first: a panorama as a whole might not fit into memory.
    middle = wanted / scale
    around = tf.maximum(1.0, 1 / scale) + 1  # that far, pixels play a part
    start = tf.maximum(tf.floor((extent - middle) / 2 - around), 0)
    end = tf.cast(tf.math.ceil((extent + middle) / 2 + around), tf.int32)
    (top, left), (bottom, right) = tf.unstack(tf.cast(start, tf.int32)), tf.unstack(end)
    return tf.raw_ops.ScaleAndTranslate(
        images=images[:, top:bottom, left:right],
        size=size,
        scale=scale,
        translation=(wanted - scale * extent) / 2 + scale * start,
        kernel_type="triangle",
        antialias=True,
    )


def _finish(pixels, given_channels, shape):
    channels = shape[-1]
    if given_channels == 3 and channels == 1:
        pixels = tf.tensordot(pixels, [[0.299], [0.587], [0.114]], axes=1)
    elif given_channels == 1 and channels == 3:
        pixels = tf.repeat(pixels, 3, axis=-1)
    elif given_channels != channels:
        raise ValueError(
            f"an image of {given_channels} channels cannot be made one of {channels}; 1 and 3 can"
        )
    pixels = tf.cast(tf.clip_by_value(tf.round(pixels), 0, 255), tf.uint8)
    return tf.ensure_shape(pixels, (None, *shape))
