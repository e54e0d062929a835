"""Random changes to training images that leave their class."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What may happen to an image each time it is trained on.

    Attributes:
        max_shift: The image is moved by up to that many pixels each way; the border is mirrored.
        flip: Every other image, at random, is mirrored from left to right. Not for images that mean
            something else then, such as digits.
        cutout: Side in pixels of a square that is painted in the middle gray, 128, at a random
            place, part of it perhaps outside of the image; 0 for none.

    Example:

    >>> import numpy as np
    >>> images = np.zeros((2, 4, 4, 1), "uint8")
    >>> changed = Augmentation(max_shift=1, flip=True, cutout=2)(images, seed=0)
    >>> changed.shape, int(changed.max())
    ((2, 4, 4, 1), 128)
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

    def __call__(self, images, seed):
        """A batch of images, each augmented independently.

        Args:
            images: NumPy `[n, height, width, channels]`; it is not changed.
            seed: Integer >= 0, or several, which decide the changes.
        """
        rng = np.random.default_rng(seed)
        if self.max_shift:
            images = _shift(images, self.max_shift, rng)
        if self.flip:
            is_flipped = rng.random((len(images), 1, 1, 1)) < 0.5
            images = np.where(is_flipped, images[:, :, ::-1], images)
        if self.cutout:
            images = _cut_out(images, self.cutout, rng)
        return images


def _shift(images, max_shift, rng):
    count, height, width, _ = images.shape
    border = (max_shift, max_shift)
    padded = np.pad(images, ((0, 0), border, border, (0, 0)), mode="symmetric")
    top, left = rng.integers(0, 2 * max_shift + 1, (2, count, 1))
    rows, columns = top + np.arange(height), left + np.arange(width)
    return padded[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]


def _cut_out(images, side, rng):
    count, height, width, _ = images.shape
    rows, columns = (
        np.abs(np.arange(length) + 0.5 - rng.uniform(0, length, (count, 1))) < side / 2
        for length in (height, width)
    )
    is_cut = rows[:, :, None, None] & columns[:, None, :, None]
    return np.where(is_cut, np.array(128, images.dtype), images)
