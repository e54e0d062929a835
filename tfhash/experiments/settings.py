"""The settings of an experiment: name, type, bounds and help of each, written once.

The arguments of `tfhash.experiments.train` and the flags of the commands are made from these
dataclasses. Imports neither Keras nor TensorFlow, so that `--help` is quick.
"""

import dataclasses
import difflib
import pathlib
import types

from tfhash.data import label_file
from tfhash.data.walk import check_folder

# How items are divided, in a line each; docs/protocols.md describes the protocols in full.
PROTOCOLS = {
    "official": "the dataset's own test split as queries, or a share of the items where it has "
    "none; everything else is trained on and searched",
    "unseen-items": "trained as official; half of its queries search the other half",
    "cnnh": "100 queries and 500 training items of each class; all but the queries is searched",
    "cnnh54k": "as cnnh, but the training items are not searched",
    "unseen-classes": "queries and database of classes, three in ten, that training never saw",
}

# Protocols whose database has images that training may see without their labels.
WITH_UNLABELED = ("cnnh", "cnnh54k")

# What codes are compared with, in a line each.
BASELINES = {
    "none": "nothing",
    "quick": "the untrained network, and the classifier at the end of pre-training",
    "full": "also a classifier trained for as many epochs as the codes, which is a second training",
}

# Sides in pixels of the images that the built-in backbones take.
SMALLEST_SIDE, LARGEST_SIDE = 8, 64

# What the precisions at the hits are divided by, for mAP at a cut-off.
DENOMINATORS = {
    "possible": "the hits that were possible",
    "relevant": "all relevant items",
    "retrieved": "the hits retrieved",
}
WITHOUT_HITS = {
    "zero": "queries without hits count as 0",
    "drop": "queries without hits are dropped",
}


def setting(
    default, help, *, at_least=None, above=None, at_most=None, choices=None, part_of_run=True
):
    """A field of a dataclass of settings.

    Args:
        default: Default value; `None` where it is chosen later.
        help: What it sets, in a sentence.
        at_least, at_most: Bounds, inclusive.
        above: Lower bound, exclusive.
        choices: The allowed values, where there are few.
        part_of_run: Whether it changes what is learned, so that it must not change when a run is
            resumed.
    """
    metadata = {
        "help": help,
        "at_least": at_least,
        "above": above,
        "at_most": at_most,
        "choices": tuple(choices) if choices else None,
        "part_of_run": part_of_run,
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Settings:
    """Base of dataclasses whose fields are made by `setting`: checks the bounds."""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            check(field, getattr(self, field.name))

    @classmethod
    def pick(cls, given):
        """An instance made of those of the given settings that belong to this class."""
        return cls(
            **{
                f.name: given[f.name]
                for f in dataclasses.fields(cls)
                if given.get(f.name) is not None
            }
        )


def kind_of(field):
    """The type of a field's values: `int` for `int | None`."""
    if isinstance(field.type, types.UnionType):
        return next(kind for kind in field.type.__args__ if kind is not types.NoneType)
    return field.type


def bounds_of(field):
    """The bounds of a field in words, as "8 to 64"; empty where there are none."""
    low, high = field.metadata["at_least"], field.metadata["at_most"]
    if field.metadata["above"] is not None:
        low = f"above {field.metadata['above']}"
        return low if high is None else f"{low}, up to {high}"
    if low is not None and high is not None:
        return f"{low} to {high}"
    return f"{low} or more" if low is not None else ""


def check(field, value):
    """Raises `ValueError` if a value is not of the field's type or out of its bounds."""
    if value is None:
        return
    kind, metadata = kind_of(field), field.metadata
    is_number = kind in (int, float)
    if metadata["choices"] and value not in metadata["choices"]:
        expected = f"one of {', '.join(metadata['choices'])}"
    elif is_number and (isinstance(value, bool) or not isinstance(value, (int, kind))):
        expected = "an integer" if kind is int else "a number"
    elif is_number and not _is_within(value, metadata):
        expected = bounds_of(field)
    else:
        return
    raise ValueError(f"`{field.name}` must be {expected}. Received: {field.name}={value!r}")


def _is_within(value, metadata):
    low, above, high = (metadata[name] for name in ("at_least", "above", "at_most"))
    return (
        (low is None or value >= low)
        and (above is None or value > above)
        and (high is None or value <= high)
        and value == value  # NaN is within no bounds
    )


@dataclasses.dataclass(frozen=True)
class Source(Settings):
    """Where images come from."""

    dataset: str | None = setting(
        None,
        "digits (bundled with scikit-learn), a dataset of tensorflow-datasets such as mnist or "
        "cifar10, or a folder with one subfolder of images per class. train and evaluate take a "
        "folder of any shape with --labels.",
    )
    data_dir: str | None = setting(
        None,
        "Where tensorflow-datasets keeps prepared data; TFDS_DATA_DIR by default.",
        part_of_run=False,
    )
    skip_broken: bool = setting(False, "Leave out image files that cannot be read, and list them.")


@dataclasses.dataclass(frozen=True)
class Cache(Settings):
    """Where decoded images are kept."""

    cache_dir: str | None = setting(
        None,
        "Folder to keep the images of a folder in, decoded and resized, where they are too many for "
        "memory (2 GiB). By default such images are decoded whenever they are read.",
        part_of_run=False,
    )


@dataclasses.dataclass(frozen=True)
class Labels(Settings):
    """Where labels come from, if not from class folders or the dataset's own choice."""

    labels: str | None = setting(
        None,
        "CSV file with the labels of the images in the folder, one line for each: a header "
        "file,labels, then FILE,LABEL or FILE,LABEL|LABEL|...; images without a line are left out.",
    )
    label_key: str | None = setting(
        None,
        "Feature of a dataset of tensorflow-datasets that holds its labels, one or several for "
        "each image, such as objects/label.",
    )


@dataclasses.dataclass(frozen=True)
class Division(Settings):
    """How items are divided."""

    protocol: str = setting(
        "official",
        "How items are divided. "
        + " ".join(f"{name}: {what}." for name, what in PROTOCOLS.items()),
        choices=PROTOCOLS,
    )
    validation_fraction: float = setting(
        0.05, "Share of the training items held out for validation.", at_least=0, at_most=0.9
    )


@dataclasses.dataclass(frozen=True)
class Measure(Settings):
    """Which variant of mAP is reported."""

    map_at: int | None = setting(
        None,
        "Items of each ranking that count for mAP; all by default.",
        at_least=1,
        part_of_run=False,
    )
    map_denominator: str = setting(
        "possible",
        "With --map_at, what the precisions at the hits are divided by. "
        + " ".join(f"{name}: {what}." for name, what in DENOMINATORS.items()),
        choices=DENOMINATORS,
        part_of_run=False,
    )
    map_without_hits: str = setting(
        "zero",
        "With --map_at, how queries without hits count. "
        + " ".join(f"{name}: {what}." for name, what in WITHOUT_HITS.items()),
        choices=WITHOUT_HITS,
        part_of_run=False,
    )

    def __post_init__(self):
        super().__post_init__()
        for field in dataclasses.fields(self)[1:]:
            value = getattr(self, field.name)
            if self.map_at is None and value != field.default:
                raise ValueError(
                    f"`{field.name}` needs `map_at`: over whole rankings all variants of mAP are "
                    f"the same. Received: {field.name}={value}"
                )

    def variant(self):
        """The variant of mAP as arguments of `tfhash.metrics.summarize`."""
        return {
            "map_k": self.map_at,
            "denominator": self.map_denominator,
            "without_hits": self.map_without_hits,
        }


@dataclasses.dataclass(frozen=True)
class Compared(Settings):
    """What the codes are compared with."""

    baselines: str = setting(
        "quick",
        "What is measured beside the codes. "
        + " ".join(f"{name}: {what}." for name, what in BASELINES.items()),
        choices=BASELINES,
        part_of_run=False,
    )


@dataclasses.dataclass(frozen=True)
class Training(Settings):
    """What is learned."""

    bits: int = setting(12, "Length of the codes.", at_least=1)
    image_size: int | None = setting(
        None,
        "Side in pixels of the square that images are brought to: the shorter side is resized to it, "
        "the longer one cut on both ends. By default that of the backbone, if it is a "
        f"network of keras.applications; else the dataset's own, and {LARGEST_SIDE} for folders. The "
        f"built-in backbones take {SMALLEST_SIDE} to {LARGEST_SIDE}.",
        at_least=SMALLEST_SIDE,
    )
    scale: float = setting(
        2.0,
        "Sharpness of the exponentiated loss: a pair of codes that is wrong in every bit costs "
        "exp(scale).",
        above=0,
        at_most=40,
    )
    unlabeled: bool = setting(
        False,
        "Also pre-train on the database's images outside the training items, with pseudo-labels; "
        f"for the protocols {' and '.join(WITH_UNLABELED)}.",
    )
    devices: int = setting(
        1,
        "Number of devices that train together, the first GPUs, or CPUs where there is none. Each takes "
        "its part of a batch; pairs are those of the whole batch.",
        at_least=1,
    )
    seed: int = setting(0, "Seed of the weights and of the order of training.", at_least=0)
    pretrained_from: str | None = setting(
        None,
        "A finished run on the same data: start from the end of its pre-training, for another code "
        "length or loss. The settings of pre-training are those of that run.",
    )


@dataclasses.dataclass(frozen=True)
class Output(Settings):
    """Where a run is written."""

    output_dir: str | None = setting(
        None, "Where to write; runs/DATASET-BITS by default.", part_of_run=False
    )
    resume: bool = setting(False, "Continue the run in --output_dir.", part_of_run=False)
    overwrite: bool = setting(
        False, "Remove the run in --output_dir and start over.", part_of_run=False
    )


def check_training(given):
    """Checks what can be checked of the settings of a training before any data is read.

    Args:
        given: Dictionary of settings, of any of the dataclasses here.

    Raises:
        ValueError: If a setting is out of bounds or contradicts another.
    """
    for cls in (Source, Labels, Measure, Compared):
        cls.pick(given)
    division, training, output = (cls.pick(given) for cls in (Division, Training, Output))
    if training.unlabeled and division.protocol not in WITH_UNLABELED:
        raise ValueError(
            f"`unlabeled` needs `protocol` {' or '.join(WITH_UNLABELED)}: under "
            f"{division.protocol}, no other images may be trained on"
        )
    if given.get("scale") is not None and given.get("loss") not in (None, "exponentiated"):
        raise ValueError(
            f"`scale` is that of the exponentiated loss. Received: scale={given['scale']} with "
            f"loss={given['loss']}"
        )
    if output.resume and output.overwrite:
        raise ValueError("`resume` and `overwrite` exclude each other")
    if training.unlabeled and given.get("items_per_class"):
        raise ValueError("`unlabeled` and `items_per_class` exclude each other")


def check_side_for_built_in(image_size):
    """Raises `ValueError` if the built-in backbones do not take images of this side in pixels."""
    if image_size is not None and image_size > LARGEST_SIDE:
        raise ValueError(
            f"`image_size` must be {SMALLEST_SIDE} to {LARGEST_SIDE} for the built-in backbones. "
            f"Received: image_size={image_size}. For larger images pass a `backbone` of "
            "keras.applications, such as MobileNetV3Small"
        )


def named(dataset, given):
    """All settings of an experiment by name, with paths that hold in every directory.

    Otherwise a run could be resumed from the directory alone in which it was started.

    Args:
        dataset: As given, a string or a path.
        given: Dictionary of the other settings.
    """
    given = {"dataset": str(dataset), **given}
    paths = {"labels": "", "backbone": ".keras", "weights": ".h5", "pretrained_from": ""}
    for name, ending in paths.items():
        if given.get(name) is not None and str(given[name]).endswith(ending):
            given[name] = str(pathlib.Path(given[name]).resolve())
    return given


def check_names(given, *classes):
    """Raises `TypeError` if a setting belongs to none of the dataclasses."""
    known = [field.name for cls in classes for field in dataclasses.fields(cls)]
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise TypeError(f"there is no setting {name!r}.{hint}")


def is_folder(dataset):
    """Whether a dataset is an existing folder, and not the name of one that comes with a library."""
    return dataset != "digits" and pathlib.Path(dataset).is_dir()


def check_paths(given):
    """Checks that the folder of a dataset and the file of its labels exist, before any work.

    Args:
        given: Dictionary of settings.

    Raises:
        FileNotFoundError: If one does not. A dataset that may be a name, as `emnist/letters`, is not
            looked for.
    """
    dataset = given.get("dataset")
    if dataset is not None and (dataset.startswith((".", "/", "~")) or dataset.endswith("/")):
        check_folder(dataset, "dataset")
    if given.get("labels") is not None:
        label_file.check_exists(given["labels"])


def located(dataset):
    """A folder's absolute path, which is the same from every directory; other names unchanged."""
    return str(pathlib.Path(dataset).resolve()) if is_folder(dataset) else str(dataset)
