"""An optimizer for small convolutional networks, and a schedule that begins in the middle."""

import keras
from keras import ops

from tfhash.keras_private import momentum_of

# Root mean square of a kernel's step at a learning rate of 1, about that of Adam.
STEP_SIZE = 0.2

# Of the quintic that, repeated, moves singular values in (0, 1] near 1.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


@keras.saving.register_keras_serializable("tfhash")
class ConvMuon(keras.optimizers.AdamW):
    """AdamW that moves the kernels of convolutions by orthogonal steps, as Muon does.

    The momentum of a kernel `[height, width, in, out]` is reshaped to a matrix
    `[height * width * in, out]` whose singular values are then moved near 1. So rare directions of
    the gradient are learned as fast as common ones. The step has the size of Adam's, so one learning
    rate and one weight decay work for all weights. Weights of other ranks train by AdamW.
    `keras.optimizers.Muon` leaves convolutions to Adam.

    Args:
        learning_rate: Float or `keras.optimizers.schedules.LearningRateSchedule`.
        weight_decay: Decoupled weight decay, a factor of the learning rate, >= 0.
        momentum: Nesterov momentum of the kernels, in [0, 1).
        ns_steps: Newton-Schulz iterations, at least 1.
        name: As in `keras.optimizers.AdamW`.
        **kwargs: Arguments of `keras.optimizers.AdamW`.

    Raises:
        ValueError: If `momentum` or `ns_steps` is out of range.

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3)])
    >>> model.compile(ConvMuon(learning_rate=3e-3), "mse")

    Reference: Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024), for
    the quintic Newton-Schulz iteration.
    """

    def __init__(
        self,
        learning_rate=1e-3,
        weight_decay=0.004,
        momentum=0.9,
        ns_steps=3,
        name="conv_muon",
        **kwargs,
    ):
        super().__init__(learning_rate, weight_decay, name=name, **kwargs)
        if not 0 <= momentum < 1:
            raise ValueError(f"`momentum` must be in [0, 1). Received: momentum={momentum!r}")
        if ns_steps < 1:
            raise ValueError(f"`ns_steps` must be at least 1. Received: ns_steps={ns_steps!r}")
        self.momentum = momentum
        self.ns_steps = ns_steps

    def update_step(self, gradient, variable, learning_rate):
        if len(variable.shape) != 4:
            super().update_step(gradient, variable, learning_rate)
            return
        # The slot in which Adam keeps the mean of gradients; its other slot is unused for kernels.
        velocity = momentum_of(self, variable)
        gradient = ops.cast(gradient, variable.dtype)
        self.assign(velocity, self.momentum * velocity + gradient)
        ahead = ops.reshape(gradient + self.momentum * velocity, (-1, variable.shape[-1]))
        step = orthogonalized(ahead, self.ns_steps)
        size = STEP_SIZE * max(step.shape) ** 0.5
        rate = ops.cast(learning_rate, variable.dtype)
        self.assign_sub(variable, ops.reshape(rate * size * step, variable.shape))

    def get_config(self):
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "ns_steps": self.ns_steps,
        }


@keras.saving.register_keras_serializable("tfhash")
class ContinuedSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule of the learning rate from one of its steps on, for a fresh optimizer.

    Args:
        schedule: `keras.optimizers.schedules.LearningRateSchedule`.
        first_step: The step of `schedule` that comes first, an integer >= 0.

    Example:

    >>> import keras
    >>> decay = keras.optimizers.schedules.PolynomialDecay(1.0, decay_steps=10, end_learning_rate=0)
    >>> round(float(ContinuedSchedule(decay, first_step=4)(1)), 4)
    0.5
    """

    def __init__(self, schedule, first_step):
        super().__init__()
        self.schedule = schedule
        self.first_step = int(first_step)

    def __call__(self, step):
        return self.schedule(step + self.first_step)

    def get_config(self):
        return {
            "schedule": keras.saving.serialize_keras_object(self.schedule),
            "first_step": self.first_step,
        }

    @classmethod
    def from_config(cls, config):
        schedule = keras.saving.deserialize_keras_object(config["schedule"])
        return cls(schedule, config["first_step"])


def orthogonalized(matrix, ns_steps):
    """The matrix with its singular values moved near 1, by matrix products alone.

    Args:
        matrix: Float `[m, n]`.
        ns_steps: Number of times to apply the quintic.

    Returns:
        Like `matrix`; 0 where that is 0.

    Example:

    >>> import numpy as np
    >>> matrix = np.diag([8.0, 1.0]).astype("float32")
    >>> values = np.linalg.svd(ops.convert_to_numpy(orthogonalized(matrix, 5)), compute_uv=False)
    >>> bool((abs(values - 1) < 0.35).all())
    True

    Reference: Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024).
    """
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = ops.transpose(matrix) if is_tall else matrix
    x = x / (ops.sqrt(ops.sum(ops.square(x))) + 1e-7)
    first, third, fifth = COEFFICIENTS
    # The iterates are polynomials of `squares` times `x`: iterating on these small squares alone costs
    # half as much for kernels.
    squares = ops.matmul(x, ops.transpose(x))
    product = identity = ops.eye(x.shape[0], dtype=x.dtype)
    for _ in range(ns_steps):
        factor = first * identity + third * squares + fifth * ops.matmul(squares, squares)
        product = ops.matmul(factor, product)
        squares = ops.matmul(factor, ops.matmul(factor, squares))
    x = ops.matmul(product, x)
    return ops.transpose(x) if is_tall else x
