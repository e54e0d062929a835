"""The hashing head."""

import keras
from keras import ops

from tfhash import codes
from tfhash.losses import replicas

# Of the moving statistics: low, so that they follow a network in training.
MOMENTUM = 0.9


@keras.saving.register_keras_serializable("tfhash")
class HashingLayer(keras.layers.Layer):
    """Maps features to relaxed codes in [-1, 1], one coordinate per bit.

    A dense projection, standardized to z, then `tanh(sharpness slope z)` with a sharpness of 1 that
    training can raise (see `tfhash.callbacks.TanhContinuation`). Standardization is batch
    normalization without scale and shift: with the mean and variance of the batch in training, and
    moving averages otherwise. So both values of every bit occur in a batch, and the mean
    `|tanh(slope z)|` stays below `tanh(slope)`, which leaves a gradient for undecided items.
    Everything is computed in float32 under every dtype policy, because the sign of the output is the
    binary code (see `tfhash.codes`).

    Train with batches of tens of items or more; a batch of one has no gradient. The moving averages
    start at 0 and 1 and match the data after about 30 batches. In the scope of a `tf.distribute`
    strategy, a batch is that of all replicas.

    Args:
        bits: Length of the code, an integer >= 1.
        kernel_initializer: Initializer of the projection.
        lr_multiplier: Factor by which this layer learns faster than the others, above 0. The kernel is
            initialized that many times smaller and multiplied by it in `call`, so the initial codes
            are the same, and the steps of Adam-like optimizers, whose size does not depend on that of
            the gradient, count `lr_multiplier` times. Keep 1 for plain gradient descent, whose steps
            would count `lr_multiplier**2` times.
        slope: Slope of `tanh` at 0, above 0. A larger slope makes relaxed codes more nearly binary and
            leaves fewer items with a gradient.
        **kwargs: Arguments of `keras.layers.Layer` (`name`, `trainable`).

    Call arguments:
        features: Float `[n, f]`.
        training: Whether to standardize by the statistics of the batch and update the moving averages.

    Returns:
        Relaxed codes, float32 `[n, bits]` in [-1, 1].

    Raises:
        ValueError: If `bits` is not an integer >= 1, `lr_multiplier` or `slope` is not above 0, or the
            features do not have rank 2.

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
        # Under every policy, because the sign of the output is the code.
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
            # Over the replicas of a `tf.distribute` strategy, so that they train as one device does.
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
