"""The hashing head."""

import keras
from keras import ops

from tfhash import codes
from tfhash.losses import replicas

# Of the moving statistics, which are to follow a network that still learns.
MOMENTUM = 0.9


@keras.saving.register_keras_serializable("tfhash")
class HashingLayer(keras.layers.Layer):
    """Maps features to relaxed codes in [-1, 1], one coordinate a bit.

    A dense projection, standardized, then `tanh(sharpness slope z)`, with a sharpness of 1 that
    training can raise (see `tfhash.callbacks.TanhContinuation`). Standardized means a mean of 0 and a
    variance of 1, as by batch normalization: over the batch in training, over recent batches of
    training otherwise. So every bit has items of a batch on both sides, and their mean
    `|tanh(slope z)|` stays below `tanh(slope)`, which leaves a gradient to those in doubt. All of it is
    computed in float32 under every dtype policy, for the sign of the output is the binary code (see
    `tfhash.codes`).

    Train on batches of tens of items or more: of one alone nothing can be learned. The statistics start
    at 0 and 1, and after some 30 batches are those of the data.

    Args:
        bits: Length of the code, an integer >= 1.
        kernel_initializer: Initializer of the projection.
        lr_multiplier: How many times as fast this layer learns as those before it, above 0. The kernel
            starts that many times smaller and is multiplied by it, so that the codes start the
            same, and an optimizer whose steps do not grow with the gradient, as Adam's, turns it
            `lr_multiplier` times as far. Leave it at 1 for plain gradient descent, which would turn it
            `lr_multiplier**2` times as far.
        slope: Slope of `tanh` at 0, above 0. The larger, the nearer are the relaxed codes to
            binary ones, and the fewer items still have a gradient.
        **kwargs: Arguments of `keras.layers.Layer` (`name`, `trainable`).

    Call arguments:
        features: Float `[n, f]`.
        training: Whether to standardize by the batch itself, and to note its statistics.

    Returns:
        Relaxed codes, float32 `[n, bits]` in [-1, 1].

    Raises:
        ValueError: If `bits` is no integer >= 1, `lr_multiplier` or `slope` is not above 0, or the features are
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
        lr_multiplier=1.0,
        slope=2.5,
        **kwargs,
    ):
        # Under every policy, for the sign of the output is the code.
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.bits = codes.check_bits(bits)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        for name, value in {"lr_multiplier": lr_multiplier, "slope": slope}.items():
            if not 0 < value < float("inf"):
                raise ValueError(
                    f"`{name}` must be a finite number above 0. Received: {name}={value!r}"
                )
        self.lr_multiplier = float(lr_multiplier)
        self.slope = float(slope)
        self.standardization = keras.layers.BatchNormalization(
            momentum=MOMENTUM,
            center=False,
            scale=False,
            # Over all replicas of a `tf.distribute` strategy, so that they train as one device does.
            synchronized=replicas.num_replicas() > 1,
            trainable=self.trainable,
            dtype="float32",  # whatever the global policy
            name="standardization",
        )

    def build(self, input_shape):
        self._check_features(input_shape)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[-1], self.bits),
            initializer=lambda shape, dtype: (
                self.kernel_initializer(shape, dtype) / self.lr_multiplier
            ),
        )
        self.sharpness = self.add_weight(
            name="sharpness", shape=(), initializer="ones", trainable=False
        )
        self.standardization.build((None, self.bits))

    def call(self, features, training=None):
        self._check_features(features.shape)
        projected = self.lr_multiplier * ops.matmul(features, self.kernel)
        standardized = self.standardization(projected, training=training)
        return ops.tanh(self.sharpness * self.slope * standardized)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.bits)

    def get_config(self):
        return {
            **super().get_config(),
            "bits": self.bits,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "lr_multiplier": self.lr_multiplier,
            "slope": self.slope,
        }

    def _check_features(self, shape):
        if len(shape) != 2 or shape[-1] is None:
            raise ValueError(
                "`HashingLayer` takes features of shape [n, f] with f known; put a "
                "`GlobalAveragePooling2D` or `Flatten` layer before it. "
                f"Received: features of shape {tuple(shape)}"
            )
