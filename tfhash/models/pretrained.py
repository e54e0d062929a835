"""Backbones that exist already: networks of `keras.applications`, and models in files."""

import contextlib
import os
import pathlib
import tempfile
import traceback
import warnings
import zipfile

import keras
import numpy as np
from keras import ops

from tfhash import applications, errors
from tfhash.models import pixel_range
from tfhash.text import listing


def build_application(name, image_shape=None, weights=None, **options):
    """Builds a network of `keras.applications` with its preprocessing inside, and pooled features.

    Args:
        name: A key of `tfhash.applications.FAMILY_OF`.
        image_shape, weights, **options: As in `tfhash.models.build_backbone`.

    Returns:
        A functional `keras.Model` from RGB pixels, 0 to 255, to features `[n, f]`. Its weights fit
        files of the network in `keras.applications`.
    """
    side = applications.side_of(name)
    height, width, channels = image_shape or (side, side, 3)
    if channels not in (1, 3):
        raise ValueError(
            f"{name} takes RGB images, to which gray ones are repeated. Received: {channels} channels"
        )
    applications.check_side(name, (height, width))
    mode = applications.FAMILIES[applications.FAMILY_OF[name]].mode
    with _channels_last():
        shape = (height, width, 3)
        arguments = {"include_top": False, "pooling": "avg", "input_shape": shape, **options}
        if mode != "inside":
            images = keras.Input(shape, name="images")
            arguments["input_tensor"] = pixel_range.preprocess(images, mode)
        arguments["weights"] = "imagenet" if weights == "imagenet" else None
        with _download_explained(name):
            network = getattr(keras.applications, name)(**arguments)
    # Keras keeps a list of one input where a tensor was given.
    backbone = keras.Model(network.inputs[0], network.outputs[0], name=name)
    if weights not in (None, "imagenet"):
        load_weights(backbone, weights)
    return backbone


def load_weights(backbone, path):
    """Loads weights from a file, `*.weights.h5` or `*.h5`, into a backbone.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds the weights of another network.
    """
    path = pathlib.Path(path)
    if path.suffix != ".h5":
        raise ValueError(
            "`weights` must be imagenet, none, or a path that ends in .weights.h5 or .h5 (pass a "
            f".keras file as `backbone`). Received: weights={str(path)!r}"
        )
    if not path.is_file():
        raise FileNotFoundError(f"`weights` must be an existing file. Received: {path}")
    variables = [weight for weight in backbone.weights if "float" in weight.dtype]
    for variable in variables:
        variable.assign(np.full(variable.shape, np.nan))
    try:
        with warnings.catch_warnings():
            # Keras warns about layers that the file lacks; what stays NaN below tells for sure.
            warnings.filterwarnings("ignore", message="Skipping nested container")
            backbone.load_weights(path)
        lacking = [v.path for v in variables if np.isnan(ops.convert_to_numpy(v)).any()]
        if lacking:
            raise ValueError(f"it lacks or has no numbers for {listing(lacking, most=3)}")
    except (ValueError, OSError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{path} does not hold the weights of the backbone {backbone.name!r}: "
            f"{errors.in_words(error)}"
        ) from error


def load_backbone(path):
    """Loads a Keras model that takes images and ends in features.

    Nothing in the file is executed: Keras refuses one with Python code, such as a `Lambda` layer.

    Args:
        path: A `.keras` file.

    Returns:
        `keras.Model`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, holds unknown layers or Python code, or does not lead from
            images to features.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"`backbone` must be an existing file. Received: {path}")
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (zipfile.BadZipFile, ValueError, TypeError, OSError, KeyError) as error:
        raise ValueError(
            f"{path} cannot be loaded as a Keras model: {errors.in_words(error)}. Layers of your "
            "own must be registered (keras.saving.register_keras_serializable) and imported first; "
            "Lambda layers are refused, because they hold code"
        ) from error
    if hasattr(model, "hashing"):
        raise ValueError(
            f"{path} holds a HashingModel, which ends in codes. Save its backbone alone: "
            "keras.saving.load_model(path).backbone.save('backbone.keras')"
        )
    takes, gives = (getattr(model, f"{kind}_shape", None) for kind in ("input", "output"))
    takes_images = isinstance(takes, tuple) and len(takes) == 4 and takes[-1] in (None, 1, 3)
    if not takes_images:
        raise ValueError(
            "a backbone takes one batch of images [n, height, width, 1 or 3]. "
            f"Received: {path} with the input {_shape_in_words(takes)}"
        )
    if not (isinstance(gives, tuple) and len(gives) == 2 and gives[-1] is not None):
        raise ValueError(
            "a backbone ends in features [n, f]: end it in a `GlobalAveragePooling2D` or `Flatten` "
            f"layer. Received: {path} with the output {_shape_in_words(gives)}"
        )
    return model


def _shape_in_words(shape):
    if isinstance(shape, tuple) and all(side is None or isinstance(side, int) for side in shape):
        return "[" + ", ".join(["n", *(str(side or "any") for side in shape[1:])]) + "]"
    return str(shape)


@contextlib.contextmanager
def _channels_last():
    """Networks made inside take images as [height, width, channels], as all of tfhash does."""
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_last")
    try:
        yield
    finally:
        keras.config.set_image_data_format(before)


@contextlib.contextmanager
def _download_explained(name):
    """Turns what Keras raises where a download fails into an error that says what to do."""
    try:
        yield
    except Exception as error:
        of_keras = ("URL fetch failure on ", "Incomplete or corrupted file detected")
        if not (str(error).startswith(of_keras) or isinstance(error, OSError)):
            raise
        raise OSError(
            f"could not download the ImageNet weights of {name}: {errors.in_words(error)}. Without a "
            f"network, put {_file_asked_for(error)} into {_cache()}, where Keras looks for it, or pass "
            "its path as `weights`; `weights` none starts from random weights"
        ) from error


def _file_asked_for(error):
    """The argument `fname` of the call of `keras.utils.get_file` that raised an error.

    Not every error says it, and the address may end in another name, as those of NASNet do.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code is keras.utils.get_file.__code__:
            return frame.f_locals.get("fname", "the file")
    return "the file"


def _cache():
    """Where Keras keeps downloaded weights; see `keras.utils.get_file`."""
    home = pathlib.Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    if not os.access(home, os.W_OK):
        temporary = "/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir()
        home = pathlib.Path(temporary) / ".keras"
    return home / "models"
