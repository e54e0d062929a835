"""Export to a SavedModel that stock TensorFlow Serving loads."""

import pathlib

import tensorflow as tf

from tfhash import errors, files
from tfhash.data.guarded import MAX_PIXELS
from tfhash.export import signatures

CLASS_NAMES = "class_names.txt"


def export_saved_model(
    model, path, version=None, output=None, on_error="fail", max_pixels=MAX_PIXELS
):
    """Writes a model as `path/<version>/`, the layout TensorFlow Serving watches.

    It holds stock TensorFlow ops only, and these signatures:

    - `encode` takes `images`. For a `HashingModel`, `uint8 [n, height, width, channels]` (0 to 255) of
      any size, which are resized as in training; for any other model, its input.
    - `encode_bytes`, which is also `serving_default`, takes `image_bytes`, `string [n]`: JPEG, PNG, GIF,
      BMP or WebP files, which become what `tfhash.data` makes of them. Only for models whose input is an
      image of known size, gray or RGB; a model that is no `HashingModel` gets pixels 0 to 255 in its
      own type. Elsewhere, `serving_default` is `encode`.

    Both return `codes`, packed `uint8 [n, ceil(bits / 8)]`; `relaxed_codes`, `float32 [n, bits]`; and
    for a `HashingModel` `class_ids`, `int64 [n]`, as `HashingModel.classify`. Class names, where the
    model has them, go to `assets/class_names.txt`, one a line.

    A version appears whole or not at all. What killed exports left is removed.

    Args:
        model: A built `tfhash.models.HashingModel`, or any Keras model of one input that outputs
            relaxed codes.
        path: Directory of the model; made if it does not exist.
        version: Integer >= 1; by default one more than the highest there.
        output: Name of the output that holds the codes, if the model has several.
        on_error: What `encode_bytes` does with a file that it cannot decode: with `"fail"`, the batch
            fails as INVALID_ARGUMENT, with an error that names the file's number; with `"mask"`, its
            codes are 0, its class id is -1, and another output, `valid`, `bool [n]`, is false.
        max_pixels: Height x width of a file at most; files of more are not decoded.

    Returns:
        `pathlib.Path` of the version directory.

    Raises:
        ValueError: If the model is not built, its input or codes cannot be identified, or an argument is
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
    >>> served = tf.saved_model.load(directory).signatures
    >>> bool((served["encode"](images=images)["codes"].numpy() == codes).all())
    True
    >>> png = tf.io.encode_png(images[0])[None]
    >>> bool((served["serving_default"](image_bytes=png)["codes"].numpy() == codes).all())
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
    encoder = signatures.Encoder(model, output, on_error, max_pixels)
    files.remove_abandoned(path)
    with files.atomic_write(target) as temporary:
        try:
            _write(encoder, temporary)
        except tf.errors.OpError as error:
            # TensorFlow's own file writer reports a full disk this way.
            raise OSError(errors.in_words(error)) from error
        _write_extra_files(model, temporary)
    return target


def _write(encoder, directory):
    module = tf.Module()
    module.used = encoder.variables
    tf.saved_model.save(module, directory, signatures.collect(encoder))


def _write_extra_files(model, directory):
    """What is beside the graph and its weights in a version."""
    if getattr(model, "class_names", None):
        names = "".join(f"{name}\n" for name in model.class_names)
        (directory / "assets" / CLASS_NAMES).write_text(names, encoding="utf-8")
