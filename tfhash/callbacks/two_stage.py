"""Pre-training and fine-tuning in one `fit`."""

import time
import warnings

import keras
import numpy as np

from tfhash import files
from tfhash.callbacks.backup import Backup
from tfhash.models import STAGES


class TwoStageTraining(keras.callbacks.Callback):
    """Runs pre-training, then fine-tuning, in one `fit` of a `tfhash.models.HashingModel`.

    The first `pretrain_epochs` epochs train backbone and classifier by cross-entropy, the rest
    train backbone and hashing head by the hashing loss. At the boundary the model gets a fresh
    copy of its optimizer, so learning-rate schedules count the steps of their own stage. The
    logs carry `stage`, 1 or 2.

    Put it last among the callbacks, so that the backup holds what the others add to the logs.

    Args:
        pretrain_epochs: Epochs of pre-training, >= 0; `fit(epochs=...)` counts both stages.
        pretrain_learning_rate: Float or `keras.optimizers.schedules.LearningRateSchedule`; by
            default that of the compiled optimizer.
        finetune_learning_rate: Likewise for the second stage.
        freeze_backbone: Whether fine-tuning trains the hashing head alone.
        pretrained_weights: File, `*.weights.h5`, that the weights without the optimizer are
            written to when pre-training ends.
        backup_dir: Directory that keeps the state of the run after every epoch. If it holds one
            when `fit` begins, training goes on from there, in the right stage, and the history
            includes the epochs before. The directory is left in place at the end.

    Attributes:
        epoch_logs: One dictionary of logs for each finished epoch.
        seconds: What the finished epochs took, with the work of all callbacks, those before the
            backup included.

    Raises:
        ValueError: If an argument is out of range or the backup is from another schedule.
        FloatingPointError: During `fit`, if the loss is not finite; names the step.

    Example:

    >>> import keras, numpy as np
    >>> from tfhash.models import HashingModel, build_backbone
    >>> model = HashingModel(build_backbone("mlp", (8, 8, 1)), bits=12, num_classes=2)
    >>> model.compile(optimizer="adam")
    >>> images, labels = np.zeros((16, 8, 8, 1), "uint8"), np.arange(16) % 2
    >>> stages = TwoStageTraining(1, finetune_learning_rate=1e-4)
    >>> history = model.fit(images, labels, epochs=3, verbose=0, callbacks=[stages])
    >>> history.history["stage"]
    [1, 2, 2]
    """

    def __init__(
        self,
        pretrain_epochs,
        pretrain_learning_rate=None,
        finetune_learning_rate=None,
        freeze_backbone=False,
        pretrained_weights=None,
        backup_dir=None,
    ):
        super().__init__()
        if not isinstance(pretrain_epochs, (int, np.integer)) or pretrain_epochs < 0:
            raise ValueError(
                "`pretrain_epochs` must be an integer >= 0. "
                f"Received: pretrain_epochs={pretrain_epochs!r}"
            )
        self.pretrain_epochs = int(pretrain_epochs)
        self.learning_rates = {
            "pretrain": pretrain_learning_rate,
            "finetune": finetune_learning_rate,
        }
        self.freeze_backbone = freeze_backbone
        if pretrained_weights and not str(pretrained_weights).endswith(".weights.h5"):
            raise ValueError(
                "`pretrained_weights` must end in .weights.h5. "
                f"Received: pretrained_weights={str(pretrained_weights)!r}"
            )
        self.pretrained_weights = pretrained_weights
        self.epoch_logs = []
        self.seconds = 0.0
        self._backup = Backup(backup_dir) if backup_dir else None
        self._stage = None
        self._epoch = 0

    def stage_of(self, epoch):
        """The stage that trains in an epoch, counted from 0."""
        return "pretrain" if epoch < self.pretrain_epochs else "finetune"

    def epochs_done(self):
        """Epochs that the backup holds, 0 where there is none."""
        state = self._backup.read() if self._backup else None
        return state["epochs_done"] if state else 0

    def on_train_begin(self, logs=None):
        if not hasattr(self.model, "begin_stage"):
            raise ValueError(
                "`TwoStageTraining` trains a `tfhash.models.HashingModel`. "
                f"Received: a {type(self.model).__name__}"
            )
        if self.params["epochs"] <= self.pretrain_epochs:
            warnings.warn(
                f"`fit` runs {self.params['epochs']} epochs and pre-training takes "
                f"{self.pretrain_epochs}: the hashing head stays untrained",
                stacklevel=2,
            )
        self._stage = None
        self.epoch_logs = []
        self.seconds = 0.0
        state = self._backup.read() if self._backup else None
        if state is not None:
            self._restore(self._backup, state)
        self._clock = time.perf_counter()

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        self._end_restoring()
        if self.stage_of(epoch) != self._stage:
            self._begin(self.stage_of(epoch))

    def on_train_batch_end(self, batch, logs=None):
        if not np.isfinite(logs["loss"]):
            raise FloatingPointError(
                f"the loss is {float(logs['loss'])} in stage {self._stage}, epoch "
                f"{self._epoch + 1}, step {batch + 1}. Look for NaN in the images of this step and "
                "for labels that no class has, or lower the learning rate or the loss's `scale`"
            )
        logs["stage"] = self._stage_number()

    def on_epoch_end(self, epoch, logs=None):
        logs["stage"] = self._stage_number()
        self.epoch_logs.append({name: float(value) for name, value in logs.items()})
        # Since the epoch before, for other callbacks may be at work between the two.
        before, self._clock = self._clock, time.perf_counter()
        self.seconds += self._clock - before
        # Before the backup, for a run that goes on from it will not come here again.
        if self.pretrained_weights and epoch + 1 == self.pretrain_epochs:
            with files.atomic_write(self.pretrained_weights) as temporary:
                self.model.uncompiled_copy().save_weights(temporary)
        if self._backup:
            state = {
                "epochs_done": epoch + 1,
                "epoch_logs": self.epoch_logs,
                "seconds": self.seconds,
                **self._schedule(),
            }
            self._backup.save(self.model, state)

    def on_train_end(self, logs=None):
        self._end_restoring()

    def _schedule(self):
        """What a run must share with its backup to go on from it."""
        return {
            "pretrain_epochs": self.pretrain_epochs,
            "freeze_backbone": self.freeze_backbone,
            "bits": self.model.bits,
        }

    def _begin(self, stage):
        if self.params.get("verbose"):
            print(f"Stage {STAGES.index(stage) + 1} of {len(STAGES)}: {stage}")
        self.model.begin_stage(
            stage,
            learning_rate=self.learning_rates[stage],
            freeze_backbone=self.freeze_backbone and stage == "finetune",
        )
        self._stage = stage

    def _restore(self, backup, state):
        for name, value in self._schedule().items():
            if state[name] != value:
                raise ValueError(
                    f"the run in {backup.directory} has {name}={state[name]}. "
                    f"Received: {name}={value}"
                )
        self._begin(self.stage_of(state["epochs_done"] - 1))
        backup.load_weights(self.model, state)
        self.epoch_logs, self.seconds = state["epoch_logs"], state["seconds"]
        # What `keras.callbacks.BackupAndRestore` does to let `fit` go on from an epoch.
        self.model._initial_epoch = state["epochs_done"]

    def _end_restoring(self):
        # `fit` has read this; left in place, it would cut later calls of `fit` short.
        self.model._initial_epoch = None
        history = self.model.history
        if history.epoch or not self.epoch_logs:
            return
        history.epoch = list(range(len(self.epoch_logs)))
        for logs in self.epoch_logs:
            for name, value in logs.items():
                history.history.setdefault(name, []).append(value)

    def _stage_number(self):
        return STAGES.index(self._stage) + 1
