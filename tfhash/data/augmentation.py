"""Random changes to a training image that leave its class."""

import dataclasses

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What may happen to an image each time it is trained on.

    Attributes:
        max_shift: The image is moved by up to that many pixels each way; the border is mirrored.
        flip: Every other image, at random, is mirrored from left to right. Not for images that mean
            something else then, such as digits.
        cutout: Side in pixels of a square that is painted in the middle grey, 128, at a random
            place, part of it perhaps outside of the image; 0 for none.

    Example:

    >>> image = tf.zeros((4, 4, 1), "uint8")
    >>> changed = Augmentation(max_shift=1, flip=True, cutout=2)(image, seed=(0, 0))
    >>> int(tf.reduce_max(changed))
    128
    """

    max_shift: int = 0
    flip: bool = False
    cutout: int = 0

    def check(self, image_shape):
        """Raises `ValueError` unless images of this shape can be changed so."""
        side = min(image_shape[:2])
        for name in ("max_shift", "cutout"):
            value = getattr(self, name)
            if not 0 <= value <= side:
                raise ValueError(
                    f"`{name}` must be in 0 to {side}, the smaller side of the images. "
                    f"Received: {name}={value}"
                )

    def __call__(self, image, seed):
        """The image, changed as the seed, two integers, decides."""
        if self.max_shift:
            image = _shift(image, self.max_shift, seed)
        if self.flip:
            image = tf.image.stateless_random_flip_left_right(image, _other_seed(seed, 1))
        if self.cutout:
            image = _cut_out(image, self.cutout, _other_seed(seed, 2))
        return image


def _other_seed(seed, number):
    """A seed whose draws have nothing to do with those of `seed` itself."""
    return tf.random.fold_in(seed, number)


def _shift(image, max_shift, seed):
    border = [[max_shift, max_shift], [max_shift, max_shift], [0, 0]]
    padded = tf.pad(image, border, mode="SYMMETRIC")
    return tf.image.stateless_random_crop(padded, tf.shape(image), seed=seed)


def _cut_out(image, side, seed):
    height, width = image.shape[:2]
    center = tf.random.stateless_uniform((2,), seed) * (height, width)
    rows, columns = (
        tf.abs(tf.range(length, dtype=tf.float32) + 0.5 - at) < side / 2
        for length, at in ((height, center[0]), (width, center[1]))
    )
    is_cut = rows[:, None, None] & columns[None, :, None]
    return tf.where(is_cut, tf.constant(128, image.dtype), image)
