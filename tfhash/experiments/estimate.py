"""How long what is not training will take."""

import math
import time

from tfhash.callbacks.estimate import in_words
from tfhash.experiments import validation


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
        + "validation, the evaluation and its baselines, not counting the decoding of files; an "
        f"estimate for training follows after its first steps{frozen}"
    )
