"""The hashing head."""

import keras
from keras import ops

from tfhash import codes

# Of the moving statistics, which are to follow a network that still learns.
MOMENTUM = 0.9


@keras.saving.register_keras_serializable("tfhash")
class HashingLayer(keras.layers.Layer):
    """Maps features to relaxed codes in [-1, 1], one coordinate a bit.

    A dense projection, standardized, then `tanh(sharpness slope z)`, with a sharpness of 1 that
    training can raise (see `tfhash.callbacks.TanhContinuation`). Standardized means a mean of 0 and a
    variance of 1 over the batch while training, and over recent batches of training otherwise, as by
    batch normalization: no bit can become the same for all items, and no code so saturated that
    the gradients of its bits vanish. The projection runs in the layer's compute type; the output is
    float32 under every dtype policy, for the loss and for all who read its sign, which is the
    binary code (see `tfhash.codes`).

    Args:
        bits: Length of the code, an integer >= 1.
        kernel_initializer: Initializer of the projection.
        kernel_regularizer: Optional regularizer of the projection.
        gain: How many times as fast this layer learns as those before it, above 0. The kernel
            starts that many times smaller, so that the codes start the same, and an optimizer
            whose steps do not grow with the gradient, as Adam's, moves them `gain` times as far.
            Leave it at 1 for plain gradient descent, which would move them `gain**2` times as far.
        slope: Slope of the relaxed codes where they are 0, above 0. A bit that splits the items in
            halves can reach `tanh(slope)`; the larger the slope, the nearer the relaxed codes are
            to binary ones, and the fewer items still have a gradient.
        **kwargs: Arguments of `keras.layers.Layer` (`name`, `dtype`, `trainable`).

    Call arguments:
        features: Float `[n, f]`.
        training: Whether to standardize by the batch itself.

    Returns:
        Relaxed codes, float32 `[n, bits]` in [-1, 1].

    Raises:
        ValueError: If `bits` is no integer >= 1, `gain` or `slope` is not above 0, or the features are
            not of rank 2.

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((8,)), HashingLayer(bits=12)])
    >>> model.output_shape
    (None, 12)
    """

    def __init__(
        self,
        bits,
        kernel_initializer="glorot_uniform",
        kernel_regularizer=None,
        gain=1.0,
        slope=2.5,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.bits = codes.check_bits(bits)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        for name, value in {"gain": gain, "slope": slope}.items():
            if not 0 < value < float("inf"):
                raise ValueError(
                    f"`{name}` must be a finite number above 0. Received: {name}={value!r}"
                )
        self.gain = float(gain)
        self.slope = float(slope)
        self.standardization = keras.layers.BatchNormalization(
            momentum=MOMENTUM, center=False, scale=False, dtype="float32", name="standardization"
        )

    def build(self, input_shape):
        self._check_features(input_shape)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[-1], self.bits),
            initializer=lambda shape, dtype: self.kernel_initializer(shape, dtype) / self.gain,
            regularizer=self.kernel_regularizer,
        )
        self.sharpness = self.add_weight(
            name="sharpness", shape=(), initializer="ones", trainable=False, dtype="float32"
        )
        self.standardization.build((None, self.bits))

    def call(self, features, training=None):
        self._check_features(features.shape)
        projected = self.gain * ops.cast(ops.matmul(features, self.kernel), "float32")
        standardized = self.standardization(projected, training=training)
        return ops.tanh(self.sharpness * (self.slope * standardized))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.bits)

    def compute_output_spec(self, features):
        return keras.KerasTensor(self.compute_output_shape(features.shape), dtype="float32")

    def get_config(self):
        return {
            **super().get_config(),
            "bits": self.bits,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "gain": self.gain,
            "slope": self.slope,
        }

    def _check_features(self, shape):
        if len(shape) != 2 or shape[-1] is None:
            raise ValueError(
                "`HashingLayer` takes features of shape [n, f] with f known; put a "
                "`GlobalAveragePooling2D` or `Flatten` layer before it. "
                f"Received: features of shape {tuple(shape)}"
            )
