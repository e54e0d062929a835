"""How long what is not training will take."""

import dataclasses
import math
import time

import numpy as np

from tfhash.callbacks.estimate import in_words
from tfhash.data.splits import PARTS
from tfhash.experiments import validation
from tfhash.experiments.datasets import spread

# Files that are decoded to tell how long one takes.
TIMED_FILES = 32


@dataclasses.dataclass(frozen=True)
class Decoding:
    """What a training and its evaluation decode.

    Attributes:
        files: Number of files.
        at_two_sizes: How many of them are decoded once more, larger, for crops.
        times: How often a file is decoded, summed over all files.
        are_kept: Whether all decoded images are kept, so that none is decoded again at its size.
    """

    files: int
    at_two_sizes: int
    times: int
    are_kept: bool

    def in_words(self):
        """As "241 files, 176 of them at two sizes"."""
        files = f"{self.files:,} files"
        if not self.are_kept:
            return (
                f"{files}, {self.times:,} times in all: what memory does not hold is decoded each time "
                "it is used; --cache_dir keeps it"
            )
        if not self.at_two_sizes:
            return files
        if self.at_two_sizes == self.files:
            return f"{files}, each at two sizes"
        return f"{files}, {self.at_two_sizes:,} of them at two sizes"


def images_to_encode(splits, recipe, compared, unlabeled):
    """Images that a training encodes for pseudo-labels, validation, the evaluation and its baselines.

    Args:
        splits: `tfhash.data.Splits`.
        recipe: `Recipe`.
        compared: A key of `settings.BASELINES`.
        unlabeled: Images without labels that are pre-trained on.
    """
    classifiers = (recipe.pretrain_epochs > 0) + (compared == "full")
    baselines = 0 if compared == "none" else 1 + classifiers
    images = (1 + baselines) * (len(splits.database) + len(splits.queries))
    images += len(splits.validation) * classifiers * (baselines > 0)
    images += unlabeled * (recipe.pretrain_epochs - recipe.supervised_epochs())
    if validation.count_answered(splits):
        validations = math.ceil(recipe.finetune_epochs / validation.epochs_between(recipe))
        images += validations * len(splits.validation)
    return images


def files_to_decode(splits, recipe, compared, unlabeled):
    """What a training and its evaluation decode.

    Args:
        splits, recipe, compared, unlabeled: As in `images_to_encode`.

    Returns:
        `Decoding`.
    """
    train = splits.train
    trainings = 1 + (compared == "full")
    per_epoch = len(train) + unlabeled * recipe.pretrain_epochs / recipe.epochs()
    # Crops are cut from larger images, which are decoded apart.
    larger = train.resize_to(recipe.augmentation().shape_before(splits.image_shape))
    apart = recipe.augmented_epochs() if larger is not train else 0
    items = [getattr(splits, part).indices for part in PARTS]
    files = count = len(np.unique(np.concatenate(items)))
    if not train.is_kept:
        count = images_to_encode(splits, recipe, compared, unlabeled)
        count += trainings * (recipe.epochs() - apart) * per_epoch
    if apart:
        count += len(train) + unlabeled if larger.is_kept else trainings * apart * per_epoch
    are_kept = train.is_kept and (larger.is_kept or not apart)
    return Decoding(files, len(train) + unlabeled if apart else 0, round(count), are_kept)


def say_time_to_decode(split, decoding, progress):
    """Prints how long a `Decoding` takes, judged by some files of a split."""
    some = spread(split, TIMED_FILES)
    indices, shape = some.indices, some.image_shape
    list(some.source.decoded(indices[:1], shape))  # prepared before it counts
    started = time.perf_counter()
    count = sum(1 for _ in some.source.decoded(indices, shape))
    seconds = decoding.times * (time.perf_counter() - started) / count
    progress.say(f"about {in_words(seconds)} to decode {decoding.in_words()}")


def say_time_besides_training(model, sample, images, recipe, unlabeled, progress):
    """Prints it, judged by the time that the model takes to encode a sample, a NumPy array of images."""
    model.encode(sample)  # compiled before it counts
    started = time.perf_counter()
    model.encode(sample)
    seconds = images * (time.perf_counter() - started) / len(sample)
    frozen = ", as if the backbone stayed frozen" if recipe.unfreeze_after else ""
    progress.say(
        f"about {in_words(seconds)} besides training, to encode {images:,} images for "
        + ("pseudo-labels, " if unlabeled else "")
        + "validation, the evaluation and its baselines; an estimate for training follows after its "
        f"first steps{frozen}"
    )
