"""Flags that name a labeled dataset, shared by `train` and `evaluate`."""

import pathlib

from absl import flags

from tfhash import data

# Flags that decide which item is in which split.
DIVISION = ("protocol", "validation_fraction")


def define_flags(values):
    flags.DEFINE_string(
        "dataset", None,
        "digits (bundled with scikit-learn), a dataset of tensorflow-datasets as mnist or "
        "cifar10, or a folder with one subfolder of images per class.",
        flag_values=values,
    )  # fmt: skip
    flags.DEFINE_string(
        "data_dir", None,
        "Where tensorflow-datasets finds or puts prepared data; by default TFDS_DATA_DIR.",
        flag_values=values,
    )  # fmt: skip
    flags.DEFINE_enum(
        "protocol", "official", data.PROTOCOLS,
        "How items are divided. official: the dataset's own test split, else a share, queries the "
        "rest. cnnh: 100 queries and 500 training items of each class, all but the queries is the "
        "database; cnnh54k: without the training items. unseen: three classes of ten, kept out of "
        "training.",
        flag_values=values,
    )  # fmt: skip
    flags.DEFINE_float(
        "validation_fraction", 0.05, "Share of the training items that is kept to choose by.",
        lower_bound=0, upper_bound=0.9, flag_values=values,
    )  # fmt: skip
    flags.DEFINE_bool(
        "skip_broken", False, "Leave out image files that cannot be read, and list them.",
        flag_values=values,
    )  # fmt: skip


def define_image_size(values):
    flags.DEFINE_integer(
        "image_size", None,
        "Side that images are resized to; by default the dataset's own size, 64 for folders.",
        lower_bound=8, flag_values=values,
    )  # fmt: skip


def load(values, image_size):
    """Loads the splits the flags name, and says what they are."""
    splits = data.load(
        values.dataset,
        data_dir=values.data_dir,
        image_size=image_size,
        validation_fraction=values.validation_fraction,
        skip_broken=values.skip_broken,
        protocol=values.protocol,
    )
    report(splits.summary)
    height, width, channels = splits.image_shape
    print(
        f"{splits.source}, {splits.protocol}: {len(splits.classes)} classes, "
        f"{height}x{width}x{channels}; {len(splits.train):,} to train, "
        f"{len(splits.validation):,} to validate, {len(splits.queries):,} queries against "
        f"{len(splits.database):,}"
    )
    return splits


def located(dataset):
    """A folder by its absolute path, which is the same from every directory; a name as it is."""
    is_folder = dataset != "digits" and pathlib.Path(dataset).is_dir()
    return str(pathlib.Path(dataset).resolve()) if is_folder else dataset


def report(summary):
    """Prints what was left out, if anything."""
    if str(summary):
        print(summary)
