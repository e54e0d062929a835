"""A perceptual hash: codes of images without training, by the library imagehash."""

import numpy as np

from tfhash.errors import translated


class PerceptualHash:
    """Hashes images by the signs of their lowest frequencies (imagehash's pHash).

    It has what the commands ask of a model: `bits`, `image_shape` and `encode`. Copies of a picture
    in another size, format or quality are a few bits apart; what a picture shows plays no part.

    Attributes:
        bits: Length of a code.
        image_shape: The gray images that are hashed, `(height, width, 1)`.
        keep_aspect: Images are squeezed to a square, as is usual for this hash: what is at the ends of
            a panorama counts, too.
        default_radius: Distance in bits up to which images are taken for copies; docs/dedupe.md has
            the measurement.

    Raises:
        ValueError: If imagehash is not installed.
    """

    bits = 64
    image_shape = (32, 32, 1)
    keep_aspect = False
    default_radius = 6

    def __init__(self):
        try:
            import imagehash
        except ImportError:
            raise ValueError(
                "without `model`, images are hashed by imagehash, which is not installed. "
                "Run `pip install imagehash`, or give a trained `model`"
            ) from None
        self._hash = imagehash.phash

    def encode(self, batches, batch_size=None, verbose=0):
        """Hashes images.

        Args:
            batches: `tf.data.Dataset` of `(images, labels)`, images `uint8 [n, 32, 32, 1]`.
            batch_size: Of no use here; models have it.
            verbose: 1 shows a progress bar.

        Returns:
            Packed codes, `uint8 [n, 8]`.
        """
        import keras

        bar = keras.utils.Progbar(len(batches)) if verbose else None
        codes = [np.empty((0, self.bits // 8), "uint8")]
        with translated():
            for images, _ in batches.as_numpy_iterator():
                codes.append(np.stack([self._code_of(image) for image in images]))
                if bar is not None:
                    bar.add(1)
        return np.concatenate(codes)

    def _code_of(self, image):
        from PIL import Image

        ones = self._hash(Image.fromarray(image[..., 0])).hash
        return np.packbits(ones.reshape(-1), bitorder="little")
