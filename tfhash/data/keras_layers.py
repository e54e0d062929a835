"""Keras's layers that change images at random, named in a text, as augmentation of training images.

Keras's generators count calls, so a resumed run would see other images than one that was never
interrupted. Here each batch gets new layers, with a seed of its own.
"""

import ast
import inspect

import numpy as np

_EXPECTED = (
    "`augment` must list layers of keras.layers, such as RandAugment or RandomRotation(0.05)"
)

_MIXING = ("CutMix", "MixUp")


def parse(text):
    """Names and arguments of the layers in a text. Imports no Keras.

    Args:
        text: Layers of `keras.layers`, separated by commas, with or without arguments.

    Returns:
        List of `(name, arguments, keyword_arguments)`.

    Raises:
        ValueError: If the text is something else, or names a layer that mixes images.

    Example:

    >>> parse("RandAugment, RandomRotation(0.05, fill_mode='reflect')")
    [('RandAugment', [], {}), ('RandomRotation', [0.05], {'fill_mode': 'reflect'})]
    """
    try:
        calls = ast.parse(f"[{text}]", mode="eval").body.elts
        found = [_read(call) for call in calls]
    except (SyntaxError, ValueError, AttributeError) as error:
        raise ValueError(f"{_EXPECTED}, with commas between. Received: augment={text!r}") from error
    for name, _, _ in found:
        if name in _MIXING:
            raise ValueError(
                f"{name} mixes the labels of two images, and the losses take images that are similar "
                f"or not, not in part. Received: augment={text!r}"
            )
    return found


def _read(call):
    if isinstance(call, ast.Name):
        return call.id, [], {}
    if not isinstance(call, ast.Call) or any(keyword.arg is None for keyword in call.keywords):
        raise ValueError("not a call")
    arguments = [ast.literal_eval(argument) for argument in call.args]
    return call.func.id, arguments, {k.arg: ast.literal_eval(k.value) for k in call.keywords}


def check(text, image_shape):
    """Raises `ValueError` unless the layers can change images of this shape, and keep it."""
    images = np.zeros((2, *image_shape), "uint8")
    for name, arguments, keywords in parse(text):
        try:
            layer = _make(name, arguments, keywords, seed=0)
            changed = layer(images.astype("float32"), training=True)
        except (
            Exception
        ) as error:  # whatever a layer of Keras raises, for arguments and images alike
            raise ValueError(
                f"the layer {name} of `augment` cannot change images of shape "
                f"{tuple(image_shape)}: {error}"
            ) from error
        if layer.weights:
            raise ValueError(f"{_EXPECTED}, without weights. Received: {name}")
        if tuple(getattr(changed, "shape", ())) != images.shape:
            raise ValueError(
                "the layers of `augment` must keep the shape of the images; `crop` takes random parts "
                f"of them. Received: {name}, which makes {getattr(changed, 'shape', type(changed))} "
                f"of {images.shape}"
            )


def apply(text, images, rng):
    """Changes a batch of images.

    Args:
        text: As in `parse`.
        images: NumPy `[n, height, width, channels]`, values 0 to 255; not changed.
        rng: NumPy generator, which decides the changes.

    Returns:
        NumPy of the same shape and type, values 0 to 255.

    Example:

    >>> images = np.arange(12, dtype="uint8").reshape(1, 2, 2, 3)
    >>> apply("RandomInvert((1, 1))", images, np.random.default_rng(0))[0, 0].tolist()
    [[255, 254, 253], [252, 251, 250]]
    """
    from keras import ops

    changed = images.astype("float32")
    for name, arguments, keywords in parse(text):
        layer = _make(name, arguments, keywords, int(rng.integers(2**31)))
        changed = layer(changed, training=True)
    changed = np.clip(ops.convert_to_numpy(changed), 0, 255)
    is_integer = np.issubdtype(images.dtype, np.integer)
    return (np.rint(changed) if is_integer else changed).astype(images.dtype)


def _make(name, arguments, keywords, seed):
    import keras

    make = getattr(keras.layers, name, None)
    if not (inspect.isclass(make) and issubclass(make, keras.layers.Layer)):
        raise ValueError(f"keras.layers has no layer {name}")
    # Some, such as AutoContrast, draw nothing.
    seeded = {"seed": seed} if "seed" in inspect.signature(make).parameters else {}
    return make(*arguments, **seeded, **keywords)
