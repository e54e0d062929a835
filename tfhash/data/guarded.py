"""Decoding of files from strangers: bounded, and a bad file is named, or masked, in its batch.

TensorFlow's ops cannot catch the error of a decoder, but `tf.data` can leave out what fails. So headers
are read first, by ops that never fail, and decoders run inside a dataset. The dataset is made for each
batch, which takes 1 to 5 ms; with the reading of headers in it, it would be 800.
"""

import functools

import tensorflow as tf

from tfhash.data.decoding import FORMATS, PLAN_SPEC, Plan, plan_decoding
from tfhash.data.images import decode_planned

# A photo of today has 12 to 50 million.
MAX_PIXELS = 100_000_000

# Bytes of a file that an error shows.
_SHOWN = 16
_PRINTABLE = [chr(byte) if chr(byte).isalnum() or chr(byte) in "<>/!?=:;,_- " else "." for byte in range(128)] + ["."] * 128  # fmt: skip


def decode_batch(contents, image_shape, keep_aspect=True, max_pixels=MAX_PIXELS):
    """Decodes a batch of files as `tfhash.data.decode_and_resize` does, with the same bits.

    Made of stock TensorFlow ops; runs in graphs.

    Args:
        contents: String tensor `[n]`, each the contents of a JPEG, PNG, GIF, BMP or WebP file.
        image_shape: `(height, width, channels)`.
        keep_aspect: As in `decode_and_resize`.
        max_pixels: Height x width that a file may have at most; more are not decoded.

    Returns:
        Images, `uint8 [n, *image_shape]`, and whether each was decoded, `bool [n]`. The others are 0.

    Example:

    >>> png = tf.io.encode_png(tf.zeros((30, 20, 3), tf.uint8)).numpy()
    >>> images, valid = decode_batch([png, b"hello", png[:50]], (8, 8, 1))
    >>> images.shape, valid.numpy().tolist()
    (TensorShape([3, 8, 8, 1]), [True, False, False])
    """
    contents = tf.convert_to_tensor(contents, tf.string)
    images, valid, _ = _decode(contents, tuple(image_shape), keep_aspect, max_pixels)
    return images, valid


def decode_batch_or_fail(contents, image_shape, keep_aspect=True, max_pixels=MAX_PIXELS):
    """As `decode_batch`, but one bad file fails the batch.

    Returns:
        Images, `uint8 [n, *image_shape]`.

    Raises:
        tf.errors.InvalidArgumentError: If a file cannot be decoded. The message names its number in
            the batch and what was received.
    """
    contents = tf.convert_to_tensor(contents, tf.string)
    images, valid, plans = _decode(contents, tuple(image_shape), keep_aspect, max_pixels)
    # The text is made for a bad batch alone.
    message = tf.cond(
        tf.reduce_all(valid),
        lambda: tf.constant(""),
        lambda: _why_not(contents, valid, plans, max_pixels),
    )
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(valid), [message])]):
        return tf.identity(images)


def _decode(contents, image_shape, keep_aspect, max_pixels):
    decode = _decoding(image_shape, keep_aspect)
    return decode(tf.ensure_shape(contents, (None,)), tf.constant(max_pixels, tf.int64))


@functools.cache
def _decoding(image_shape, keep_aspect):
    # Traced once for all exports of a process, which takes longer than the rest of an export.
    decode = functools.partial(_decode_batch, image_shape=image_shape, keep_aspect=keep_aspect)
    specs = tf.TensorSpec((None,), tf.string), tf.TensorSpec((), tf.int64)
    return tf.function(decode, specs, autograph=False).get_concrete_function()


def _decode_batch(contents, max_pixels, image_shape, keep_aspect):
    count = tf.size(contents, tf.int64)
    plan = functools.partial(plan_decoding, side=max(image_shape[:2]))
    plans = tf.map_fn(plan, contents, fn_output_signature=PLAN_SPEC)
    rows = tf.boolean_mask(tf.range(count), _is_bounded(plans, max_pixels))
    chosen = tf.nest.map_structure(lambda column: tf.gather(column, rows), plans)

    def decode(row, *plan):
        return row, decode_planned(Plan(*plan), image_shape, keep_aspect)

    dataset = tf.data.Dataset.from_tensor_slices((rows, *chosen))
    dataset = dataset.map(decode, num_parallel_calls=tf.data.AUTOTUNE).ignore_errors()
    # One more, so that there is a batch where none is decoded.
    nothing = tf.data.Dataset.from_tensors((count, tf.zeros(image_shape, tf.uint8)))
    dataset = dataset.concatenate(nothing).batch(count + 1).with_options(_bare())
    rows, decoded = dataset.get_single_element()
    rows, decoded = rows[:-1, None], decoded[:-1]
    images = tf.scatter_nd(rows, decoded, tf.stack([count, *image_shape]))
    valid = tf.scatter_nd(rows, tf.ones_like(rows[:, 0], tf.int32), count[None]) > 0
    return tf.ensure_shape(images, (None, *image_shape)), valid, plans


def _bare():
    """Options of a dataset that is made for one batch: nothing that takes time to set up."""
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    options.experimental_warm_start = False
    return options


def _is_bounded(plans, max_pixels):
    return (plans.format < len(FORMATS)) & _is_sized(plans) & (pixel_count(plans) <= max_pixels)


def _is_sized(plans):
    return tf.reduce_all(plans.size > 0, axis=-1)


def pixel_count(plans):
    """Height x width by the header, of a `Plan` or a batch of them; `int64`."""
    # Each side is below 2^32, and their product below 2^63 only where one is below 2^31.
    return tf.reduce_prod(tf.minimum(plans.size, 2**31 - 1), axis=-1)


def _why_not(contents, valid, plans, max_pixels):
    """What is wrong with the first bad file."""
    row = tf.argmin(tf.cast(valid, tf.int32))
    file, plan = contents[row], tf.nest.map_structure(lambda column: column[row], plans)
    name = tf.gather([*FORMATS, ""], plan.format)
    height, width = tf.unstack(tf.strings.as_string(plan.size))
    length = tf.strings.as_string(tf.strings.length(file))
    start = tf.cast(tf.io.decode_raw(tf.strings.substr(file, 0, _SHOWN), tf.uint8), tf.int32)
    shown = tf.strings.reduce_join(tf.gather(_PRINTABLE, start))
    lead = tf.where(tf.size(start) > 0, ", which start with ", "")
    which = tf.strings.join(["image ", tf.strings.as_string(row)])
    unknown = [" is no JPEG, PNG, GIF, BMP or WebP file: received ", length, " bytes", lead, shown]  # fmt: skip
    large = [" has too many pixels, more than ", str(max_pixels), ": received a ", name, " file of ", width, " x ", height]  # fmt: skip
    damaged = [" cannot be decoded: received a ", name, " file of ", length, " bytes that is damaged, incomplete or of an unsupported kind"]  # fmt: skip
    reason = tf.case(
        [
            (plan.format == len(FORMATS), lambda: tf.strings.join(unknown)),
            (pixel_count(plan) > max_pixels, lambda: tf.strings.join(large)),
        ],
        default=lambda: tf.strings.join(damaged),
    )
    bad = tf.reduce_sum(tf.cast(~valid, tf.int32))
    counted = [" (", tf.strings.as_string(bad), " of ", tf.strings.as_string(tf.size(valid)), " images are bad)"]  # fmt: skip
    return tf.strings.join([which, reason, *counted])
