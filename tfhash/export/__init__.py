"""Export to a SavedModel that stock TensorFlow Serving loads."""

import pathlib

import keras
import tensorflow as tf

from tfhash import codes, encoding, errors, files

CLASS_NAMES = "class_names.txt"


def export_saved_model(model, path, version=None, output=None):
    """Writes a model as `path/<version>/`, the layout TensorFlow Serving watches.

    The signature `serving_default` takes `images`, `uint8 [n, height, width, channels]` (0 to 255)
    for a `HashingModel` and the input of any other model, and returns `codes`, packed
    `uint8 [n, ceil(bits / 8)]`. It holds stock TensorFlow ops only. Class names, where the model has
    them, go to `assets/class_names.txt`, one a line.

    Args:
        model: A built `tfhash.models.HashingModel`, or any Keras model of one input that outputs
            relaxed codes.
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

    def images_to_codes(images):
        outputs = model(images, training=False)
        return {"codes": codes.pack(encoding.select_output(model, outputs, output))}

    write = _write_tensorflow if keras.backend.backend() == "tensorflow" else _write_by_keras
    images = _images_of(model)
    with files.atomic_write(target) as temporary:
        try:
            write(model, images_to_codes, images, temporary)
        except tf.errors.OpError as error:
            # TensorFlow's own file writer reports a full disk this way.
            raise OSError(errors.in_words(error)) from error
        if getattr(model, "class_names", None):
            names = "".join(f"{name}\n" for name in model.class_names)
            (temporary / "assets" / CLASS_NAMES).write_text(names, encoding="utf-8")
    return target


def _write_tensorflow(_, images_to_codes, images, directory):
    # Each variable that the codes depend on, once. Keras's archive follows the attributes of all layers,
    # which takes several times as long, and stores each weight twice.
    module = tf.Module()
    module.serving_default = tf.function(images_to_codes, [images], autograph=False)
    module.used = list(module.serving_default.get_concrete_function().variables)
    tf.saved_model.save(module, directory, {"serving_default": module.serving_default})


def _write_by_keras(model, images_to_codes, images, directory):
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serving_default", images_to_codes, input_signature=[images])
    archive.write_out(directory, verbose=False)


def _images_of(model):
    """What a batch of images is for this model, as a `tf.TensorSpec`."""
    shape = encoding.input_shape(model)
    if shape is None:
        raise ValueError(
            "the model must be built and have one input. Received: a model whose input shape is "
            "not known"
        )
    if hasattr(model, "image_shape"):
        dtype = tf.uint8
    else:
        dtype = getattr(model.inputs[0], "dtype", "float32") if model.inputs else "float32"
    return tf.TensorSpec((None, *shape), dtype, name="images")
