"""What a model takes: the names, shapes and types of its inputs."""

import dataclasses
from typing import Any

import keras

# The name of the only input of a model.
IMAGES = "images"


@dataclasses.dataclass(frozen=True)
class ModelInputs:
    """The inputs of a model, by name.

    Args:
        specs: Dictionary from a name to the `keras.InputSpec` of a batch.
        structure: What the model is called with: one name, or a list, tuple or dictionary of names.
    """

    specs: dict[str, keras.InputSpec]
    structure: Any

    def arranged(self, tensors):
        """Tensors, a dictionary by name, in the structure that the model is called with."""
        return keras.tree.map_structure(lambda name: tensors[name], self.structure)


def inputs_of(model):
    """The inputs of a built model.

    A single input is called `images`. Several are called by their keys, where the model takes a
    dictionary, and by the names of its `keras.Input`s otherwise.

    Args:
        model: A `tfhash.models.HashingModel`, whose images are `uint8`, or any Keras model.

    Returns:
        `ModelInputs`.

    Raises:
        ValueError: If the model is not built, or two inputs have one name.

    Example:

    >>> front, facts = keras.Input((8, 8, 3), name="front"), keras.Input((4,), name="facts")
    >>> outputs = keras.layers.Concatenate()([keras.layers.Flatten()(front), facts])
    >>> list(inputs_of(keras.Model([front, facts], outputs)).specs)
    ['front', 'facts']
    """
    image_shape = getattr(model, "image_shape", None)
    if image_shape is not None:
        structure = keras.InputSpec("uint8", shape=(None, *image_shape))
    elif getattr(model, "inputs", None):
        structure = keras.tree.map_structure(
            lambda tensor: keras.InputSpec(tensor.dtype, shape=tensor.shape, name=tensor.name),
            model.inputs[0] if isinstance(model, keras.Sequential) else model.input,
        )
    else:
        structure = _structure_of_subclassed(model)
    found = keras.tree.flatten_with_path(structure)
    names = [IMAGES] if len(found) == 1 else [_name(path, spec) for path, spec in found]
    if len(set(names)) < len(names):
        raise ValueError(
            "the inputs of the model must have distinct names: keras.Input(shape, name=...). "
            f"Received: {', '.join(names)}"
        )
    specs = {
        name: keras.InputSpec(spec.dtype, shape=spec.shape, name=name)
        for name, (_, spec) in zip(names, found)
    }
    return ModelInputs(specs, keras.tree.pack_sequence_as(structure, names))


def _structure_of_subclassed(model):
    """Specs of a model that was built by a call, whose inputs have no names or types."""
    shapes = ((model.get_build_config() or {}) if model.built else {}).get("input_shape")
    if shapes is None:
        # A call with several arguments is not told from a model that was never called.
        raise ValueError(
            "the model must be built, and take its inputs as one argument: an array, a list or a "
            "dictionary. Received: a model whose input shape is not known"
        )
    return keras.tree.map_shape_structure(
        lambda shape: keras.InputSpec("float32", shape=(None, *shape[1:])), shapes
    )


def _name(path, spec):
    key = path[-1]
    return key if isinstance(key, str) else spec.name or f"input_{'_'.join(map(str, path))}"
