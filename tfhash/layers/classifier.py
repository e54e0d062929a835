"""The classifier head."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("tfhash")
class ClassifierLayer(keras.layers.Layer):
    """Maps features to logits, one for each class, and may learn faster than the backbone.

    Everything is computed in float32 under every dtype policy.

    Args:
        num_classes: Number of classes, an integer >= 2.
        lr_multiplier: Factor by which this layer learns faster than the others, above 0: its weights
            start random, and those of a backbone may be pre-trained. It works as that of
            `tfhash.layers.HashingLayer`, for Adam-like optimizers.
        **kwargs: Arguments of `keras.layers.Layer` (`name`, `trainable`).

    Call arguments:
        features: Float `[n, f]`.

    Returns:
        Logits, float32 `[n, num_classes]`.

    Raises:
        ValueError: If `lr_multiplier` is not above 0.

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((8,)), ClassifierLayer(10, lr_multiplier=3.0)])
    >>> model.output_shape
    (None, 10)
    """

    def __init__(self, num_classes, lr_multiplier=1.0, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        if not 0 < lr_multiplier < float("inf"):
            raise ValueError(
                "`lr_multiplier` must be a finite number above 0. "
                f"Received: lr_multiplier={lr_multiplier!r}"
            )
        self.num_classes = num_classes
        self.lr_multiplier = float(lr_multiplier)
        self.kernel_initializer = keras.initializers.GlorotUniform()

    def build(self, input_shape):
        self.kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[-1], self.num_classes),
            initializer=lambda shape, dtype: (
                self.kernel_initializer(shape, dtype) / self.lr_multiplier
            ),
        )
        self.bias = self.add_weight(name="bias", shape=(self.num_classes,), initializer="zeros")

    def call(self, features):
        return self.lr_multiplier * (ops.matmul(features, self.kernel) + self.bias)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.num_classes)

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "lr_multiplier": self.lr_multiplier,
        }
