"""How often, and on what, the codes are measured while training."""

import math

import keras

from tfhash.callbacks import RetrievalEvaluation
from tfhash.experiments.report import FEW_QUERIES
from tfhash.labels import has_similar

# How often at most.
VALIDATIONS = 12


def callbacks(recipe, splits) -> list[keras.callbacks.Callback]:
    """Callbacks for `fit`, none where no validation item has a similar one.

    The validation items search each other. They alone were neither trained on, which would reward
    memorizing, nor are they for the report, as the queries are.
    """
    if not count_answered(splits):
        return []
    return [
        RetrievalEvaluation(
            splits.validation.batches(),
            every=epochs_between(recipe),
            first_epoch=recipe.pretrain_epochs,
        )
    ]


def count_answered(splits):
    """Number of validation items that share a label with another one."""
    return int(has_similar(splits.validation.labels).sum())


def in_words(splits):
    """What validation rests on, a sentence."""
    items, answered = len(splits.validation), count_answered(splits)
    if not answered:
        return (
            f"no validation: of {items:,} images held out for it, none has a label in common with "
            "another"
        )
    rough = ": a rough figure" if answered < FEW_QUERIES else ""
    return (
        f"val_map is of {answered:,} validation images, which training does not see, among each "
        f"other{rough}"
    )


def epochs_between(recipe):
    """Epochs of fine-tuning from one validation to the next."""
    return math.ceil(recipe.finetune_epochs / VALIDATIONS)
