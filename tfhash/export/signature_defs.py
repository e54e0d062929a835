"""The signatures of a SavedModel, read from its file."""

import dataclasses
import pathlib

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

# Its name is reserved for what runs when a SavedModel is loaded.
_INITIALIZATION = "__saved_model_init_op"


@dataclasses.dataclass(frozen=True)
class Signature:
    """What a server takes and returns.

    Attributes:
        inputs, outputs: Dictionaries from a name to a `tf.TensorSpec`, in alphabetical order.
    """

    inputs: dict[str, tf.TensorSpec]
    outputs: dict[str, tf.TensorSpec]


def read_signatures(directory):
    """The signatures of a SavedModel by name, in alphabetical order.

    Args:
        directory: The version directory.

    Returns:
        Dictionary from a name to a `Signature`.

    Example:

    >>> import tempfile
    >>> module, path = tf.Module(), tempfile.mkdtemp()
    >>> module.double = tf.function(
    ...     lambda x: {"y": 2 * x}, [tf.TensorSpec([None, 3], name="x")]
    ... )
    >>> tf.saved_model.save(module, path, {"double": module.double})
    >>> read_signatures(path)["double"].outputs
    {'y': TensorSpec(shape=(None, 3), dtype=tf.float32, name='y')}
    """
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString(pathlib.Path(directory, "saved_model.pb").read_bytes())
    (graph,) = saved.meta_graphs
    return {
        name: Signature(_specs(signature.inputs), _specs(signature.outputs))
        for name, signature in sorted(graph.signature_def.items())
        if name != _INITIALIZATION
    }


def _specs(infos):
    return {
        name: tf.TensorSpec(tf.TensorShape(info.tensor_shape), info.dtype, name)
        for name, info in sorted(infos.items())
    }
