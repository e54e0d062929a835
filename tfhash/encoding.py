"""Packed codes of images, from any Keras model that ends in relaxed codes."""

import warnings

import keras
import numpy as np
from keras import ops

from tfhash import codes, errors, pixels, prediction

__all__ = ["encode", "encode_relaxed", "encode_with_labels"]

# Relaxed codes lie in [-1, 1] but for the rounding of half-precision types.
LARGEST_RELAXED = 1.01


def encode(model, images, output=None, batch_size=256, verbose=0):
    """Encodes images as packed binary codes.

    Args:
        model: A built Keras model that outputs relaxed codes `[n, bits]` in [-1, 1]: a
            `tfhash.models.HashingModel`, or any model that ends in a `tfhash.layers.HashingLayer`.
        images: Array of images, as the model takes them, or a dataset of batches of images, with or
            without labels: a `tf.data.Dataset`, a `keras.utils.PyDataset` or a generator. For a model of
            several inputs, a list or dictionary of arrays, or a dataset of such batches.
        output: Name of the output that holds the codes, if the model has several and none is called
            `codes`.
        batch_size: Images per step, if `images` is an array.
        verbose: As in `keras.Model.predict`.

    Returns:
        NumPy `uint8 [n, ceil(bits / 8)]`; see `tfhash.codes`.

    Raises:
        ValueError: If the images do not fit the model, or its output does not hold relaxed codes.
        OSError: If a dataset reads a missing file.

    Example:

    >>> from tfhash.layers import HashingLayer
    >>> model = keras.Sequential([keras.Input((16,)), HashingLayer(bits=12)])
    >>> encode(model, np.zeros((3, 16))).shape
    (3, 2)
    """
    return _pack(_predict(model, images, output, batch_size, verbose))


def encode_relaxed(model, images, output=None, batch_size=256, verbose=0):
    """Encodes images as relaxed codes, as `HammingIndex.search_asymmetric` takes them.

    Args:
        model, images, output, batch_size, verbose: As in `encode`.

    Returns:
        NumPy float32 `[n, bits]` in [-1, 1]; `tfhash.codes.pack` makes the codes of `encode` of them.

    Raises:
        ValueError, OSError: As `encode`.

    Example:

    >>> from tfhash.layers import HashingLayer
    >>> model = keras.Sequential([keras.Input((16,)), HashingLayer(bits=12)])
    >>> encode_relaxed(model, np.zeros((3, 16))).shape
    (3, 12)
    """
    relaxed = _predict(model, images, output, batch_size, verbose)
    # Half-precision types round beyond 1.
    return np.clip(np.asarray(relaxed, "float32"), -1, 1)


def encode_with_labels(model, data, output=None, batch_size=256):
    """Encodes labeled images in one pass, so that codes and labels match even in shuffled datasets.

    Args:
        model, output, batch_size: As in `encode`.
        data: `(images, labels)` arrays, or a dataset of such batches.

    Returns:
        `(codes, labels, bits)`: NumPy `uint8 [n, ceil(bits / 8)]`, the labels in the same order, and
        the number of bits of a code.

    Raises:
        ValueError: As `encode`, and if there are no items or a batch has no labels.

    Example:

    >>> from tfhash.layers import HashingLayer
    >>> model = keras.Sequential([keras.Input((16,)), HashingLayer(bits=12)])
    >>> codes, labels, bits = encode_with_labels(model, (np.zeros((3, 16)), [0, 1, 1]))
    >>> codes.shape, labels.tolist(), bits
    ((3, 2), [0, 1, 1], 12)
    """
    if isinstance(data, (tuple, list)):
        relaxed = _predict(model, data[0], output, batch_size)
        return _pack(relaxed), np.asarray(data[1]), relaxed.shape[1]
    labels: list[np.ndarray] = []

    def images():
        labels.clear()
        with errors.translated():
            for batch in data:
                if not isinstance(batch, (tuple, list)) or len(batch) < 2:
                    raise ValueError(
                        "each batch must be (images, labels). "
                        f"Received: batches of type {type(batch).__name__}"
                    )
                check_images(model, batch[0], is_dataset=True)
                labels.append(ops.convert_to_numpy(batch[1]))
                if has_several_inputs(model, batch[0]):
                    yield (keras.tree.map_structure(ops.convert_to_numpy, batch[0]),)
                    continue
                found = ops.convert_to_numpy(batch[0])
                # Keras keeps one traced function for all calls, which takes a single rank.
                lacks_channels = found.ndim == 3 and len(input_shape(model) or ()) == 3
                yield (found[..., None] if lacks_channels else found,)

    if next(images(), None) is None:
        raise ValueError("there must be at least one item. Received: an empty dataset")
    with warnings.catch_warnings():
        # Keras warns so about every generator, whose length is unknown until it is read.
        warnings.filterwarnings("ignore", message="Your input ran out of data")
        relaxed = _run(model, images(), output)
    return _pack(relaxed), np.concatenate(labels), relaxed.shape[1]


def _predict(model, images, output=None, batch_size=256, verbose=0):
    """Relaxed codes of images, NumPy float `[n, bits]`."""
    if not hasattr(images, "element_spec") and has_several_inputs(model, images):
        return _predict_several(model, images, output, batch_size, verbose)
    if isinstance(images, list):
        images = np.asarray(images)  # Keras would take each image for one input of the model
    if not hasattr(images, "shape"):
        batch_size = None  # a dataset has its own
        _check_dataset(model, images)
        images = checked(model, images)
    else:
        check_images(model, images)
        if len(images) == 0:
            one = np.zeros((1, *images.shape[1:]), images.dtype)
            return _predict(model, one, output, batch_size)[:0]
        if hasattr(model, "image_shape"):
            pixels.check_pixel_range(images)
    return _run(model, images, output, batch_size, verbose)


def _predict_several(model, inputs, output, batch_size, verbose):
    """Relaxed codes for a structure of arrays, one for each input of the model."""
    arrays = keras.tree.map_structure(np.asarray, inputs)
    counts = {len(array) for array in keras.tree.flatten(arrays)}
    if len(counts) != 1:
        raise ValueError(
            "all inputs must have the same number of items. Received: "
            f"{', '.join(map(str, sorted(counts)))} items"
        )
    if counts == {0}:
        one = keras.tree.map_structure(lambda a: np.zeros((1, *a.shape[1:]), a.dtype), arrays)
        return _run(model, one, output, batch_size)[:0]
    return _run(model, arrays, output, batch_size, verbose)


def has_several_inputs(model, inputs):
    """Whether a model takes several inputs in a list, tuple or dictionary, and these are such ones.

    A list for a model of one input is a list of images.

    Args:
        model: The model.
        inputs: What it is to be called with. For a subclassed model, which does not know its inputs, a
            dictionary says so itself.
    """
    if hasattr(model, "image_shape"):
        return False
    known = getattr(model, "inputs", None)
    if known is None:
        return isinstance(inputs, dict)
    return isinstance(inputs, (dict, list, tuple)) and len(known) > 1


def _run(model, images, output, batch_size=None, verbose=0):
    """Relaxed codes of images that have been checked."""
    _align_replicas(model)
    with errors.translated():
        outputs = prediction.predict(model, images, batch_size, verbose)
    return relaxed_codes(model, outputs, output)


def _align_replicas(model):
    """Gives all replicas of a `tf.distribute` strategy the statistics of the first one.

    Batch normalization has statistics on each replica, and a saved or exported model those of the first.
    The code of an image must not depend on the replica that computes it.
    """
    strategy = getattr(model, "distribute_strategy", None)
    if strategy is not None and strategy.num_replicas_in_sync > 1:
        for variable in model.non_trainable_variables:
            variable.assign(ops.convert_to_numpy(variable))


def _check_dataset(model, data):
    """Checks what can be known of a dataset without using up its batches."""
    if isinstance(data, tuple):
        raise ValueError("images must be an array or a dataset. Received: a tuple")
    is_empty = False
    if hasattr(data, "element_spec"):
        is_empty = int(data.cardinality()) == 0
    elif isinstance(data, keras.utils.PyDataset):
        is_empty = data.num_batches == 0
    if is_empty:
        raise ValueError("images must hold at least one batch. Received: an empty dataset")
    if hasattr(model, "image_shape"):
        with errors.translated():
            pixels.check_first_batch(data)


def _pack(relaxed):
    return ops.convert_to_numpy(codes.pack(relaxed))


def check_images(model, images, is_dataset=False):
    """Raises `ValueError` unless a batch of images suits the model; see `tfhash.pixels`."""
    wanted = _checkable_shape(model)
    if wanted is not None:
        pixels.check_images(images, wanted, is_dataset)


def checked(model, data):
    """A dataset whose images are checked to suit the model; see `tfhash.pixels.checked`."""
    wanted = _checkable_shape(model)
    with errors.translated():
        return data if wanted is None else pixels.checked(data, wanted)


def _checkable_shape(model):
    dtypes = [tensor.dtype for tensor in getattr(model, "inputs", None) or []]
    return None if "string" in dtypes else input_shape(model)


def input_shape(model):
    """Shape of one input of a model, with `None` for sides of any length; `None` if not known."""
    shape = getattr(model, "image_shape", None)
    if shape is not None:
        return tuple(shape)
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or not shape or isinstance(shape[0], tuple):
        return None
    return tuple(shape[1:])


def relaxed_codes(model, outputs, output=None):
    """The relaxed codes among the outputs of a model, checked.

    Args:
        model: The model.
        outputs: What `predict` returned: an array, a list or a dictionary of arrays.
        output: Name of the output, if there are several.

    Returns:
        NumPy float `[n, bits]`.

    Raises:
        ValueError: If the output is ambiguous or holds no relaxed codes.
    """
    relaxed = np.asarray(select_output(model, outputs, output))
    broken = np.flatnonzero(~np.isfinite(relaxed.astype("float32")).all(axis=1))
    if broken.size:
        raise ValueError(
            f"images must hold finite values from 0 to 255. Received: {broken.size} images "
            f"with codes that are not finite, the first at index {broken[0]}"
        )
    largest = float(np.abs(relaxed).max(initial=0))
    if largest > LARGEST_RELAXED:
        raise ValueError(
            "relaxed codes lie in [-1, 1]: end the model in a `tfhash.layers.HashingLayer`. "
            f"Received: an output of values up to {largest:g}"
        )
    return relaxed


def select_output(model, outputs, output=None):
    """The output of that name; by default the only one, or the one called `codes`.

    Args:
        model: The model.
        outputs: Arrays or tensors: one, a list or a dictionary.
        output: Name of the output, if there are several.

    Returns:
        Float `[n, bits]`.

    Raises:
        ValueError: If no output has that name, or it is not of that type and rank.
    """
    if hasattr(model, "image_shape"):  # a HashingModel, whose other output is no code
        outputs = {"codes": outputs["codes"] if isinstance(outputs, dict) else outputs}
    elif not isinstance(outputs, dict):
        names = _output_names(model)
        outputs = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
        outputs = dict(zip(names or map(str, range(len(outputs))), outputs))
    names = ", ".join(map(str, outputs))
    if output is None:
        output = next(iter(outputs)) if len(outputs) == 1 else "codes"
        asked = None
    else:
        asked = output
    if output not in outputs:
        raise ValueError(
            f"`output` must name the output that holds the codes, one of {names}. "
            f"Received: output={asked!r}"
        )
    relaxed = outputs[output]
    dtype = keras.backend.standardize_dtype(relaxed.dtype)
    if len(relaxed.shape) != 2 or "float" not in dtype:
        raise ValueError(
            "the output must be relaxed codes, float [n, bits]: end the model in a "
            f"`tfhash.layers.HashingLayer`. Received: {dtype} {list(relaxed.shape)}, the output "
            f"{output!r} of {names}"
        )
    return relaxed


def _output_names(model):
    """Names of a model's outputs; `None` where it does not name them."""
    if isinstance(model, keras.Sequential):
        return [model.layers[-1].name]
    return getattr(model, "output_names", None)
