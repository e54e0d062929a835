"""Export to a SavedModel that stock TensorFlow Serving loads."""

import pathlib

import keras
import tensorflow as tf

from tfhash import codes, files


def export_saved_model(model, path, version=None):
    """Writes a model as `path/<version>/`, the layout TensorFlow Serving watches.

    The signature `serving_default` takes `images`, `uint8 [n, height, width, channels]` as they
    come (0 to 255), and returns `codes`, packed `uint8 [n, ceil(bits / 8)]`. It holds stock
    TensorFlow ops only.

    Args:
        model: A built `tfhash.models.HashingModel`.
        path: Directory of the model; made if it does not exist.
        version: Integer >= 1; by default one more than the highest there.

    Returns:
        `pathlib.Path` of the version directory.

    Raises:
        ValueError: If the model is not built, or the version is out of range.
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

    bare = model.uncompiled_copy()

    def images_to_codes(images):
        return {"codes": codes.pack(bare(images, training=False)["codes"])}

    images = tf.TensorSpec((None, *model.image_shape), tf.uint8, name="images")
    archive = keras.export.ExportArchive()
    archive.track(bare)
    archive.add_endpoint("serving_default", images_to_codes, input_signature=[images])
    with files.atomic_write(target) as temporary:
        try:
            archive.write_out(temporary, verbose=False)
        except tf.errors.OpError as error:
            # TensorFlow's own file writer reports a full disk this way.
            raise OSError(error.message.split("}} ")[-1]) from error
    return target
