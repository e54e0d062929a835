"""Export to a SavedModel that stock TensorFlow Serving loads."""

import dataclasses
import pathlib
import warnings

import tensorflow as tf

from tfhash import errors, files
from tfhash.data.guarded import MAX_PIXELS
from tfhash.export import configs, signatures
from tfhash.export.companions import write_companions
from tfhash.export.database import Database
from tfhash.export.model_card import Facts
from tfhash.export.search import ExactSearch
from tfhash.export.versions import new_version


def export_saved_model(
    model,
    path,
    version=None,
    output=None,
    on_error="fail",
    max_pixels=MAX_PIXELS,
    database=None,
    report=None,
):
    """Writes a model as `path/<version>/`, the layout TensorFlow Serving watches.

    It holds stock TensorFlow ops only, and these signatures:

    - `encode` takes `images`. For a `HashingModel`, `uint8 [n, height, width, channels]` (0 to 255) of
      any size, which are resized as in training; for any other model, its input, or several by their
      names.
    - `encode_bytes`, which is also `serving_default`, takes `image_bytes`, `string [n]`: JPEG, PNG, GIF,
      BMP or WebP files, which become what `tfhash.data` makes of them. Only for models whose input is an
      image of known size, gray or RGB, with pixels from 0 to 255: a `HashingModel`, or another model of
      `uint8` images or one that begins with `keras.layers.Rescaling` or `Normalization`. Elsewhere,
      `serving_default` is `encode`, and a warning says so where images are scaled in an unknown way.

    Both return `codes`, packed `uint8 [n, ceil(bits / 8)]`; `relaxed_codes`, `float32 [n, bits]`; and
    for a `HashingModel` `class_ids`, `int64 [n]`, as `HashingModel.classify`.

    With a `database`, `search` and `search_bytes` take `k`, too, `int32` (a scalar, or `[n]`), and return
    `ids`, `distances` and `names`, `[n, min(k, items)]`, in ascending order of (distance, id), beside
    `codes`; see `tfhash.export.search.ExactSearch`.

    A version also holds class names in `assets/class_names.txt`, one a line; ids and names of items in
    `assets/item_names.txt`; requests that TensorFlow Serving warms up with; and a model card,
    `README.md`. Beside the versions are `model.config` and `batching.config` for TensorFlow Serving,
    which are written once, so that you can change them.

    A version appears whole or not at all. What killed exports left is removed.

    Args:
        model: A built `tfhash.models.HashingModel`, or any Keras model that outputs relaxed codes.
        path: Directory of the model; made if it does not exist.
        version: Integer >= 1; by default one more than the highest there.
        output: Name of the output that holds the codes, if the model has several.
        on_error: What `encode_bytes` and `search_bytes` do with a file that it cannot decode: with `"fail"`, the batch
            fails as INVALID_ARGUMENT, with an error that names the file's number; with `"mask"`,
            another output, `valid`, `bool [n]`, is false for it, its codes are 0, its class id is -1,
            and a search gives ids and distances of -1 and empty names.
        max_pixels: Height x width of a file at most; files of more are not decoded.
        database: What to search: a `tfhash.index.HammingIndex` of codes of this model; `(codes, ids,
            names)`, of which ids and names may be `None`; or a `tfhash.export.database.Database`, whose
            codes are taken whatever model they come from.
        report: The `report.json` of the training, a dictionary, for the model card.

    Returns:
        `pathlib.Path` of the version directory.

    Raises:
        ValueError: If the model is not built, its input or codes cannot be identified, or an argument is
            out of range.
        FileExistsError: If the version exists.
        tfhash.index.OtherModelError: If the codes of an index come from another model.
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
    target = new_version(path, version)
    name = configs.model_name(path)
    encoder = signatures.Encoder(model, output, on_error, max_pixels)
    if encoder.image_shape and not encoder.reads_files and encoder.image_shape[-1] in (1, 3):
        warnings.warn(
            "the SavedModel has no signature `encode_bytes`, because it is not known how the model "
            "wants the pixels of a file scaled. For one, begin the model with "
            "keras.layers.Rescaling(1 / 255) or the like, and give it pixels from 0 to 255",
            stacklevel=2,
        )
    facts = Facts.of(model, encoder.bits, encoder.image_shape, report=report)
    if database is not None:
        database = Database.of(database, encoder.bits, facts.fingerprint)
        facts = dataclasses.replace(facts, items=len(database))
    files.remove_abandoned(path)
    with files.atomic_write(target) as temporary:
        try:
            _write(encoder, database, temporary)
            write_companions(temporary, name, int(target.name), facts, database)
        except tf.errors.OpError as error:
            # TensorFlow's own file writer reports a full disk this way.
            raise OSError(errors.in_words(error)) from error
    configs.write_configs(path)
    return target


def _write(encoder, database, directory):
    module = tf.Module()
    module.used = encoder.variables
    module.search = None if database is None else ExactSearch(database)
    tf.saved_model.save(module, directory, signatures.collect(encoder, module.search))
