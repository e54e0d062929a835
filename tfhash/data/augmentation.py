"""Random changes to training images that leave their class."""

import dataclasses

import numpy as np

from tfhash.data import keras_layers

# Random crops come from images with a side so much longer than that of the network's input.
LARGER = 8 / 7

# The shape of a crop, as its width by its height.
NARROWEST, WIDEST = 3 / 4, 4 / 3


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What may happen to an image each time it is trained on.

    Attributes:
        crop: A random part of the image is resized to the whole; this is the smallest share of the
            area that it keeps, above 0. With 1, nothing is cropped.
        max_shift: The image is moved by up to that many pixels each way; the border is mirrored.
        flip: Every other image, at random, is mirrored from left to right. Not for images that mean
            something else then, such as digits.
        cutout: Side in pixels of a square that is painted in the middle gray, 128, at a random
            place, part of it perhaps outside of the image; 0 for none.
        layers: Layers of Keras, such as `"RandAugment, RandomRotation(0.05)"`, which change images
            after all else; see `tfhash.data.keras_layers.parse`. By default none.

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
    crop: float = 1.0
    layers: str = ""

    def shape_before(self, image_shape):
        """Shape that images should have before they are augmented to `image_shape`.

        >>> Augmentation(crop=0.5).shape_before((224, 224, 3))
        (256, 256, 3)
        >>> Augmentation(flip=True).shape_before((224, 224, 3))
        (224, 224, 3)
        """
        if self.crop == 1:
            return tuple(image_shape)
        height, width, channels = image_shape
        return round(LARGER * height), round(LARGER * width), channels

    def check(self, image_shape):
        """Raises `ValueError` unless images of this shape can be changed so.

        Args:
            image_shape: `(height, width, channels)`.

        Raises:
            ValueError: If an attribute is out of range for the shape, or `layers` cannot be used.
        """
        if not 0 < self.crop <= 1:
            raise ValueError(f"`crop` must be above 0, up to 1. Received: crop={self.crop}")
        side = min(image_shape[:2])
        for name in ("max_shift", "cutout"):
            value = getattr(self, name)
            if not 0 <= value <= side:
                raise ValueError(
                    f"`{name}` must be in 0 to {side}, the smaller side of the images. "
                    f"Received: {name}={value}"
                )
        if self.layers:
            keras_layers.check(self.layers, image_shape)

    def __call__(self, images, seed, size=None):
        """A batch of images, each augmented independently.

        Args:
            images: NumPy `[n, height, width, channels]`; it is not changed.
            seed: Integer >= 0, or several, which decide the changes.
            size: `(height, width)` of the images that are returned, where `crop` is less than 1; by
                default the same as before.
        """
        changed = self.without_layers(images, seed, size)
        if self.layers:
            layers = keras_layers.layers_of(self.layers)
            changed = layers(changed, layers.seeds(*np.atleast_1d(seed)))
        return changed

    def without_layers(self, images, seed, size=None):
        """The same but for `layers`, by NumPy alone.

        Args:
            images, seed, size: As in a call.
        """
        rng = np.random.default_rng(seed)
        if self.crop < 1:
            images = _crop(images, self.crop, size or images.shape[1:3], rng)
        if self.max_shift:
            images = _shift(images, self.max_shift, rng)
        if self.flip:
            is_flipped = rng.random((len(images), 1, 1, 1)) < 0.5
            images = np.where(is_flipped, images[:, :, ::-1], images)
        if self.cutout:
            images = _cut_out(images, self.cutout, rng)
        return images


def _crop(images, smallest, size, rng):
    count = len(images)
    area = rng.uniform(smallest, 1, count)
    aspect = np.exp(rng.uniform(np.log(NARROWEST), np.log(WIDEST), count))
    # Shares of the sides. Where one would be longer than the image, the crop has another aspect.
    shares = np.minimum(1, np.sqrt([area / aspect, area * aspect]))
    starts = rng.uniform(0, 1 - shares)
    cropped = np.empty((count, *size, images.shape[-1]), images.dtype)
    for image, start, share, target in zip(images, starts.T, shares.T, cropped):
        target[:] = _resample(image, start, share, size)
    return cropped


def _resample(image, starts, shares, size):
    """A part of an image, bilinear. Without antialiasing, for it is reduced by `LARGER` at most."""
    pixels = image.astype("float32")
    for axis in (0, 1):
        length, wanted = image.shape[axis], size[axis]
        # Pixel i covers [i, i + 1): its center is at i + 0.5.
        centers = (np.arange(wanted) + 0.5) / wanted
        places = np.clip((starts[axis] + shares[axis] * centers) * length - 0.5, 0, length - 1)
        low = places.astype(int)
        rest = (places - low).astype("float32").reshape(-1, *(2 - axis) * (1,))
        before = pixels.take(low, axis)
        after = pixels.take(np.minimum(low + 1, length - 1), axis)
        pixels = before + rest * (after - before)
    return np.rint(pixels)


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
