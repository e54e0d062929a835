"""Whitening of the patches of an image."""

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable("tfhash")
class PatchWhitening(keras.layers.Layer):
    """A convolution whose filters whiten image patches.

    Neighboring pixels are strongly correlated, which slows the training of a first convolution. Each
    filter here is an eigenvector of the covariance of the patches, divided by the square root of its
    eigenvalue, so the outputs are uncorrelated with variance 1. Each filter also has a negative copy,
    so that an activation keeps both halves. The filters are not trainable; the bias is.

    Before `adapt` the filters are random. They are weights, saved with the model.

    Args:
        size: Side of a patch in pixels, >= 1.
        epsilon: Added to the eigenvalues, so that noise is not amplified to variance 1.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        images: Float `[n, height, width, channels]`.

    Returns:
        Float `[n, height - size + 1, width - size + 1, 2 * size * size * channels]`.

    Raises:
        ValueError: If `size` is below 1 or `epsilon` not above 0.

    Example:

    >>> import numpy as np
    >>> images = np.random.default_rng(0).normal(3.0, 5.0, (100, 8, 8, 1)).astype("float32")
    >>> layer = PatchWhitening(size=2)
    >>> layer.adapt(images)
    >>> outputs = np.asarray(layer(images))
    >>> outputs.shape
    (100, 7, 7, 8)
    >>> outputs.std(axis=(0, 1, 2)).round(1).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]

    Reference: Coates and Ng, "Learning Feature Representations with K-means" (2012), for the
    whitening of patches; its use as a frozen first layer follows Page, "How to Train Your ResNet"
    (2019).
    """

    def __init__(self, size=2, epsilon=1e-2, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(size, int) or size < 1 or not epsilon > 0:
            raise ValueError(
                "`size` must be an integer >= 1 and `epsilon` above 0. "
                f"Received: size={size!r}, epsilon={epsilon!r}"
            )
        self.size, self.epsilon = size, epsilon

    def build(self, input_shape):
        channels = input_shape[-1]
        filters = 2 * self.size**2 * channels
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.size, self.size, channels, filters),
            initializer="he_normal",
            trainable=False,
        )
        self.bias = self.add_weight(name="bias", shape=(filters,), initializer="zeros")

    def adapt(self, images):
        """Computes the filters from sample inputs of the layer.

        Args:
            images: Float `[n, height, width, channels]`, or an iterable of such batches; some
                thousands of images are enough.

        Raises:
            ValueError: If there are no images.
        """
        count, total, products = 0, 0.0, 0.0
        for batch in [images] if hasattr(images, "shape") else images:
            if not self.built:
                self.build(batch.shape)
            patches = self._patches(ops.convert_to_numpy(batch))
            count += len(patches)
            total = total + patches.sum(axis=0)
            products = products + patches.T @ patches
        if not count:
            raise ValueError("`images` must hold at least one image. Received: none")
        mean = total / count
        covariance = products / count - np.outer(mean, mean)
        values, vectors = np.linalg.eigh(covariance)
        filters = vectors / np.sqrt(np.maximum(values, 0) + self.epsilon)
        self.kernel.assign(np.concatenate([filters, -filters], axis=1).reshape(self.kernel.shape))

    def _patches(self, images):
        """The patches of images, one per row, in the order of the kernel."""
        windows = np.lib.stride_tricks.sliding_window_view(images, 2 * (self.size,), axis=(1, 2))
        patches = np.moveaxis(windows, 3, 5)  # from [..., channels, y, x]
        return patches.reshape(-1, self.size**2 * images.shape[-1]).astype("float64")

    def call(self, images):
        return (
            ops.conv(images, self.kernel, padding="valid", data_format="channels_last") + self.bias
        )

    def compute_output_shape(self, input_shape):
        n, *sides, channels = input_shape
        sides = [None if side is None else side - self.size + 1 for side in sides]
        return (n, *sides, 2 * self.size**2 * channels)

    def get_config(self):
        return {**super().get_config(), "size": self.size, "epsilon": self.epsilon}
