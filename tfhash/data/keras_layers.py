"""Keras's layers that change images at random, named in a text, as augmentation of training images.

Keras's generators count calls, so a resumed run would see other images than one that was never
interrupted. Here each batch sets their states. Imports neither NumPy nor Keras until layers are made,
because `--help` imports the recipe.
"""

import ast
import difflib
import functools
import inspect
import threading

from tfhash import errors

_EXPECTED = (
    "`augment` must list image-preprocessing layers of keras.layers, such as RandAugment or "
    "RandomRotation(0.05)"
)

# Layers of this kind that training cannot use, and why.
_MIXES = "mixes the labels of two images, and the losses take images that are similar or not, not in part"
REFUSED = {
    "AugMix": "takes no seed for a part of its choices, so a resumed run would see other images",
    "CutMix": _MIXES,
    "MaxNumBoundingBoxes": "changes no images",
    "MixUp": _MIXES,
}

# A layer that does nothing to two images as often as this counts as one that never does anything.
_TRIES = 512

# What a layer must take, whatever Keras's global settings are.
_FIXED = {"data_format": "channels_last", "dtype": "float32"}


def parse(text):
    """Names and arguments of the layers in a text. Imports no Keras.

    Args:
        text: Layers of `keras.layers`, separated by commas, with or without arguments, which are
            numbers, strings, `True`, `False`, `None`, or tuples, lists and dictionaries of these.

    Returns:
        List of `(name, arguments, keyword_arguments)`.

    Raises:
        ValueError: If the text is something else, or names a layer of `REFUSED`.

    Example:

    >>> parse("RandAugment, RandomRotation(0.05, fill_mode='reflect')")
    [('RandAugment', [], {}), ('RandomRotation', [0.05], {'fill_mode': 'reflect'})]
    """
    try:
        listed = ast.parse(f"[{text}]", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{_EXPECTED}, with commas between. Received: augment={text!r}") from error
    if not isinstance(listed, ast.List):
        raise ValueError(f"{_EXPECTED}, with commas between. Received: augment={text!r}")
    found = [_read(call, text) for call in listed.elts]
    for name, _, _ in found:
        if name in REFUSED:
            raise ValueError(
                f"`augment` cannot use {name}: it {REFUSED[name]}. Received: augment={text!r}"
            )
    return found


def _read(node, text):
    call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
    if not isinstance(call.func, ast.Name) or any(k.arg is None for k in call.keywords):
        raise ValueError(f"{_EXPECTED}, with commas between. Received: augment={text!r}")
    name, keywords = call.func.id, {}
    for keyword in call.keywords:
        if keyword.arg in keywords:
            raise ValueError(
                f"the layer {name} of `augment` must get each argument once. Received: "
                f"{keyword.arg} twice in augment={text!r}"
            )
        keywords[keyword.arg] = _value(keyword.value, name, text)
    return name, [_value(argument, name, text) for argument in call.args], keywords


def _value(node, name, text):
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(
            f"the arguments of the layer {name} of `augment` must be plain literals: numbers, "
            "strings, True, False, None, or tuples, lists and dictionaries of these; nothing is "
            f"computed (0.0625, not 1/16). Received: {ast.unparse(node)} in augment={text!r}"
        ) from error


def check_layers(text):
    """Raises `ValueError` unless Keras has these layers, and they take their arguments.

    Example:

    >>> check_layers("RandAugment, RandomFlip('horizontal')")
    >>> check_layers("RandomFlipp")
    Traceback (most recent call last):
    ...
    ValueError: keras.layers has no image-preprocessing layer RandomFlipp. Did you mean RandomFlip?
    """
    for name, arguments, keywords in parse(text):
        _make(name, arguments, keywords)


def check(text, image_shape):
    """Raises `ValueError` unless each layer changes images of this shape, and keeps the shape."""
    import numpy as np
    from keras import ops

    shape = (2, *image_shape)
    images = np.random.default_rng(0).integers(0, 256, shape).astype("float32")
    for name, arguments, keywords in parse(text):
        layer = _make(name, arguments, keywords)
        try:
            changed = layer(images, training=True)
        except Exception as error:  # whatever a layer of Keras raises
            raise ValueError(
                f"the layer {name} of `augment` cannot change images of shape "
                f"{tuple(image_shape)}: {errors.in_words(error)}"
            ) from error
        if tuple(changed.shape) != shape:
            raise ValueError(
                "the layers of `augment` must keep the shape of the images; `crop` takes random parts "
                f"of them. Received: {name}, which makes {tuple(changed.shape)} of {shape}"
            )
        # Keras takes any text as a direction of RandomFlip, and then flips nothing.
        outputs = (changed if i == 0 else layer(images, training=True) for i in range(_TRIES))
        if all(np.array_equal(ops.convert_to_numpy(output), images) for output in outputs):
            raise ValueError(
                f"the layer {name} of `augment` changed none of {_TRIES * len(images)} images: "
                f"its arguments must let it do something. Received: augment={text!r}"
            )


class Layers:
    """The layers of a text, which change batches of images as seeds say.

    Args:
        text: As in `parse`.

    Attributes:
        generators: Number of the random generators in the layers.

    Example:

    >>> import numpy as np
    >>> layers = Layers("RandomInvert((1, 1))")
    >>> images = np.arange(12, dtype="uint8").reshape(1, 2, 2, 3)
    >>> layers(images, layers.seeds(0, 0, 0))[0, 0].tolist()
    [[255, 254, 253], [252, 251, 250]]
    """

    def __init__(self, text):
        import keras

        calls = parse(text)
        self._layers = [_make(name, values, named) for name, values, named in calls]
        # All that such layers keep: the states of their generators.
        self._states = [state for layer in self._layers for state in layer.variables]
        self.generators = len(self._states)
        self._lock = threading.Lock()
        self._in_graph = self.change
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            self._in_graph = tf.function(self.change)

    def seeds(self, *numbers):
        """Seeds of all layers, `uint32 [generators, 2]`, which follow from some integers >= 0."""
        import numpy as np

        rng = np.random.default_rng([*numbers, self.generators])
        return rng.integers(2**32, size=(self.generators, 2), dtype="uint32")

    def change(self, images, seeds):
        """Changes a batch.

        Not for several threads at a time: generators keep their states in variables.

        Args:
            images: Tensor `[n, height, width, channels]`, values 0 to 255.
            seeds: As from `seeds`.

        Returns:
            Tensor of the same shape and type, values 0 to 255.
        """
        import keras
        from keras import ops

        dtype = images.dtype
        for i, state in enumerate(self._states):
            state.assign(seeds[i])
        changed = ops.cast(images, "float32")
        for layer in self._layers:
            changed = layer(changed, training=True)
        changed = ops.clip(changed, 0, 255)
        is_integer = "int" in keras.backend.standardize_dtype(dtype)
        return ops.cast(ops.round(changed) if is_integer else changed, dtype)

    def change_in_graph(self, images, *numbers):
        """`change` in a graph of TensorFlow, with the seeds that follow from tensors of integers."""
        import tensorflow as tf

        seeds = tf.numpy_function(self.seeds, numbers, tf.uint32)
        return self.change(images, tf.ensure_shape(seeds, (self.generators, 2)))

    def __call__(self, images, seeds):
        """`change` for NumPy, and from any thread."""
        from keras import ops

        with self._lock:
            changed = self._in_graph(ops.convert_to_tensor(images), ops.convert_to_tensor(seeds))
            return ops.convert_to_numpy(changed)


@functools.lru_cache(maxsize=4)
def layers_of(text):
    """`Layers`, made once for a text."""
    return Layers(text)


def _make(name, arguments, keywords):
    layers = _image_layers()
    if name not in layers:
        known = {each.lower(): each for each in layers if each not in REFUSED}
        close = difflib.get_close_matches(name.lower(), known, n=1)
        hint = f" Did you mean {known[close[0]]}?" if close else ""
        raise ValueError(f"keras.layers has no image-preprocessing layer {name}.{hint}")
    # Some, such as AutoContrast, draw nothing. For the others, every batch sets the state anew.
    takes_seed = "seed" in inspect.signature(layers[name]).parameters
    fixed = _FIXED | ({"seed": 0} if takes_seed else {})
    for given in keywords:
        if given in fixed:
            raise ValueError(
                f"tfhash sets the argument {given} of the layers of `augment`; leave it out. "
                f"Received: {given}={keywords[given]!r} of the layer {name}"
            )
    try:
        layer = layers[name](*arguments, **fixed, **keywords)
        _fix_inner_layers(layer)
    except Exception as error:  # whatever a layer of Keras raises
        raise ValueError(
            f"the layer {name} of `augment` does not take its arguments: {errors.in_words(error)}"
        ) from error
    value_range = getattr(layer, "value_range", (0, 255))
    if value_range not in ((0, 255), [0, 255]):
        raise ValueError(
            f"the layer {name} of `augment` gets images with values 0 to 255: `value_range` must be "
            f"(0, 255). Received: value_range={value_range}"
        )
    return layer


def _fix_inner_layers(layer):
    """`RandomColorJitter` makes its layers by Keras's global settings, whatever it takes itself."""
    import keras

    for attribute, inner in list(vars(layer).items()):
        if not isinstance(inner, keras.layers.Layer):
            continue
        if (inner.data_format, inner.compute_dtype) != tuple(_FIXED.values()):
            setattr(layer, attribute, type(inner).from_config({**inner.get_config(), **_FIXED}))


def _image_layers():
    """Keras's image-preprocessing layers, by name: those with the methods that Keras documents."""
    import keras

    return {
        name: layer
        for name, layer in vars(keras.layers).items()
        if hasattr(layer, "get_random_transformation") and hasattr(layer, "transform_images")
    }
