"""Which private name of Keras a new release has changed: each test names its own."""

import keras
import numpy as np
from keras import ops

from tfhash import keras_private


class Outer(keras.layers.Layer):
    """Keeps layers as attributes, in a list too."""

    def __init__(self):
        super().__init__()
        self.first = keras.Sequential([keras.layers.Dense(2), keras.layers.Dropout(0.5)])
        self.more = [keras.layers.Dense(3), self.first]


def test_flatten_layers_gives_every_layer_once_and_parents_first():
    outer = Outer()
    layers = keras_private.sublayers(outer)
    assert layers[0] is outer
    assert len(layers) == len({id(layer) for layer in layers})
    places = {id(layer): place for place, layer in enumerate(layers)}
    assert places[id(outer.more[0])] > 0
    for layer in outer.first.layers:
        assert places[id(layer)] > places[id(outer.first)]


def test_momentums_and_get_variable_index_give_the_mean_of_gradients():
    variables = [keras.Variable(np.zeros(shape, "float32")) for shape in (2, 3)]
    optimizer = keras.optimizers.AdamW(1e-3, beta_1=0.75)
    optimizer.apply([ops.ones((2,)), 2 * ops.ones((3,))], variables)
    for variable, gradient in zip(variables, (1, 2)):
        momentum = keras_private.momentum_of(optimizer, variable)
        np.testing.assert_allclose(ops.convert_to_numpy(momentum), 0.25 * gradient, rtol=1e-6)
        assert any(momentum is slot for slot in optimizer.variables)
