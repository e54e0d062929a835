"""Integers and chunks in the bytes of image files, read with TensorFlow ops.

The bytes are not trusted: lengths and offsets that lead outside the file end a search.
"""

import tensorflow as tf

# A segment or chunk has at least so many bytes on average. Only hostile files have many smaller ones.
_CHUNK_BYTES = 1024

# Markers of JPEG: where compressed data starts, where the file ends, and the segment with EXIF, whose
# contents start with "Exif".
_START_OF_SCAN, _END_OF_IMAGE, _APP1 = 0xDA, 0xD9, 0xE1
_EXIF = int.from_bytes(b"Exif", "big")
# A stuffed byte and a marker of arithmetic coding, at most 1; restarts and the start of an image.
_LAST_STUFFING, _FIRST_WITHOUT_LENGTH = 0x01, 0xD0
# Between the frame headers: of tables, and two that are reserved.
_NO_FRAMES = (0xC4, 0xC8, 0xCC)


def find_segments(data):
    """Where the contents of the EXIF segment and of the frame header of a JPEG start, -1 for none."""

    # A segment: 0xFF, its marker, and its length in two bytes, which count themselves.
    def is_searching(_, header, exif, frame):
        marker = header // 2**16 - 0xFF00
        is_segment = (marker > _LAST_STUFFING) & (marker != _START_OF_SCAN)
        # These have no length. A decoder skips them, so what follows would be read differently.
        is_segment &= (marker < _FIRST_WITHOUT_LENGTH) | (marker > _END_OF_IMAGE)
        return is_segment & ((exif < 0) | (frame < 0))

    def next_segment(position, header, exif, frame):
        marker = header // 2**16 - 0xFF00
        is_exif = (marker == _APP1) & (integer_at(data, position + 4, 4) == _EXIF) & (exif < 0)
        is_frame = (marker // 16 == 0xC) & tf.reduce_all(marker != _NO_FRAMES) & (frame < 0)
        # 0xFF may be repeated before a marker.
        length = tf.where(marker == 0xFF, one, 2 + tf.maximum(header % 2**16, 2))
        following = position + length
        return (
            following,
            integer_at(data, following, 4),
            tf.where(is_exif, position + 4, exif),
            tf.where(is_frame, position + 4, frame),
        )

    one, start, missing = tf.unstack(tf.constant([1, 2, -1], tf.int64))
    state = (start, integer_at(data, start, 4), missing, missing)
    steps = most_steps(data, _CHUNK_BYTES)
    return tf.while_loop(is_searching, next_segment, state, maximum_iterations=steps)[2:]


def find_png_chunks(data, names):
    """Where the contents of the first PNG chunk of each name start, `int64`; -1 where there is none."""

    def step(position):
        # A checksum of four bytes follows the contents.
        return position + 4, position + 12 + integer_at(data, position, 4)

    return _find_chunks(data, 8, step, names)


def find_webp_chunks(data, names):
    """As `find_png_chunks`, for WebP."""

    def step(position):
        length = integer_at(data, position + 4, 4, is_big_endian=False)
        return position, position + 8 + length + length % 2

    return _find_chunks(data, 12, step, names)


def _find_chunks(data, start, step, names):
    wanted = tf.constant([int.from_bytes(name, "big") for name in names], tf.int64)
    end = tf.size(data, tf.int64)

    def is_searching(position, _):
        return position + 8 <= end

    def next_chunk(position, found):
        name_at, following = step(position)
        is_it = (integer_at(data, name_at, 4) == wanted) & (found < 0)
        return following, tf.where(is_it, position + 8, found)

    nowhere = tf.fill([len(names)], tf.constant(-1, tf.int64))
    start = tf.constant(start, tf.int64)
    steps = most_steps(data, _CHUNK_BYTES)
    _, found = tf.while_loop(is_searching, next_chunk, (start, nowhere), maximum_iterations=steps)
    return tf.unstack(found)


def most_steps(data, bytes_per_step):
    """How many chunks a search looks at before it gives up, so that its time is bounded by the file's size.

    Args:
        data: The bytes of the file, `uint8 [n]`.
        bytes_per_step: What a chunk has at least, on average; the first 1,024 may be smaller.
    """
    return 1024 + tf.size(data) // bytes_per_step


def integer_at(data, position, size, is_big_endian=True):
    """Unsigned integer in `size` bytes at `position`, `int64`; bytes beyond the end count as 0."""
    position = tf.cast(position, tf.int64)
    digits = data[position : position + size]
    padded = tf.ensure_shape(tf.pad(digits, [[0, size - tf.size(digits)]]), (size,))
    return to_integers(padded[None], is_big_endian)[0]


def to_integers(digits, is_big_endian):
    """Unsigned integers `int64 [n]` of bytes `uint8 [n, size]`."""
    powers = [256**place for place in range(digits.shape[-1])]
    weights = tf.where(is_big_endian, tf.constant(powers[::-1], tf.int64), powers)
    return tf.reduce_sum(tf.cast(digits, tf.int64) * weights, axis=-1)


def slice_of(data, position, length):
    """`length` bytes at `position`, fewer where the file ends; none for a negative position."""
    start = tf.maximum(position, 0)
    return data[start : start + tf.where(position < 0, tf.zeros_like(length), length)]
