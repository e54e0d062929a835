"""Scaling of raw images."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("tfhash")
class ImageScaling(keras.layers.Layer):
    """Scales raw images from [0, 255] to [-1, 1], or to another range.

    As a layer of the model it applies to training, prediction, the command line and the exported
    model.

    Args:
        channels: Channels of the output, 1 or 3. Gray images are repeated over 3 channels; RGB images
            are never converted to gray. `None` keeps the channels of the input.
        value_range: `(low, high)`, what 0 and 255 become. `(0, 255)` leaves the values as they are,
            for a backbone that scales its own input.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        images: `[n, height, width, channels]` or, gray, `[n, height, width]`; `uint8`, or
            float with the same range 0 to 255.

    Returns:
        `[n, height, width, channels]` in `value_range`, of the compute dtype of the layer.

    Raises:
        ValueError: If an argument is out of range, or the images have another rank or number of
            channels.

    Example:

    >>> import numpy as np
    >>> from keras import ops
    >>> ops.convert_to_numpy(ImageScaling()(np.array([[[[0], [255]]]], "uint8"))).ravel().tolist()
    [-1.0, 1.0]
    """

    def __init__(self, channels=None, value_range=(-1.0, 1.0), **kwargs):
        super().__init__(**kwargs)
        if channels not in (None, 1, 3):
            raise ValueError(f"`channels` must be None, 1 or 3. Received: channels={channels!r}")
        low, high = value_range
        if not low < high:
            raise ValueError(
                f"`value_range` must be (low, high) with low < high. Received: {value_range!r}"
            )
        self.channels = channels
        self.value_range = (float(low), float(high))

    def call(self, images):
        images = ops.convert_to_tensor(images)
        output_shape = self.compute_output_shape(images.shape)
        if len(images.shape) == 3:
            images = ops.expand_dims(images, -1)
        low, high = self.value_range
        scaled = ops.cast(images, self.compute_dtype) / (255 / (high - low)) + low
        if output_shape[-1] != images.shape[-1]:
            scaled = ops.repeat(scaled, output_shape[-1], axis=-1)
        return scaled

    def compute_output_shape(self, input_shape):
        shape = tuple(input_shape)
        if len(shape) == 3:
            shape = (*shape, 1)
        fits = len(shape) == 4 and (self.channels in (None, shape[-1]) or shape[-1] == 1)
        if not fits:
            raise ValueError(
                f"images must have shape [n, height, width, {self.channels or 'channels'}] or, "
                f"gray, [n, height, width]. Received: images of shape {tuple(input_shape)}"
            )
        return (*shape[:-1], self.channels or shape[-1])

    def get_config(self):
        return {
            **super().get_config(),
            "channels": self.channels,
            "value_range": list(self.value_range),
        }
