"""The hashing head."""

import keras
from keras import ops

from tfhash import codes


@keras.saving.register_keras_serializable("tfhash")
class HashingLayer(keras.layers.Layer):
    """Maps features to relaxed codes in [-1, 1], one coordinate a bit.

    A dense projection z followed by `tanh(gain sharpness z)`, with a sharpness of 1 that
    training can raise (see `tfhash.callbacks.TanhContinuation`). The projection runs in the layer's
    compute type; the output is float32 under every dtype policy, for the loss and for all who read
    its sign, which is the binary code (see `tfhash.codes`).

    Args:
        bits: Length of the code, an integer >= 1.
        use_bias: Whether the projection has a bias.
        kernel_initializer, bias_initializer: Initializers of the projection.
        kernel_regularizer: Optional regularizer of the projection.
        gain: How many times as fast this layer learns as those before it, above 0. Kernel and bias
            start that many times smaller, so that the codes start the same, and an optimizer
            whose steps do not grow with the gradient, as Adam's, moves them `gain` times as far.
            Leave it at 1 for plain gradient descent, which would move them `gain**2` times as far.
        **kwargs: Arguments of `keras.layers.Layer` (`name`, `dtype`, `trainable`).

    Call arguments:
        features: Float `[n, f]`.

    Returns:
        Relaxed codes, float32 `[n, bits]` in [-1, 1].

    Raises:
        ValueError: If `bits` is no integer >= 1, `gain` is not above 0, or the features are not of
            rank 2.

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((8,)), HashingLayer(bits=12)])
    >>> model.output_shape
    (None, 12)
    """

    def __init__(
        self,
        bits,
        use_bias=True,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        kernel_regularizer=None,
        gain=1.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.bits = codes.check_bits(bits)
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        if not 0 < gain < float("inf"):
            raise ValueError(f"`gain` must be a finite number above 0. Received: gain={gain!r}")
        self.gain = float(gain)

    def build(self, input_shape):
        self._check_features(input_shape)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[-1], self.bits),
            initializer=self._divided_by_gain(self.kernel_initializer),
            regularizer=self.kernel_regularizer,
        )
        self.bias = (
            self.add_weight(
                name="bias",
                shape=(self.bits,),
                initializer=self._divided_by_gain(self.bias_initializer),
            )
            if self.use_bias
            else None
        )
        self.sharpness = self.add_weight(
            name="sharpness", shape=(), initializer="ones", trainable=False, dtype="float32"
        )

    def call(self, features):
        self._check_features(features.shape)
        projected = ops.matmul(features, self.kernel)
        if self.bias is not None:
            projected = projected + self.bias
        return ops.tanh(self.sharpness * (self.gain * ops.cast(projected, "float32")))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.bits)

    def compute_output_spec(self, features):
        return keras.KerasTensor(self.compute_output_shape(features.shape), dtype="float32")

    def get_config(self):
        return {
            **super().get_config(),
            "bits": self.bits,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "gain": self.gain,
        }

    def _divided_by_gain(self, initializer):
        return lambda shape, dtype=None: initializer(shape, dtype) / self.gain

    def _check_features(self, shape):
        if len(shape) != 2 or shape[-1] is None:
            raise ValueError(
                "`HashingLayer` takes features of shape [n, f] with f known; put a "
                "`GlobalAveragePooling2D` or `Flatten` layer before it. "
                f"Received: features of shape {tuple(shape)}"
            )
