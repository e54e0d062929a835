"""HLO of gradients, from the compiler of each backend that has one."""

import keras
import pytest


def hlo_of_gradient(function, point):
    """The gradient of a function as XLA is given it, as text."""
    if keras.backend.backend() == "torch":
        pytest.skip("PyTorch does not compile by XLA")
    if keras.backend.backend() == "jax":
        jax = pytest.importorskip("jax")
        return jax.jit(jax.grad(function)).lower(point).as_text(dialect="hlo")
    import tensorflow as tf

    @tf.function(jit_compile=True)
    def gradient_of(point):
        return tf.gradients(function(point), point)

    return gradient_of.experimental_get_compiler_ir(tf.constant(point))(stage="hlo")
