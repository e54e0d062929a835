"""Image files that are in memory already, as a pipeline passes them on."""

import functools

import numpy as np
import tensorflow as tf

from tfhash.data import decoding, formats
from tfhash.data.guarded import MAX_PIXELS, pixel_count
from tfhash.data.images import decode_planned
from tfhash.data.kept import in_threads
from tfhash.data.scan import EMPTY, reason_of
from tfhash.data.summary import LeftOut


def decode_files(files, image_shape):
    """Decodes image files as training and encoding do; see `tfhash.data.decode_and_resize`.

    A file of more than 100 million pixels by its header is left out, before it takes the memory of many
    images.

    Args:
        files: Pairs of a name and the bytes of a file. The name's extension tells which files Pillow
            reads, such as `.tif`.
        image_shape: `(height, width, channels)`.

    Returns:
        `(rows, images, left_out)`: which files could be read, a list of integers; their images, NumPy
        `uint8 [len(rows), *image_shape]`; and `LeftOut` of the others.

    Example:

    >>> png = tf.io.encode_png(tf.zeros((30, 20, 3), tf.uint8)).numpy()
    >>> rows, images, left_out = decode_files([("a.png", png), ("b.png", png[:50])], (8, 8, 1))
    >>> rows, images.shape, left_out[0].name
    ([0], (1, 8, 8, 1), 'b.png')
    """
    files, image_shape = list(files), tuple(image_shape)
    if files:
        decoding.trace()  # before several threads would
    found = list(in_threads(functools.partial(_decode, image_shape=image_shape), files))
    rows = [row for row, image in enumerate(found) if not isinstance(image, LeftOut)]
    images = np.array([found[row] for row in rows], np.uint8).reshape(-1, *image_shape)
    return rows, images, [image for image in found if isinstance(image, LeftOut)]


def _decode(file, image_shape):
    """The image of a file, or `LeftOut` with what is wrong."""
    name, contents = file
    if not contents:
        return LeftOut(name, EMPTY, True)
    try:
        if formats.is_for_pillow(name, contents):
            contents = formats.to_png(contents)
        with tf.device("CPU"):
            plan = decoding.plan_decoding(tf.constant(contents), max(image_shape[:2]))
            if (pixels := int(pixel_count(plan))) > MAX_PIXELS:
                reason = f"{pixels:,} pixels by the header, more than {MAX_PIXELS:,}"
                return LeftOut(name, reason, True)
            return decode_planned(plan, image_shape).numpy()
    except (tf.errors.OpError, ValueError) as error:
        return LeftOut(name, reason_of(error, contents, name), True)
