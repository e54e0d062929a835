"""Datasets with a name: those of tensorflow-datasets, and scikit-learn's digits."""

import difflib

import numpy as np

from tfhash import errors
from tfhash.data.content import check_fractions, digest, split_by_content
from tfhash.data.records import RecordSource, image_shape_of
from tfhash.data.sources import ArraySource
from tfhash.data.split import Split
from tfhash.data.splits import Splits


def load_digits(query_fraction, validation_fraction):
    """Splits of the 1,797 handwritten digits of 8x8 pixels that scikit-learn carries."""
    images, labels = _digits()
    parts = split_by_content(
        [digest(image.tobytes()) for image in images], labels, query_fraction, validation_fraction
    )
    digits = _digits_split(images, labels)
    queries, validation, train = map(digits.pick, parts)
    return Splits.create(
        source="digits",
        classes=[str(digit) for digit in range(10)],
        draws_queries=True,
        train=train,
        validation=validation,
        queries=queries,
    )


def load_all_digits(image_shape):
    """All of scikit-learn's digits as one split, in its order."""
    return _digits_split(*_digits()).resize_to(image_shape)


def _digits_split(images, labels):
    names = [f"digits/{i}" for i in range(len(images))]
    return Split.of_all(ArraySource(images, names, labels), images.shape[1:])


def _digits():
    try:
        from sklearn.datasets import load_digits as sklearn_digits
    except ImportError as error:
        raise ImportError(
            "the dataset 'digits' comes with scikit-learn. Install it with "
            "`pip install 'tfhash[demo]'`"
        ) from error
    bunch = sklearn_digits()
    # Stored as 0 to 16.
    images = np.clip(bunch.images[..., None] * 16, 0, 255).astype("uint8")
    return images, bunch.target.astype("int64")


def load_tfds(name, data_dir, image_size, query_fraction, validation_fraction):
    """Splits of an image classification dataset of tensorflow-datasets."""
    check_fractions(query_fraction, validation_fraction)
    builder = _prepared_builder(name, data_dir)
    train = "train"
    if train not in builder.info.splits:
        raise ValueError(
            f"the dataset {name!r} must have a split 'train'. "
            f"Received: {', '.join(builder.info.splits)}"
        )
    known = [split for split in ("test", "validation") if split in builder.info.splits]
    total = builder.info.splits[train].num_examples
    database_count = total if known else total - round(total * query_fraction)
    train_count = database_count - round(database_count * validation_fraction)
    shape = image_shape_of(builder, image_size)
    if None in shape:
        raise ValueError(f"the images of {name!r} differ in size. Pass one, as image_size=64")
    # tensorflow-datasets shuffles the items when it prepares them, so a slice is a sample.
    source = RecordSource(builder, [train, *known[:1]])
    everything = Split.of_all(source, shape)
    is_query = np.arange(len(source)) >= database_count
    return Splits.create(
        source=name,
        classes=list(builder.info.features["label"].names),
        train=everything.take(train_count),
        validation=everything.pick(np.arange(train_count, database_count)),
        queries=everything.pick(np.flatnonzero(is_query)),
        draws_queries=not known,
    )


def load_tfds_split(name, data_dir, split, image_shape):
    """One split of tensorflow-datasets by its expression, as `test` or `train[:10%]`."""
    builder = _prepared_builder(name, data_dir)
    try:
        count = builder.info.splits[split].num_examples
    except (ValueError, KeyError) as error:
        raise ValueError(
            f"`split` must be one of {', '.join(builder.info.splits)}, or a slice of one as "
            f"train[:100]. Received: split={split!r}"
        ) from error
    if not count:
        raise ValueError(f"`split` must hold an item. Received: split={split!r}, which is empty")
    return Split.of_all(RecordSource(builder, [split], is_read_once=True), image_shape)


def is_tfds_name(name):
    """Whether tensorflow-datasets knows `name`, or the part before its first slash."""
    import tensorflow_datasets as tfds

    return name.split("/")[0].split(":")[0] in tfds.list_builders()


def _prepared_builder(name, data_dir):
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError as error:
        close = difflib.get_close_matches(name, tfds.list_builders(), n=3)
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        raise ValueError(
            "`dataset` must be 'digits', a dataset of tensorflow-datasets, or a folder with one "
            f"subfolder per class. Received: {name!r}.{hint}"
        ) from error
    if builder.info.supervised_keys != ("image", "label"):
        raise ValueError(
            f"the dataset {name!r} must have images and class labels. "
            f"Received: supervised keys {builder.info.supervised_keys}"
        )
    if not builder.data_path.exists():
        try:
            builder.download_and_prepare()
        except Exception as error:
            # Whatever goes wrong, the remedy is the same.
            raise FileNotFoundError(
                f"the dataset {name!r} is not prepared in {builder.data_path} and could not be "
                f"downloaded ({type(error).__name__}: {errors.in_words(error)[:200]}). Set `data_dir` or "
                "TFDS_DATA_DIR to where it is, or make its download possible"
            ) from error
    return builder
