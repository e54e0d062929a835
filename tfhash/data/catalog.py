"""Datasets with a name: those of tensorflow-datasets, and scikit-learn's digits."""

import difflib
import functools

import numpy as np
import tensorflow as tf

from tfhash.data.content import check_fractions, digest, split_by_content
from tfhash.data.images import resize_to
from tfhash.data.split import Split, Splits


def load_digits(query_fraction, validation_fraction):
    """Splits of the 1,797 handwritten digits of 8x8 pixels that scikit-learn carries."""
    images, labels = _digits()
    queries, validation, train = split_by_content(
        [digest(image.tobytes()) for image in images], labels, query_fraction, validation_fraction
    )

    def pick(indices):
        return _digits_split(images[indices], labels[indices], indices)

    return Splits.create(
        source="digits",
        classes=[str(digit) for digit in range(10)],
        train=pick(train),
        validation=pick(validation),
        queries=pick(queries),
    )


def load_all_digits(image_shape):
    """All of scikit-learn's digits as one split, in its order."""
    images, labels = _digits()
    return _digits_split(images, labels, range(len(images))).resize_to(image_shape)


def _digits_split(images, labels, indices):
    elements = tf.data.Dataset.from_tensor_slices((images, labels))
    return Split.create(elements, [f"digits/{i}" for i in indices], labels, images.shape[1:])


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
    if known:
        queries, database_count = known[0], total
    else:
        database_count = total - round(total * query_fraction)
        queries = f"{train}[{database_count}:]"
    train_count = database_count - round(database_count * validation_fraction)
    # tensorflow-datasets shuffles the items when it prepares them, so a slice is a sample.
    pick = {
        "train": f"{train}[:{train_count}]",
        "validation": f"{train}[{train_count}:{database_count}]",
        "queries": queries,
    }
    height, width, channels = builder.info.features["image"].shape
    shape = (*(image_size or (height, width)), channels)
    if None in shape:
        raise ValueError(f"the images of {name!r} differ in size. Pass one, as image_size=64")
    splits = {"train": _read(builder, pick.pop("train"), shape)}
    for part, split in pick.items():
        is_empty = not builder.info.splits[split].num_examples
        splits[part] = splits["train"].take(0) if is_empty else _read(builder, split, shape)
    classes = list(builder.info.features["label"].names)
    return Splits.create(source=name, classes=classes, **splits)


def load_tfds_split(name, data_dir, split, image_shape):
    """One split of tensorflow-datasets by its expression, as `test` or `train[:10%]`."""
    return _read(_prepared_builder(name, data_dir), split, image_shape, read_once=True)


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
            # Whatever goes wrong on the way, what helps is the same.
            raise FileNotFoundError(
                f"the dataset {name!r} is not prepared in {builder.data_path} and could not be "
                f"downloaded ({type(error).__name__}: {str(error)[:200]}). Set `data_dir` or "
                "TFDS_DATA_DIR to where it is, or make its download possible"
            ) from error
    return builder


def _item_ids(builder, split):
    """`SPLIT/NUMBER` of every item of a split or of slices of splits."""
    import tensorflow_datasets as tfds

    infos = builder.info.splits
    for part in tfds.core.ReadInstruction.from_spec(split).to_absolute(infos):
        # An open end of a slice stays open here.
        end = infos[part.splitname].num_examples if part.to is None else part.to
        for i in range(part.from_ or 0, end):
            yield f"{part.splitname}/{i}"


def _read(builder, split, image_shape, read_once=False):
    import tensorflow_datasets as tfds

    try:
        count = builder.info.splits[split].num_examples
    except (ValueError, KeyError) as error:
        raise ValueError(
            f"`split` must be one of {', '.join(builder.info.splits)}, or a slice of one as "
            f"train[:100]. Received: split={split!r}"
        ) from error
    if not count:
        raise ValueError(f"`split` must hold an item. Received: split={split!r}, which is empty")
    read = functools.partial(
        builder.as_dataset,
        split=split,
        as_supervised=True,
        shuffle_files=False,
        # One file after the other: the order of the items is part of the protocol.
        read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
    )
    elements = read()
    if builder.info.features["image"].shape != image_shape:
        elements = elements.map(
            lambda image, label: (resize_to(image, image_shape), label),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
    # Names of items, not of places in a slice: they stay the same in every split.
    names = [f"{builder.name}/{i}" for i in _item_ids(builder, split)]
    labels = read(decoders={"image": tfds.decode.SkipDecoding()}).map(lambda _, label: label)
    labels = np.fromiter(labels.as_numpy_iterator(), "int64", count)
    return Split.create(elements, names, labels, image_shape, read_once)
