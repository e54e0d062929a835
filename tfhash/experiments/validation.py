"""How often the codes are measured on validation queries while training."""

import math

import keras

from tfhash.callbacks import RetrievalEvaluation

# Items of the training split that the validation queries search, and how often at most.
DATABASE = 10_000
VALIDATIONS = 12


def callbacks(recipe, splits) -> list[keras.callbacks.Callback]:
    """Callbacks for `fit`, none where there are no validation items."""
    if not len(splits.validation):
        return []
    # The splits that choices may rest on; the queries are for the report alone.
    return [
        RetrievalEvaluation(
            splits.validation.batches(),
            splits.train.take(DATABASE).batches(),
            every=epochs_between(recipe),
            first_epoch=recipe.pretrain_epochs,
        )
    ]


def epochs_between(recipe):
    """Epochs of fine-tuning from one validation to the next."""
    return math.ceil(recipe.finetune_epochs / VALIDATIONS)
