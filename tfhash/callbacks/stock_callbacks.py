"""What callbacks of Keras need where one stage of training ends and another begins."""

import keras
import numpy as np

from tfhash.models import STAGES

# Start over by beginning to train: they compare epochs, and epochs of two stages do not compare.
COMPARING = (keras.callbacks.EarlyStopping, keras.callbacks.ReduceLROnPlateau)

# Logged in one stage alone.
STAGE_COLUMNS = {
    "pretrain": ("pretrain_accuracy", "pretrain_loss"),
    "finetune": ("finetune_loss", "finetune_saturation"),
}


def end_stage(callbacks, model, epoch):
    """Leaves in the model what `fit` would leave at its end: averaged weights where they are used."""
    for callback in callbacks:
        if isinstance(callback, keras.callbacks.SwapEMAWeights):
            # Takes the averages out of the model before their optimizer is replaced.
            callback.on_epoch_begin(epoch)
    model.optimizer.finalize_variable_values(model.trainable_weights)


def begin_stage(callbacks, stage, initial_bests):
    """Resets what callbacks compare with, and calls `on_stage_begin` of those that have it.

    Args:
        callbacks: Those given to `fit`.
        stage: The stage that begins.
        initial_bests: Dictionary from the place of a `ModelCheckpoint` among them to its `best` when
            `fit` began.
    """
    for place, callback in enumerate(callbacks):
        if isinstance(callback, COMPARING):
            callback.on_train_begin()
            callback.best = None  # as Keras 3.15 does there, but not 3.12
        if place in initial_bests:
            callback.best = initial_bests[place]
        if hasattr(callback, "on_stage_begin"):
            callback.on_stage_begin(stage)


def initial_bests(callbacks):
    """What checkpoints compare with before training; see `begin_stage`."""
    return {
        place: callback.best
        for place, callback in enumerate(callbacks)
        if isinstance(callback, keras.callbacks.ModelCheckpoint)
    }


def early_stopping_at(callbacks, epoch):
    """The `EarlyStopping` that stops training after this epoch, or `None`."""
    for callback in callbacks:
        if isinstance(callback, keras.callbacks.EarlyStopping) and callback.stopped_epoch == epoch:
            return callback
    return None


def with_all_columns(callbacks):
    """The callbacks, with each `CSVLogger` between two that show it the columns of both stages.

    A `CSVLogger` writes the columns of the first epoch and no others.
    """
    arranged = []
    for callback in callbacks:
        if isinstance(callback, keras.callbacks.CSVLogger):
            columns = _ColumnsOfOtherStages()
            arranged += [columns, callback, _Undo(columns)]
        else:
            arranged.append(callback)
    return arranged


class _ColumnsOfOtherStages(keras.callbacks.Callback):
    """Adds NaN for what other stages log."""

    def __init__(self):
        super().__init__()
        self.added = []

    def on_epoch_end(self, epoch, logs=None):
        names = [name for stage in STAGES for name in STAGE_COLUMNS[stage]]
        if "val_loss" in logs:
            names += [f"val_{name}" for name in names]
        self.added = [name for name in names if name not in logs]
        logs.update(dict.fromkeys(self.added, np.nan))


class _Undo(keras.callbacks.Callback):
    """Removes what `_ColumnsOfOtherStages` added, so that no other callback sees it."""

    def __init__(self, columns):
        super().__init__()
        self.columns = columns

    def on_epoch_end(self, epoch, logs=None):
        for name in self.columns.added:
            del logs[name]
