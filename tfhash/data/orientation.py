"""EXIF orientation, read and applied with TensorFlow ops alone.

A file without a readable orientation counts as upright: damaged EXIF data never fails a file whose
pixels can be decoded.
"""

import tensorflow as tf

from tfhash.data.containers import integer_at, slice_of, to_integers

UPRIGHT = 1

# Of EXIF (TIFF): the tag that holds the orientation, and the types of 16-bit and 32-bit integers.
_ORIENTATION_TAG, _SHORT, _LONG = 0x0112, 3, 4
_ENTRY_BYTES = 12

# How EXIF data starts: its prefix, which is "Exif" and two zeros, and the two byte orders of TIFF.
_EXIF, _BIG_ENDIAN, _LITTLE_ENDIAN = (
    int.from_bytes(start, "big") for start in (b"Exif", b"MM\0*", b"II*\0")
)


def turn_upright(image, orientation):
    """Applies an EXIF orientation.

    Args:
        image: `[height, width, channels]`.
        orientation: Scalar integer tensor from 1 to 8.

    Returns:
        The image as a viewer shows it; height and width are swapped for 5 to 8.
    """
    return tf.cond(orientation == UPRIGHT, lambda: image, lambda: _turn(image, orientation))


def is_turned(orientation):
    """Whether an EXIF orientation swaps height and width."""
    return orientation >= 5


def _turn(image, orientation):
    image = tf.cond(is_turned(orientation), lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
    is_upside_down = tf.reduce_any(orientation == [3, 4, 7, 8])
    is_mirrored = tf.reduce_any(orientation == [2, 3, 6, 7])
    return tf.raw_ops.Reverse(tensor=image, dims=tf.stack([is_upside_down, is_mirrored, False]))


def jpeg_orientation(data, exif):
    """Orientation of a JPEG file, an integer from 1 to 8.

    Args:
        data: Bytes of the file, `uint8 [n]`.
        exif: Where the EXIF segment starts, as `tfhash.data.containers.find_segments` finds it.
    """
    # The length before the contents counts itself.
    return exif_orientation(slice_of(data, exif, integer_at(data, exif - 2, 2) - 2))


def exif_orientation(exif):
    """Orientation in EXIF data, an integer from 1 to 8.

    Args:
        exif: `uint8 [n]`, with or without the prefix "Exif"; empty where a file has none.
    """
    # What PNG and WebP hold has no prefix by the standard, and has it in some files.
    exif = exif[tf.where(integer_at(exif, 0, 4) == _EXIF, 6, 0) :]
    is_big_endian = integer_at(exif, 0, 4) == _BIG_ENDIAN
    is_known = is_big_endian | (integer_at(exif, 0, 4) == _LITTLE_ENDIAN)
    directory = integer_at(exif, 4, 4, is_big_endian)
    count = integer_at(exif, directory, 2, is_big_endian)
    entries = exif[directory + 2 : directory + 2 + _ENTRY_BYTES * count]
    whole = tf.size(entries) // _ENTRY_BYTES
    entries = tf.reshape(entries[: _ENTRY_BYTES * whole], (whole, _ENTRY_BYTES))
    tags, types, short_values = (
        to_integers(entries[:, at : at + 2], is_big_endian) for at in (0, 2, 8)
    )
    long_values = to_integers(entries[:, 8:12], is_big_endian)
    values = tf.where(types == _LONG, long_values, short_values)
    is_orientation = (tags == _ORIENTATION_TAG) & ((types == _SHORT) | (types == _LONG))
    found = tf.concat([values[is_orientation], [UPRIGHT]], axis=0)[0]
    is_valid = is_known & (found >= 1) & (found <= 8)
    return tf.where(is_valid, found, tf.constant(UPRIGHT, tf.int64))
