"""Datasets with a name: those of tensorflow-datasets, and scikit-learn's digits."""

import difflib

import numpy as np

from tfhash import errors
from tfhash.data.content import check_fractions, digest, split_by_content
from tfhash.data.records import RecordSource, find_label_feature, image_shape_of, label_keys
from tfhash.data.sources import ArraySource
from tfhash.data.split import Split
from tfhash.data.splits import Splits
from tfhash.data.summary import Summary
from tfhash.errors import how_to_install
from tfhash.labels import each_label


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
            f"the dataset 'digits' comes with scikit-learn. {how_to_install('demo')}"
        ) from error
    bunch = sklearn_digits()
    # Stored as 0 to 16.
    images = np.clip(bunch.images[..., None] * 16, 0, 255).astype("uint8")
    return images, bunch.target.astype("int64")


def load_tfds(name, data_dir, image_size, query_fraction, validation_fraction, label_key=None):
    """Splits of an image dataset of tensorflow-datasets with class labels."""
    check_fractions(query_fraction, validation_fraction)
    builder = _builder(name, data_dir)
    label_key = _label_key(builder, name, label_key)
    feature, _ = find_label_feature(builder, label_key)
    _prepare(builder, name)
    train = "train"
    if train not in builder.info.splits:
        raise ValueError(
            f"the dataset {name!r} must have a split 'train'. "
            f"Received: {', '.join(builder.info.splits)}"
        )
    known = [split for split in ("test", "validation") if split in builder.info.splits]
    shape = image_shape_of(builder, image_size)
    if None in shape:
        raise ValueError(f"the images of {name!r} differ in size. Pass `image_size`, such as 64")
    # tensorflow-datasets shuffles the items when it prepares them, so a slice is a sample.
    source = RecordSource(builder, [train, *known[:1]], label_key)
    everything = Split.of_all(source, shape)
    items, found = each_label(source.labels)
    labeled = np.unique(items[found >= 0])
    total = np.searchsorted(labeled, builder.info.splits[train].num_examples)
    database_count = total if known else total - round(total * query_fraction)
    train_count = database_count - round(database_count * validation_fraction)
    notes = []
    if len(labeled) < len(source):
        notes = [f"{len(source) - len(labeled):,} of {len(source):,} items have no label: left out"]
    return Splits.create(
        source=name,
        classes=list(feature.names),
        train=everything.pick(labeled[:train_count]),
        validation=everything.pick(labeled[train_count:database_count]),
        queries=everything.pick(labeled[database_count:]),
        draws_queries=not known,
        summary=Summary(notes=notes),
    )


def load_tfds_split(name, data_dir, split, image_shape):
    """One split of tensorflow-datasets by its expression, as `test` or `train[:10%]`."""
    builder = _builder(name, data_dir)
    _prepare(builder, name)
    try:
        count = builder.info.splits[split].num_examples
    except (ValueError, KeyError) as error:
        raise ValueError(
            f"`split` must be one of {', '.join(builder.info.splits)}, or a slice of one as "
            f"train[:100]. Received: split={split!r}"
        ) from error
    if not count:
        raise ValueError(f"`split` must hold an item. Received: split={split!r}, which is empty")
    label_key = "label" if _is_supervised(builder) else None
    source = RecordSource(builder, [split], label_key, is_read_once=True)
    return Split.of_all(source, image_shape)


def is_tfds_name(name):
    """Whether tensorflow-datasets knows `name`, or the part before its first slash."""
    import tensorflow_datasets as tfds

    return name.split("/")[0].split(":")[0] in tfds.list_builders()


def _builder(name, data_dir):
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
    if "image" not in (builder.info.features or {}):
        raise ValueError(
            f"the dataset {name!r} must have a feature 'image'. "
            f"Received: {', '.join(builder.info.features or ['none'])}"
        )
    return builder


def _is_supervised(builder):
    return builder.info.supervised_keys == ("image", "label")


def _label_key(builder, name, given):
    """The feature that holds the labels of a dataset."""
    if given is not None or _is_supervised(builder):
        return "label" if given is None else given
    known = label_keys(builder)
    remedy = f"Pass `label_key`, one of {', '.join(known)}" if known else "Use another dataset"
    raise ValueError(
        f"the dataset {name!r} must have images and class labels. "
        f"Received: supervised keys {builder.info.supervised_keys}. {remedy}"
    )


def _prepare(builder, name):
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
