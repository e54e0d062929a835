"""Loads the splits that the settings name, and prints what was taken and left out."""

import dataclasses
import time

import numpy as np

from tfhash import data
from tfhash.experiments.measurement import labels_per_item
from tfhash.experiments.report import classes_in_words
from tfhash.text import printable

# Two channels that differ by more are a color, in more than this share of the pixels. JPEG may
# tint gray images a little.
COLOR_DIFFERENCE, COLORED_SHARE = 16, 0.01

# While images are decoded into a cache on disk.
SECONDS_BETWEEN_LINES = 60


def load_splits(source, labels, division, image_size, progress, cache_dir=None):
    """Loads splits, and prints what they are and what was left out.

    Args:
        source: `tfhash.experiments.settings.Source`.
        labels: `tfhash.experiments.settings.Labels`.
        division: `tfhash.experiments.settings.Division`.
        image_size, cache_dir: As in `tfhash.data.load`.
        progress: `Progress`.

    Returns:
        `tfhash.data.Splits`.
    """
    splits = data.load(
        source.dataset,
        data_dir=source.data_dir,
        image_size=image_size,
        validation_fraction=division.validation_fraction,
        skip_broken=source.skip_broken,
        protocol=division.protocol,
        labels=labels.labels,
        label_key=labels.label_key,
        cache_dir=cache_dir,
    )
    say_summary(splits.summary, progress)
    height, width, channels = splits.image_shape
    drawn = ", a share of all items," if splits.draws_queries else ""
    several = ""
    if splits.has_several_labels:
        mean = labels_per_item(splits.database.labels)
        several = f"; {mean:.2g} labels an item, similar means sharing one"
    progress.say(
        f"{printable(splits.source, 200)}, {splits.protocol}: {classes_in_words(splits.classes)}{several}\n"
        f"{height}x{width}x{channels}; {len(splits.train):,} to train, "
        f"{len(splits.validation):,} to validate, {len(splits.queries):,} queries{drawn} against "
        f"{len(splits.database):,}"
    )
    return splits


def say_summary(summary, progress):
    """Prints which files were taken and left out, if there is anything to say."""
    if str(summary):
        progress.say(str(summary))


def summary_of(splits):
    """The summary of a dataset for a report."""
    return dataclasses.asdict(splits.summary)


def names_trained_on(splits, unlabeled):
    """Names of the items that training saw, those without their labels included, as a set."""
    names = set(splits.train.names)
    return names.union(splits.unlabeled().names) if unlabeled else names


def count_seen(splits, names):
    """How many items of the database are among these names, a set."""
    return sum(name in names for name in splits.database.names)


def spread(split, count):
    """Up to `count` items of a split, evenly spaced: a split may be ordered by class."""
    if len(split) <= count:
        return split
    return split.pick(np.linspace(0, len(split) - 1, count).astype("int64"))


def fill_cache(splits, augmentation, progress):
    """Decodes what training and evaluation read into the cache on disk, if there is one, and says so.

    Args:
        splits: `tfhash.data.Splits`.
        augmentation: `tfhash.data.Augmentation` of the training images.
        progress: `Progress`.
    """
    augmented = splits.train.resize_to(augmentation.shape_before(splits.image_shape))
    written, said = 0, time.perf_counter()

    def report(images):
        nonlocal written, said
        written += images
        if time.perf_counter() - said > SECONDS_BETWEEN_LINES:
            said = time.perf_counter()
            progress.say(f"decoded {written:,} images into the cache")

    for split in (augmented, splits.database, splits.queries):
        split.fill_cache(report)
    if written:
        progress.say(f"decoded {written:,} images into the cache, which need not be decoded again")


def has_colors(images):
    """Whether the channels differ visibly in some of the images, NumPy `[n, height, width, channels]`."""
    if images.shape[-1] == 1:
        return False
    difference = images.max(axis=-1).astype("int16") - images.min(axis=-1)
    return bool(np.mean(difference > COLOR_DIFFERENCE) > COLORED_SHARE)
