"""Export to ONNX and LiteRT, for runtimes without TensorFlow."""

import importlib.util
import pathlib
import re
import tempfile

import keras

from tfhash import codes, encoding, errors, files
from tfhash.export import onnx_file
from tfhash.export.inputs import inputs_of
from tfhash.keras_private import sublayers

# The suffix of a file in each format.
SUFFIXES = {"onnx": ".onnx", "litert": ".tflite"}

_NOT_BUILT_IN = re.compile(r"'tf\.(\w+)' op is neither a custom op nor a flex op")


def export_onnx(model, path, output=None):
    """Writes a model as an ONNX file, which ONNX Runtime and many others run.

    The file takes `images`, `uint8 [n, height, width, channels]` (0 to 255) of the network's size, for
    a `HashingModel`, and the inputs of any other model, several by their names. It returns `codes`,
    packed `uint8 [n, ceil(bits / 8)]`, and `relaxed_codes`, `float32 [n, bits]`. It computes in
    float32: the codes are those of Keras but for bits whose relaxed code is within rounding of 0
    (`tfhash.export.compare` counts them). A model of another dtype policy is exported as its copy in
    float32, whose codes differ in more bits.

    Args:
        model: A built `tfhash.models.HashingModel`, or any Keras model that outputs relaxed codes.
        path: File to write, ending in `.onnx`; replaced if it exists.
        output: Name of the output that holds the codes, if the model has several.

    Returns:
        `pathlib.Path` of the file.

    Raises:
        ImportError: If the extra `onnx` is not installed.
        ValueError: If the path has another suffix, the model is not built, its codes cannot be
            identified, or an op of it has no counterpart.
        RuntimeError: If Keras's backend is not TensorFlow.
        OSError: If writing fails; nothing is left behind.

    Example:

    >>> from tfhash.export import export_onnx
    >>> export_onnx(model, "photos.onnx")  # doctest: +SKIP
    PosixPath('photos.onnx')
    """
    if importlib.util.find_spec("tf2onnx") is None:
        raise ImportError(
            f"export to ONNX needs tf2onnx, which is not installed. {errors.how_to_install('onnx')}"
        )
    return _export("onnx", model, path, output, onnx_file.write)


def export_litert(model, path, output=None):
    """Writes a model as a LiteRT file (`.tflite`), for phones and other small devices.

    Inputs, outputs and their precision are those of `export_onnx`; the file has one signature,
    `serving_default`, and built-in ops of LiteRT only. TensorFlow converts; the extra
    `litert` runs the file.

    Args:
        model, output: As in `export_onnx`.
        path: File to write, ending in `.tflite`; replaced if it exists.

    Returns:
        `pathlib.Path` of the file.

    Raises:
        ValueError, RuntimeError, OSError: As `export_onnx`.

    Example:

    >>> import tempfile
    >>> from tfhash.models import HashingModel, build_backbone
    >>> model = HashingModel(build_backbone("mlp", (8, 8, 1)), bits=12, num_classes=10)
    >>> model.build((None, 8, 8, 1))
    >>> export_litert(model, pathlib.Path(tempfile.mkdtemp()) / "digits.tflite").name
    'digits.tflite'
    """
    return _export("litert", model, path, output, _write_litert)


def _export(kind, model, path, output, write):
    path = pathlib.Path(path)
    if path.suffix != SUFFIXES[kind]:
        raise ValueError(f"`path` must end in {SUFFIXES[kind]}. Received: {path}")
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            "export to ONNX and LiteRT runs on Keras's TensorFlow backend. Save the model, and export "
            "it in a process with KERAS_BACKEND=tensorflow. "
            f"Received: the backend {keras.backend.backend()}"
        )
    inputs_of(model)  # or a copy of a model that is not built would fail in other words
    network = _network(_in_float32(model), output)
    with files.atomic_write(path) as temporary:
        try:
            write(network, temporary)
        except OSError:
            raise
        except Exception as error:
            missing = sorted(set(_NOT_BUILT_IN.findall(str(error))))
            reason = f"it has no op for {', '.join(missing)}" if missing else errors.in_words(error)
            raise ValueError(
                f"the model could not be converted to {kind}: {reason}. Build the layer in question of "
                "other ops, or write a SavedModel, which takes all of TensorFlow's "
                "(`export_saved_model`, or --format=saved_model)"
            ) from error
    return path


def _write_litert(network, path):
    import tensorflow as tf

    # What Keras would make of the network, too, but for models that were never called.
    signature = keras.tree.map_structure(
        lambda tensor: keras.InputSpec(tensor.dtype, shape=tensor.shape, name=tensor.name),
        [network.input],
    )
    built_in = [tf.lite.OpsSet.TFLITE_BUILTINS]
    network.export(
        path,
        format="litert",
        verbose=False,
        input_signature=signature,
        target_spec={"supported_ops": built_in},
    )


def _network(model, output):
    """A functional model from the inputs of a model, by name, to its codes, packed and relaxed."""
    taken = inputs_of(model)
    tensors = {
        name: keras.Input(batch_shape=spec.shape, dtype=spec.dtype, name=name)
        for name, spec in taken.specs.items()
    }
    both = _Codes(model, output)(taken.arranged(tensors))
    # One tensor, or a flat list: what names the inputs of the file.
    flat = list(tensors.values())
    return keras.Model(flat if len(flat) > 1 else flat[0], both)


class _Codes(keras.layers.Layer):
    """The codes of a model, packed and relaxed."""

    def __init__(self, model, output):
        super().__init__(dtype="float32", autocast=False)  # the model casts its inputs itself
        self.model = model
        self.output_name = output

    def call(self, inputs):
        outputs = self.model(inputs, training=False)
        relaxed = encoding.select_output(self.model, outputs, self.output_name)
        return {"codes": codes.pack(relaxed), "relaxed_codes": relaxed}


def _in_float32(model):
    """The model, or a copy that computes in float32 if it does not.

    Neither runtime has all ops in half precision, and LiteRT none in bfloat16.
    """
    layers = sublayers(model)
    if all(layer.compute_dtype == "float32" for layer in layers):
        return model
    own_classes = {
        type(layer).__name__: type(layer)
        for layer in layers
        if not type(layer).__module__.startswith("keras.")
    }
    config = _with_float32(keras.saving.serialize_keras_object(model))
    try:
        copy = keras.saving.deserialize_keras_object(config, own_classes)
    except (TypeError, NotImplementedError) as error:
        raise ValueError(
            "a model that does not compute in float32 is exported as its copy in float32, made of its "
            "`get_config`. Write that method, or make the model under the policy float32. "
            f"Received: {errors.in_words(error)}"
        ) from error
    with tempfile.TemporaryDirectory() as directory:
        weights = pathlib.Path(directory, "model.weights.h5")
        model.save_weights(weights)
        copy.load_weights(weights)
    return copy


def _with_float32(config):
    """A serialized object in which every dtype policy is float32."""
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy":
            return {**config, "config": {**config["config"], "name": "float32"}}
        return {key: _with_float32(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return type(config)(map(_with_float32, config))
    return config
