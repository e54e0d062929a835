"""Loading: where images and labels come from, and how the items are divided."""

import dataclasses
import pathlib

import numpy as np

from tfhash.data import catalog, folder, protocols
from tfhash.data.disk_cache import DiskCache
from tfhash.data.summary import Summary
from tfhash.data.walk import check_folder
from tfhash.labels import each_label
from tfhash.text import listing

# Folders hold images of any size; this one suits the built-in backbones.
DEFAULT_FOLDER_SIZE = 64

# A label with a larger share of the items makes most pairs similar.
COMMON_SHARE = 0.5


def load(
    source,
    data_dir=None,
    image_size=None,
    query_fraction=0.2,
    validation_fraction=0.05,
    skip_broken=False,
    protocol="official",
    labels=None,
    label_key=None,
    cache_dir=None,
):
    """Loads a dataset as train, validation, query and database splits.

    Which item lands in which split depends on the data alone, never on a seed. Queries never overlap
    the database. Validation items are held out from training, to choose by without looking at the
    queries. Under `official`, digits and folders are divided by content, so copies of an image stay
    in one split, whatever their names. The other protocols, and datasets of tensorflow-datasets,
    are divided by item. docs/protocols.md describes the protocols.

    A folder holds one subfolder per class, or `train/CLASS` with `val/CLASS` and `test/CLASS` in
    their usual spellings, which is taken as the official split. Images are found at any depth, and
    links are followed. JPEG, PNG, WebP, GIF, BMP and JPEG XL are read by TensorFlow; TIFF, AVIF,
    HEIC (with pillow-heif), JPEG 2000, PNM and TGA by Pillow. Pixels are those a viewer shows: upright,
    transparency on white. Whatever is left out is in `Splits.summary`.

    Items may have several labels, by `labels` or `label_key`. Labels are then multi-hot, and two
    items are similar if they share one. docs/labels.md describes the file.

    Args:
        source: `"digits"` (bundled with scikit-learn); the name of an image classification
            dataset of tensorflow-datasets, as `"mnist"` or `"cifar10"`; or the path of a folder. An
            existing folder comes before a dataset of the same name, but for `"digits"` (`"./digits"`
            is the folder).
        data_dir: Where tensorflow-datasets finds or puts prepared data; by default
            `TFDS_DATA_DIR`, or its own default. What is not there is downloaded.
        image_size: Side, or `(height, width)`, that images are brought to: they are resized until
            they cover it, and what stands out is cut off, the same on two sides; see
            `tfhash.data.decode_and_resize`. By default the dataset's size; 64 for folders.
        query_fraction: Share of the items that become queries, in [0, 1), where the source has no
            test split.
        validation_fraction: Share of what can be trained on that is held out for validation, in
            [0, 1), where a folder has no validation part.
        skip_broken: Leave out files that cannot be read, and list them in `Splits.summary`,
            instead of raising.
        protocol: One of `tfhash.data.PROTOCOLS`.
        labels: Path of a CSV file with the labels of the images in a folder, whose subfolders then
            mean nothing but for `train`, `val` and `test` at the top. Images that it does not list
            are left out.
        label_key: Feature of a dataset of tensorflow-datasets that holds its labels, as
            `"objects/label"`: a class label or a sequence of them. By default the dataset's own
            choice. Items without a label are left out.
        cache_dir: Folder to keep the images of a folder in, decoded and resized, where they are too
            many for memory; made if it does not exist. By default images of more than 2 GiB are
            decoded whenever they are read. Files of the size and time of change that they had when
            they were first read are not read again.

    Returns:
        `Splits`.

    Raises:
        ValueError: If an argument is out of range, the name unknown, a class folder empty, a
            file broken, or there are fewer classes or items than the protocol needs.
        FileNotFoundError: If the dataset can be neither found nor downloaded.
        OSError: If `cache_dir` cannot be written to.

    Example:

    >>> splits = load("digits")
    >>> len(splits.train), len(splits.validation), len(splits.queries), len(splits.database)
    (1343, 67, 387, 1410)
    """
    size = _check_size(image_size)
    _check_origin_of_labels(source, labels, label_key)
    if cache_dir is not None and (source == "digits" or not _is_path(source)):
        raise ValueError(
            f"`cache_dir` is for images in a folder. Received: the dataset {source!r}, which is no "
            "folder here"
        )
    if source == "digits":
        if image_size is not None:
            raise ValueError("the dataset 'digits' has 8x8 pixels; leave `image_size` out")
        splits = catalog.load_digits(query_fraction, validation_fraction)
    elif _is_path(source):
        _check_folder(source)
        shape = (*(size or _check_size(DEFAULT_FOLDER_SIZE)), 3)
        shares = folder.Shares(query_fraction, validation_fraction)
        cache = None if cache_dir is None else DiskCache(cache_dir)
        if labels is None:
            splits = folder.load_classes(source, shape, shares, skip_broken, cache)
        else:
            splits = folder.load_labeled(source, labels, shape, shares, skip_broken, cache)
    else:
        splits = catalog.load_tfds(
            source, data_dir, size, query_fraction, validation_fraction, label_key
        )
    splits = protocols.arrange(splits, protocol, validation_fraction)
    for name in ("train", "queries", "database"):
        split = getattr(splits, name)
        found = np.unique(each_label(split.labels)[1])
        if len(found) < 2 or found[0] < 0:
            shown = [splits.classes[label] if label >= 0 else "none" for label in found[:5]]
            raise ValueError(
                f"the {name} of {source} must hold two or more classes. Received: "
                f"{len(split)} items of labels {listing(shown) or 'none'}"
            )
    return _with_note_on_common_labels(splits) if splits.has_several_labels else splits


def load_images(
    source, image_shape, split="test", data_dir=None, skip_broken=False, keep_aspect=True
):
    """Loads images alone, in a fixed order, to encode them.

    Args:
        source: Path of a folder, whose images are found at any depth; `"digits"`; or the name of
            a dataset of tensorflow-datasets.
        image_shape: `(height, width, channels)` that the images are brought to; see
            `HashingModel.image_shape`.
        split: Which part of a dataset of tensorflow-datasets, as `"test"` or `"train[:1000]"`; all
            images of folders and digits are taken.
        data_dir, skip_broken: As in `load`.
        keep_aspect: Otherwise, images of a folder are squeezed or stretched to the shape.

    Returns:
        `(Split, Summary)`: the images, those of a folder with label -1, and what was left out.

    Raises:
        ValueError: If there is no image, a file is broken, or the split is unknown.
        FileNotFoundError: If the folder or dataset does not exist.

    Example:

    >>> split, summary = load_images("digits", (8, 8, 1))
    >>> len(split), summary.left_out
    (1797, [])
    """
    image_shape = tuple(image_shape)
    if source == "digits":
        return catalog.load_all_digits(image_shape), Summary()
    if _is_path(source):
        _check_folder(source)
        return folder.load_flat(source, image_shape, skip_broken, keep_aspect)
    return catalog.load_tfds_split(source, data_dir, split, image_shape), Summary()


def _with_note_on_common_labels(splits):
    shares = (splits.database.labels > 0).mean(axis=0)
    common = [splits.classes[label] for label in np.flatnonzero(shares > COMMON_SHARE)]
    if not common:
        return splits
    note = (
        f"{len(common):,} labels are on more than half of the images, all of which are similar to "
        f"each other: {listing(common)}. Without them, codes can tell more"
    )
    notes = [*splits.summary.notes, note]
    return dataclasses.replace(splits, summary=dataclasses.replace(splits.summary, notes=notes))


def _check_origin_of_labels(source, labels, label_key):
    if labels is not None and (source == "digits" or not _is_path(source)):
        raise ValueError(
            "`labels` holds the labels of images in a folder. Received: the dataset "
            f"{source!r}, which is no folder here"
        )
    if label_key is not None and (source == "digits" or _is_path(source)):
        what = "scikit-learn's digits" if source == "digits" else f"the folder {source}"
        raise ValueError(
            "`label_key` names a feature of a dataset of tensorflow-datasets. Received: "
            f"label_key={label_key!r} for {what}"
        )


def _check_folder(source):
    # A string may also be the name of a dataset.
    check_folder(source, "dataset" if isinstance(source, str) else "images")


def _is_path(source):
    if not isinstance(source, str) or pathlib.Path(source).is_dir():
        return True
    # Some names of tensorflow-datasets have a slash, as emnist/letters.
    return "/" in source and not catalog.is_tfds_name(source)


def _check_size(size):
    if size is None:
        return None
    sides = size if isinstance(size, (tuple, list)) else (size, size)
    if len(sides) != 2 or not all(isinstance(s, (int, np.integer)) and s >= 1 for s in sides):
        raise ValueError(
            "`image_size` must be a side in pixels or (height, width), of integers >= 1. "
            f"Received: image_size={size!r}"
        )
    return tuple(sides)
