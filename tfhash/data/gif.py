"""The first frame of GIF files, and its transparent pixels, which TensorFlow decodes as black."""

import tensorflow as tf

from tfhash.data.containers import integer_at, most_steps

# A sub-block has at most 255 bytes, and almost all of a file have as many.
_BLOCK_BYTES = 64


def make_opaque(contents, data, blocks, background):
    """Gives the transparent pixels of a GIF's first frame a gray value, where it has any.

    The transparent color, named by the frame's graphic control block, is replaced in the color
    table, and the block by one without transparency.

    Args:
        contents: The file, a scalar string tensor.
        data: The same bytes, `uint8 [n]`.
        blocks: As from `find_blocks`.
        background: Gray value, 0 to 255.

    Returns:
        The contents of the file to decode.
    """
    control, descriptor = blocks
    index = integer_at(data, control + 6, 1)
    global_table = tf.constant(13, tf.int64)
    local_flags = integer_at(data, descriptor + 9, 1)
    table = tf.where(local_flags & 0x80 != 0, descriptor + 10, global_table)
    color = table + 3 * index
    is_transparent = (control >= 0) & (integer_at(data, control + 3, 1) & 1 != 0)
    # A damaged file is left to the decoder.
    is_transparent &= (descriptor >= 0) & (color + 3 <= tf.size(data, tf.int64))

    def patched():
        opaque = _replace(contents, control, b"\x21\xf9\x04\x00\x00\x00\x00\x00")
        return _replace(opaque, color, bytes([background] * 3))

    return tf.cond(is_transparent, patched, lambda: contents)


def first_frame(contents, data, descriptor):
    """A GIF without the frames after its first one.

    TensorFlow decodes all frames before it drops those that were not asked for, and a small file can
    hold thousands of large ones.

    Args:
        contents: The file, a scalar string tensor.
        data: The same bytes, or others of which only colors differ, `uint8 [n]`.
        descriptor: As from `find_blocks`.

    Returns:
        The contents of the file to decode: as they are where the file ends within the first frame.
        Where no frame was found, or too many sub-blocks hide its end, a trailer alone, which decoders
        refuse.
    """
    flags = integer_at(data, descriptor + 9, 1)
    table_bytes = 3 * tf.bitwise.left_shift(tf.constant(2, tf.int64), flags & 7)
    # The descriptor, a color table of its own, and a byte before the compressed data.
    start = descriptor + 11 + tf.where(flags & 0x80 != 0, table_bytes, 0)
    size = tf.size(data, tf.int64)

    # Sub-blocks after their lengths, the last one empty.
    def is_inside(position):
        return (position < size) & (data[tf.minimum(position, size - 1)] > 0)

    def next_block(position):
        return [position + 1 + tf.cast(data[position], tf.int64)]

    end = tf.cond(
        descriptor >= 0,
        lambda: tf.while_loop(
            is_inside, next_block, [start], maximum_iterations=most_steps(data, _BLOCK_BYTES)
        )[0],
        lambda: tf.constant(-1, tf.int64),
    )
    has_end = (end >= 0) & (integer_at(data, end, 1) == 0)
    trailer = b";"

    def cut():
        length = tf.where(has_end, end + 1, 0)
        return tf.strings.join([tf.strings.substr(contents, tf.zeros_like(end), length), trailer])

    return tf.cond(end < size, cut, lambda: contents)


def _replace(contents, position, replacement):
    """`contents` with `replacement` at `position`, in place of as many bytes."""
    after = position + len(replacement)
    length = tf.cast(tf.strings.length(contents), tf.int64)
    return tf.strings.join(
        [
            tf.strings.substr(contents, tf.zeros_like(position), position),
            replacement,
            tf.strings.substr(contents, after, length - after),
        ]
    )


def find_blocks(data):
    """Where the graphic control block and the descriptor of the first frame start, or -1."""
    screen_flags = integer_at(data, 10, 1)
    table_bytes = 3 * tf.bitwise.left_shift(tf.constant(2, tf.int64), screen_flags & 7)
    start = 13 + tf.where(screen_flags & 0x80 != 0, table_bytes, 0)
    end = tf.size(data, tf.int64)

    def is_searching(position, is_inside, control, descriptor):
        is_block = is_inside | tf.reduce_any(integer_at(data, position, 1) == [0x21, 0x2C])
        return (position < end) & (descriptor < 0) & is_block

    def next_block(position, is_inside, control, descriptor):
        first = integer_at(data, position, 1)
        is_extension = ~is_inside & (first == 0x21)
        is_control = is_extension & (integer_at(data, position + 1, 1) == 0xF9)
        # Inside an extension: sub-blocks after their lengths, the last one empty.
        return (
            position + tf.where(is_inside, 1 + first, tf.constant(2, tf.int64)),
            tf.where(is_inside, first > 0, is_extension),
            tf.where(is_control, position, control),
            tf.where(~is_inside & (first == 0x2C), position, descriptor),
        )

    missing = tf.constant(-1, tf.int64)
    state = (start, tf.constant(False), missing, missing)
    steps = most_steps(data, _BLOCK_BYTES)
    _, _, control, descriptor = tf.while_loop(
        is_searching, next_block, state, maximum_iterations=steps
    )
    return control, descriptor
