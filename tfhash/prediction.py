"""`predict` that takes any number of items, also where a `keras.distribution` is in force.

Keras divides every batch among the devices, so it takes none of another size, and what devices of other
processes compute cannot be read. Here the last batch is filled up, and each process computes all items on
its own devices, without waiting for others.
"""

import types
import weakref

import keras
import numpy as np

from tfhash import devices

INFINITE = -1  # cardinality of a `tf.data.Dataset`

# Compiled once for each model, not in every epoch.
_COMPILED: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def predict(model, x, batch_size=None, verbose=0):
    """Outputs of a model for all items, as `keras.Model.predict`.

    Args:
        model: A built Keras model.
        x: An array or a structure of them, or a dataset of batches: a `tf.data.Dataset`, a
            `keras.utils.PyDataset` or a generator.
        batch_size, verbose: As in `keras.Model.predict`.

    Returns:
        NumPy arrays in the structure of the model's outputs.

    Raises:
        ValueError: Where a distribution is in force, if a dataset is endless or there are no items.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    >>> predict(model, np.zeros((5, 2))).shape
    (5, 3)
    """
    distribution = devices.distribution()
    if distribution is None:
        return model.predict(x, batch_size=batch_size, verbose=verbose)
    import jax

    local = distribution.device_mesh.backend_mesh.local_devices
    mesh = jax.sharding.Mesh(np.array(local), ["batch"])
    whole, divided = (
        jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))
        for axes in ([], ["batch"])
    )
    run = _compiled(model)
    weights = [jax.device_put(np.asarray(variable.value), whole) for variable in model.variables]
    bar = keras.utils.Progbar(None, verbose=int(bool(verbose)))
    outputs = []
    for batch in _batches(x, batch_size or 32):
        count = len(keras.tree.flatten(batch)[0])
        filled = keras.tree.map_structure(lambda array: _filled(array, len(local)), batch)
        found = run(weights, jax.device_put(filled, divided))
        outputs.append(_slices(found, 0, count))
        bar.add(1)
    if not outputs:
        raise ValueError(f"there must be items to predict. Received: an empty {type(x).__name__}")
    return keras.tree.map_structure(lambda *parts: np.concatenate(parts), *outputs)


def _compiled(model):
    import jax

    if model not in _COMPILED:
        reference = weakref.ref(model)  # or the model would live as long as its function

        def run(weights, images):
            model = reference()
            assert model is not None  # its caller holds it
            # In the order of all variables, which is the same in every stage.
            with keras.StatelessScope(state_mapping=list(zip(model.variables, weights))):
                return model(images, training=False)

        _COMPILED[model] = jax.jit(run)
    return _COMPILED[model]


def _batches(x, batch_size):
    """The inputs of a model, batch by batch, NumPy."""
    if isinstance(x, keras.utils.PyDataset):
        if x.num_batches is None:
            raise _endless(x)
        batches = (x[index] for index in range(x.num_batches))
    elif hasattr(x, "element_spec") or isinstance(x, types.GeneratorType):
        if hasattr(x, "cardinality") and int(x.cardinality()) == INFINITE:
            raise _endless(x)
        batches = iter(x)
    else:
        count = len(keras.tree.flatten(x)[0])
        for start in range(0, count, batch_size):
            yield _slices(x, start, start + batch_size)
        return
    for batch in batches:
        inputs = batch[0] if isinstance(batch, (tuple, list)) else batch
        yield keras.tree.map_structure(np.asarray, inputs)


def _endless(x):
    return ValueError(
        f"a dataset must end. Received: an endless {type(x).__name__}. Pass its images, or "
        "dataset.take(batches) of a `tf.data.Dataset`"
    )


def _slices(arrays, start, end):
    """The items `start` to `end` of arrays of any structure, NumPy."""
    return keras.tree.map_structure(lambda array: np.asarray(array)[start:end], arrays)


def _filled(array, parts):
    """An array whose length is a multiple of `parts`, by copies of its last item."""
    missing = -len(array) % parts
    return np.concatenate([array, np.repeat(array[-1:], missing, axis=0)]) if missing else array
