"""Pre-training and fine-tuning in one `fit`."""

import time
import warnings

import keras
import numpy as np

from tfhash import devices, files
from tfhash.callbacks import stock_callbacks
from tfhash.callbacks.backup import Backup
from tfhash.models import STAGES


class TwoStageTraining(keras.callbacks.Callback):
    """Runs pre-training, then fine-tuning, in one `fit` of a `tfhash.models.HashingModel`.

    The first `pretrain_epochs` epochs train backbone and classifier by cross-entropy; the others
    train backbone and hashing head by the hashing loss. Each stage starts a fresh copy of the
    optimizer, so learning-rate schedules count the steps within a stage. The logs hold `stage`, 1
    or 2, and beside `loss` the loss of the stage, `pretrain_loss` or `finetune_loss`.

    It may be anywhere in the list of callbacks, and other callbacks see the stages as two trainings:

    - `EarlyStopping` and `ReduceLROnPlateau` start over with fine-tuning. An `EarlyStopping` that
      stops pre-training ends that stage alone; fine-tuning keeps its number of epochs.
    - A `ModelCheckpoint` that saves the best model only forgets its best of pre-training.
    - `LearningRateScheduler` sets the rate of the new optimizer from the first epoch of a stage.
    - `SwapEMAWeights` leaves the averaged weights in the model when pre-training ends.
    - `CSVLogger` writes the columns of both stages.
    - `BackupAndRestore` resumes in the right stage with the state of its optimizer.
    - A custom callback with a method `on_stage_begin(stage)` is called when fine-tuning follows
      pre-training.

    Args:
        pretrain_epochs: Epochs of pre-training, >= 0; `fit(epochs=...)` counts both stages.
        pretrain_learning_rate: Float or `keras.optimizers.schedules.LearningRateSchedule`; by
            default that of the compiled optimizer.
        finetune_learning_rate: The same for fine-tuning.
        freeze_backbone: Whether fine-tuning trains the hashing head alone.
        pretrained_weights: File, `*.weights.h5`, for the weights at the end of pre-training, without
            the optimizer.
        backup_dir: Directory that keeps the state of the run after every epoch. If it holds one when
            `fit` begins, training resumes from it, in the right stage, and the history includes the
            epochs before. The directory is not removed at the end. Of several processes, the first
            writes it and all read it.
        frozen_epochs: First epochs, of both stages, in which the backbone stays as it is, batch
            statistics included: for pre-trained weights, which the steps of untrained heads would
            spoil. Then it trains too, by a fresh optimizer; schedules go on.

    Attributes:
        epoch_logs: One dictionary of logs for each finished epoch.
        seconds: Duration of the finished epochs, including the work of all callbacks.

    Raises:
        ValueError: If an argument is out of range or the backup is from another schedule.
        FloatingPointError: During `fit`, if the loss is not finite; names the step. A
            `TerminateOnNaN` in the list stops training without an error instead.

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
        frozen_epochs=0,
    ):
        super().__init__()
        for name, value in {
            "pretrain_epochs": pretrain_epochs,
            "frozen_epochs": frozen_epochs,
        }.items():
            if not isinstance(value, (int, np.integer)) or value < 0:
                raise ValueError(f"`{name}` must be an integer >= 0. Received: {name}={value!r}")
        self.pretrain_epochs = int(pretrain_epochs)
        self.frozen_epochs = int(frozen_epochs)
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
        self._others = None
        self._epochs_done_before = 0

    def stage_of(self, epoch):
        """The stage that trains in an epoch, counted from 0."""
        return "pretrain" if epoch < self._pretrain_end else "finetune"

    def epochs_done(self):
        """Number of epochs in the backup, 0 if there is none."""
        state = self._backup.read() if self._backup else None
        return state["epochs_done"] if state else 0

    def arrange_callbacks(self, callbacks):
        """The callbacks in the order in which stages need them; `HashingModel.fit` calls this."""
        self._others = [callback for callback in callbacks if callback is not self]
        self._terminates_on_nan = any(
            isinstance(callback, keras.callbacks.TerminateOnNaN) for callback in self._others
        )
        # First, so that all others see the stage that begins; and last, to keep what they logged.
        return [self, *stock_callbacks.with_all_columns(self._others), _EndOfEpoch(self)]

    def on_train_begin(self, logs=None):
        if not hasattr(self.model, "begin_stage"):
            raise ValueError(
                "`TwoStageTraining` trains a `tfhash.models.HashingModel`. "
                f"Received: a {type(self.model).__name__}"
            )
        if self._others is None:
            raise ValueError(
                "`TwoStageTraining` must be in the list `callbacks` of `fit`. "
                "Received: a `CallbackList`"
            )
        if self.params["epochs"] <= self.pretrain_epochs:
            warnings.warn(
                f"`fit` runs {self.params['epochs']} epochs and pre-training takes "
                f"{self.pretrain_epochs}: the hashing head stays untrained",
                stacklevel=2,
            )
        self.epoch_logs = []
        self.seconds = 0.0
        self._is_first_epoch = True
        self._pretrain_end = self.pretrain_epochs
        self._initial_bests = stock_callbacks.initial_bests(self._others)
        self.model.plan_stages(self.learning_rates, self.freeze_backbone)
        self._loaded_before = self.model.weights_loaded
        state = self._backup.read() if self._backup else None
        if self._backup and state is not None:
            self._restore(self._backup, state)
        self._clock = time.perf_counter()

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        stage = self.stage_of(epoch)
        if self._is_first_epoch:
            self._restore_history()
            self._is_first_epoch = False
            if not self._continues(stage, epoch):
                self._begin(stage)
        elif stage != self.model.stage:
            stock_callbacks.end_stage(self._others, self.model, epoch)
            self._begin(stage)
            stock_callbacks.begin_stage(self._others, stage, self._initial_bests)
        if self.model.backbone_is_frozen and not self._is_frozen(stage, epoch):
            if self.params.get("verbose"):
                print(f"From epoch {epoch + 1} on, the backbone trains too")
            self.model.thaw_backbone()

    def on_train_batch_end(self, batch, logs=None):
        if not np.isfinite(logs["loss"]) and not self._terminates_on_nan:
            raise FloatingPointError(
                f"the loss is {float(logs['loss'])} in stage {self.model.stage}, epoch "
                f"{self._epoch + 1}, step {batch + 1}. Look for NaN in the images of this step and "
                "for labels that no class has or that are mixed, or lower the learning rate or the "
                "loss's `scale`"
            )
        logs["stage"] = self._stage_number()

    def on_epoch_end(self, epoch, logs=None):
        logs["stage"] = self._stage_number()
        # Already here, so that callbacks which look at the last epoch know that it is the last.
        fine_tuned = epoch + 1 - self._pretrain_end
        if self.model.stage == "finetune" and fine_tuned == self._finetune_epochs():
            self.model.stop_training = True

    def finish_epoch(self, epoch, logs):
        """Records an epoch after all other callbacks have seen its end.

        Args:
            epoch, logs: As in `on_epoch_end` of `keras.callbacks.Callback`.
        """
        self.epoch_logs.append({name: float(value) for name, value in logs.items()})
        # Since the end of the epoch before, because other callbacks may work between the two.
        before, self._clock = self._clock, time.perf_counter()
        self.seconds += self._clock - before
        if self.model.stage == "pretrain":
            self._end_pretraining_early(epoch)
        if devices.process_index() > 0:
            return  # files are written by the first process
        if self.pretrained_weights and epoch + 1 == self._pretrain_end:
            with files.atomic_write(self.pretrained_weights) as temporary:
                self.model.uncompiled_copy().save_weights(temporary)
        if self._backup:
            state = {
                "epochs_done": epoch + 1,
                "pretrain_end": self._pretrain_end,
                "epoch_logs": self.epoch_logs,
                "seconds": self.seconds,
                **self._schedule(),
            }
            self._backup.save(self.model, state)

    def on_train_end(self, logs=None):
        self._restore_history()
        self._others = None

    def _finetune_epochs(self):
        return self.params["epochs"] - self.pretrain_epochs

    def _end_pretraining_early(self, epoch):
        """Turns an early stop of pre-training into its end, and keeps fine-tuning as long as planned."""
        finetune_epochs = self._finetune_epochs()
        callback = stock_callbacks.early_stopping_at(self._others, epoch)
        if callback is None or not self.model.stop_training or finetune_epochs <= 0:
            return
        self.model.stop_training = False
        self._pretrain_end = epoch + 1
        if callback.restore_best_weights and callback.best_weights is not None:
            self.model.set_weights(callback.best_weights)
        if self.params.get("verbose"):
            print(
                f"\nEarlyStopping ended pre-training after {epoch + 1} epochs; "
                f"{finetune_epochs} epochs of fine-tuning follow"
            )

    def _continues(self, stage, epoch):
        """Whether the model is in the middle of the stage already, with an optimizer to continue with."""
        was_loaded = self.model.weights_loaded > self._loaded_before
        has_trained = epoch > 0 and int(self.model.optimizer.iterations) > 0
        return stage == self.model.stage and (was_loaded or has_trained)

    def _schedule(self):
        """What a run and its backup must have in common."""
        return {
            "pretrain_epochs": self.pretrain_epochs,
            "freeze_backbone": self.freeze_backbone,
            "frozen_epochs": self.frozen_epochs,
            "bits": self.model.bits,
        }

    def _begin(self, stage):
        if self.params.get("verbose"):
            print(f"Stage {STAGES.index(stage) + 1} of {len(STAGES)}: {stage}")
        self.model.begin_stage(stage, freeze_backbone=self._is_frozen(stage, self._epoch))

    def _is_frozen(self, stage, epoch):
        return epoch < self.frozen_epochs or (self.freeze_backbone and stage == "finetune")

    def _restore(self, backup, state):
        for name, value in self._schedule().items():
            if state.get(name, 0) != value:
                raise ValueError(
                    f"the run in {backup.directory} has {name}={state.get(name, 0)}. "
                    f"Received: {name}={value}"
                )
        backup.load_weights(self.model, state)
        self._pretrain_end = state["pretrain_end"]
        self.epoch_logs, self.seconds = state["epoch_logs"], state["seconds"]
        self._epochs_done_before = state["epochs_done"]

    def _restore_history(self):
        """Adds the epochs before the interruption to the history of Keras, once."""
        history = self.model.history
        if history.epoch or not self.epoch_logs:
            return
        first = self._epochs_done_before - len(self.epoch_logs)  # another run may have trained some
        history.epoch = list(range(first, self._epochs_done_before))
        for logs in self.epoch_logs:
            for name, value in logs.items():
                history.history.setdefault(name, []).append(value)

    def _stage_number(self):
        return STAGES.index(self.model.stage) + 1


class _EndOfEpoch(keras.callbacks.Callback):
    """The last callback of a `fit`."""

    def __init__(self, stages):
        super().__init__()
        self.stages = stages

    def on_epoch_end(self, epoch, logs=None):
        self.stages.finish_epoch(epoch, logs)
