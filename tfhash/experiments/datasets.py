"""Loads the splits that the settings name, and prints what was taken and left out."""

import dataclasses

import numpy as np

from tfhash import data
from tfhash.experiments.measurement import labels_per_item
from tfhash.experiments.report import classes_in_words
from tfhash.text import printable


def load_splits(source, labels, division, image_size, progress):
    """Loads splits, and prints what they are and what was left out.

    Args:
        source: `tfhash.experiments.settings.Source`.
        labels: `tfhash.experiments.settings.Labels`.
        division: `tfhash.experiments.settings.Division`.
        image_size: As in `tfhash.data.load`.
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
    """How many items of the database are among these names."""
    names = set(names)
    return sum(name in names for name in splits.database.names)


def spread(split, count):
    """Up to `count` items of a split, evenly spaced: a split may be ordered by class."""
    if len(split) <= count:
        return split
    return split.pick(np.linspace(0, len(split) - 1, count).astype("int64"))
