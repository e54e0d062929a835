"""Export to a SavedModel that stock TensorFlow Serving loads."""

import pathlib

import keras
import tensorflow as tf

from tfhash import codes, encoding, errors, files
from tfhash.export.agreement import Agreement, compare
from tfhash.export.inputs import inputs_of
from tfhash.export.portable import export_litert, export_onnx

__all__ = ["Agreement", "compare", "export_litert", "export_onnx", "export_saved_model"]

CLASS_NAMES = "class_names.txt"


def export_saved_model(model, path, version=None, output=None):
    """Writes a model as `path/<version>/`, the layout TensorFlow Serving watches.

    The signature `serving_default` takes `images`, `uint8 [n, height, width, channels]` (0 to 255)
    for a `HashingModel` and the input of any other model, several by their names, and returns `codes`, packed
    `uint8 [n, ceil(bits / 8)]`. It holds stock TensorFlow ops only. Class names, where the model has
    them, go to `assets/class_names.txt`, one a line.

    Args:
        model: A built `tfhash.models.HashingModel`, or any Keras model that outputs relaxed
            codes.
        path: Directory of the model; made if it does not exist.
        version: Integer >= 1; by default one more than the highest there.
        output: Name of the output that holds the codes, if the model has several.

    Returns:
        `pathlib.Path` of the version directory.

    Raises:
        ValueError: If the model is not built, its input or codes cannot be identified, or the version is
            out of range.
        FileExistsError: If the version exists.
        OSError: If writing fails; nothing is left behind.

    Example:

    >>> import tempfile, numpy as np
    >>> from tfhash.models import HashingModel, build_backbone
    >>> model = HashingModel(build_backbone("mlp", (8, 8, 1)), bits=12, num_classes=10)
    >>> images = np.zeros((1, 8, 8, 1), "uint8")
    >>> codes = model.encode(images)
    >>> directory = export_saved_model(model, tempfile.mkdtemp())
    >>> served = tf.saved_model.load(directory).signatures["serving_default"]
    >>> bool((served(images=images)["codes"].numpy() == codes).all())
    True
    """
    path = pathlib.Path(path)
    if version is None:
        version = 1 + max((int(d.name) for d in path.glob("*") if d.name.isdigit()), default=0)
    if version < 1:
        raise ValueError(f"`version` must be an integer >= 1. Received: version={version!r}")
    target = path / str(version)
    if target.exists():
        raise FileExistsError(f"version {version} exists in {path}. Pass another `version`")

    taken = inputs_of(model)
    signature = [
        tf.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in taken.specs.items()
    ]

    def to_codes(*tensors):
        inputs = taken.arranged(dict(zip(taken.specs, tensors)))
        outputs = model(inputs, training=False)
        return {"codes": codes.pack(encoding.select_output(model, outputs, output))}

    write = _write_tensorflow if keras.backend.backend() == "tensorflow" else _write_by_keras
    with files.atomic_write(target) as temporary:
        try:
            write(model, to_codes, signature, temporary)
        except tf.errors.OpError as error:
            # TensorFlow's own file writer reports a full disk this way.
            raise OSError(errors.in_words(error)) from error
        if getattr(model, "class_names", None):
            names = "".join(f"{name}\n" for name in model.class_names)
            (temporary / "assets" / CLASS_NAMES).write_text(names, encoding="utf-8")
    return target


def _write_tensorflow(_, to_codes, signature, directory):
    # Each variable that the codes depend on, once. Keras's archive follows the attributes of all layers,
    # which takes several times as long, and stores each weight twice.
    module = tf.Module()
    module.serving_default = tf.function(to_codes, signature, autograph=False)
    module.used = list(module.serving_default.get_concrete_function().variables)
    tf.saved_model.save(module, directory, {"serving_default": module.serving_default})


def _write_by_keras(model, to_codes, signature, directory):
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serving_default", to_codes, input_signature=signature)
    archive.write_out(directory, verbose=False)
