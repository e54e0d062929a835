"""What tells models apart."""

import hashlib
import json

import numpy as np
from keras import ops

# In the config of a model, but without influence on codes. A layer has a `build_config` after its
# first call.
_IRRELEVANT = ("class_names", "note", "build_config", "compile_config")


def fingerprint(model):
    """SHA-256 of a model: its layers with their names and settings, and its weights.

    A model that is saved, copied and loaded again keeps it; one epoch more of training changes it. So
    may a release of Keras that describes layers in other words.

    Args:
        model: A built Keras model.

    Returns:
        64 hexadecimal digits.

    Example:

    >>> import keras
    >>> from tfhash.layers import HashingLayer
    >>> model = keras.Sequential([keras.Input((4,)), HashingLayer(bits=12)])
    >>> before = fingerprint(model)
    >>> model.set_weights([weights + 1 for weights in model.get_weights()])
    >>> len(before), fingerprint(model) == before
    (64, False)
    """
    config = _relevant(model.get_config())
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=_name_of).encode())
    for variable in model.weights:
        array = np.ascontiguousarray(ops.convert_to_numpy(variable.value))
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _relevant(config):
    if isinstance(config, dict):
        # Whether statistics are those of one replica tells how it trained.
        alone = {"synchronized": False} if "synchronized" in config else {}
        kept = {**config, **alone}
        return {key: _relevant(value) for key, value in kept.items() if key not in _IRRELEVANT}
    return [_relevant(item) for item in config] if isinstance(config, (list, tuple)) else config


def _name_of(value):
    return type(value).__name__
