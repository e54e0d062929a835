"""A model that trains in stages, and owns the stage it is in."""

import contextlib
import copy
import inspect
import types
from collections.abc import Mapping

import keras
import numpy as np
from keras import ops

from tfhash import devices, errors, labels, losses, pixels
from tfhash.keras_private import sublayers
from tfhash.layers import ImageScaling
from tfhash.losses import replicas
from tfhash.models import compiling, dividing, fitting
from tfhash.optimizers import ContinuedSchedule

STAGES = ("pretrain", "finetune")
"""Stages of training, in their order; see `tfhash.callbacks.TwoStageTraining`."""


class StagedModel(keras.Model):
    """Trains a backbone with one of two heads, by stage.

    The stage is part of the model's state: it is saved with the weights, and loading weights enters
    the stage in which they were saved, with an optimizer that fits. Callbacks read `stage` and begin
    another by `begin_stage`; none keeps a copy of the stage.

    A subclass has the attributes `preprocessing`, `backbone`, `hashing`, `classifier` and
    `num_classes`, `image_shape` once it is built, and returns `{"codes": ..., "logits": ...}` when
    called.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._accuracy = keras.metrics.Mean(name="pretrain_accuracy")
        self._saturation = keras.metrics.Mean(name="finetune_saturation")
        # Of each layer of the backbone, before it was frozen; empty while it is not.
        self._thawed_flags: tuple[bool, ...] = ()
        # Of the schedule of the learning rate, where the optimizer of the stage began.
        self._first_step = 0
        self._plan: Mapping[str, dict] = types.MappingProxyType({})
        self._plan_is_new = False
        self.weights_loaded = 0

    def compile(
        self,
        optimizer="adam",
        hashing_loss=None,
        classification_loss=None,
        run_eagerly=False,
        steps_per_execution=1,
        jit_compile="auto",
        auto_scale_loss=True,
        **others,
    ):
        """Configures training; every argument has a default that works.

        Args:
            optimizer: Optimizer or its name. Each stage starts with a fresh copy of it.
            hashing_loss: Loss of the relaxed codes given the labels; by default
                `tfhash.losses.ExponentiatedHashingLoss()`.
            classification_loss: Loss of the classifier's logits given the labels. By default
                `keras.losses.SparseCategoricalCrossentropy(from_logits=True)` for integer labels,
                and the binary cross-entropy of each label for multi-hot ones.
                `keras.losses.CategoricalCrossentropy` receives the labels of an item as
                probabilities `[n, num_classes]`.
            run_eagerly, steps_per_execution, jit_compile, auto_scale_loss: As in
                `keras.Model.compile`.

        Raises:
            TypeError: If a loss is no `keras.losses.Loss`, or there is no such argument.
            ValueError: If the model was made under a strategy of `tf.distribute` other than
                `MirroredStrategy` and `OneDeviceStrategy`.
        """
        compiling.check(hashing_loss, classification_loss, others)
        replicas.check_strategy(getattr(self, "distribute_strategy", None))
        # A proxy, because Keras turns dictionaries on a model, nested ones too, into tracked ones,
        # which copy the whole model when they are copied.
        self._compile_arguments = types.MappingProxyType(
            {
                "optimizer": keras.optimizers.serialize(keras.optimizers.get(optimizer)),
                "hashing_loss": hashing_loss,
                "classification_loss": classification_loss,
                "run_eagerly": run_eagerly,
                "steps_per_execution": steps_per_execution,
                "jit_compile": jit_compile,
                "auto_scale_loss": auto_scale_loss,
            }
        )
        self._hashing_loss = hashing_loss or losses.ExponentiatedHashingLoss()
        self._classification_loss = classification_loss
        super().compile(
            optimizer=optimizer,
            run_eagerly=run_eagerly,
            steps_per_execution=steps_per_execution,
            jit_compile=jit_compile,
            auto_scale_loss=auto_scale_loss,
        )

    def get_compile_config(self):
        if not self.compiled:
            return None
        # The optimizer of the stage, to which the saved optimizer state belongs.
        optimizer = keras.optimizers.serialize(self.optimizer)
        return keras.saving.serialize_keras_object(
            {
                **self._compile_arguments,
                "optimizer": optimizer,
                "stage": self.stage,
                "thawed_flags": list(self._thawed_flags),
            }
        )

    def compile_from_config(self, config):
        config = keras.saving.deserialize_keras_object(config)
        self._set_stage(config.pop("stage"))
        self._thawed_flags = tuple(config.pop("thawed_flags"))
        self.compile(**config)
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def plan_stages(self, learning_rates, freeze_backbone=False):
        """Sets how stages begin from now on; `tfhash.callbacks.TwoStageTraining` calls this.

        Args:
            learning_rates: Dictionary from a stage to its learning rate, a float or a
                `keras.optimizers.schedules.LearningRateSchedule`; `None` or a missing stage keeps
                that of the compiled optimizer.
            freeze_backbone: Whether fine-tuning leaves the backbone as it is.
        """
        self._plan = types.MappingProxyType(
            {
                stage: {
                    "learning_rate": learning_rates.get(stage),
                    "freeze_backbone": freeze_backbone and stage == "finetune",
                }
                for stage in STAGES
            }
        )
        self._plan_is_new = True

    @property
    def backbone_is_frozen(self):
        """Whether the backbone stays as it is in training."""
        return bool(self._thawed_flags)

    def thaw_backbone(self):
        """Lets a frozen backbone train from now on, in the same stage.

        The optimizer starts fresh; a schedule of the learning rate goes on where it was.
        """
        step = self._first_step + int(self.optimizer.iterations)
        self.begin_stage(self.stage, freeze_backbone=False, first_step=step)

    def begin_stage(self, stage, learning_rate=None, freeze_backbone=None, first_step=0):
        """Enters a stage: selects what trains and starts a fresh copy of the optimizer.

        `tfhash.callbacks.TwoStageTraining` calls this, and so can a custom training loop. A
        fresh optimizer keeps the momentum of one stage from moving weights that the next stage must
        leave alone.

        Args:
            stage: `"pretrain"` or `"finetune"`.
            learning_rate: Float or `keras.optimizers.schedules.LearningRateSchedule`; by default as
                planned by `plan_stages`, else that of the compiled optimizer.
            freeze_backbone: Whether the backbone stays as it is, batch statistics included, until
                another stage begins or `thaw_backbone` is called; by default as planned, else
                `False`.
            first_step: Step at which a schedule of the learning rate begins.

        Raises:
            ValueError: If the stage is unknown, or the model is not compiled or not built.
        """
        if stage not in STAGES:
            raise ValueError(f"`stage` must be one of {STAGES}. Received: stage={stage!r}")
        if not (self.compiled and self.built):
            raise ValueError(
                "compile and build the model before `begin_stage`, as "
                "model.build((None, height, width, channels))"
            )
        planned = self._plan.get(stage, {"learning_rate": None, "freeze_backbone": False})
        if learning_rate is None:
            learning_rate = planned["learning_rate"]
        if freeze_backbone is None:
            freeze_backbone = planned["freeze_backbone"]
        self._plan_is_new = False
        self._first_step = first_step
        arguments = dict(self._compile_arguments)
        self._set_stage(stage)
        self._freeze_backbone(freeze_backbone)
        compiled_as = self._compile_arguments
        with self._in_scope():
            optimizer = _fresh_optimizer(arguments.pop("optimizer"), learning_rate, first_step)
            self.compile(optimizer=optimizer, **arguments)
            self._compile_arguments = compiled_as
            self.optimizer.build(self.trainable_variables)
        # A running `fit` made its step function before the stage began.
        self.make_train_function(force=True)

    def save_own_variables(self, store):
        super().save_own_variables(store)
        store["stage"] = np.array(STAGES.index(self.stage))
        store["backbone_is_frozen"] = np.array(self.backbone_is_frozen)
        store["first_step"] = np.array(self._first_step)

    def load_own_variables(self, store):
        """Enters the stage in which the weights were saved; called by Keras as it loads a model.

        Keras loads the state of the optimizer after this, which fits the stage then.
        """
        own = {name: store[name] for name in store.keys()}  # noqa: SIM118 (no dictionary)
        stage = STAGES[int(own.pop("stage", STAGES.index(self.stage)))]
        is_frozen = bool(own.pop("backbone_is_frozen", self.backbone_is_frozen))
        first_step = int(own.pop("first_step", 0))
        super().load_own_variables(own)
        self.weights_loaded += 1
        is_same = (stage, is_frozen, first_step) == (
            self.stage,
            self.backbone_is_frozen,
            self._first_step,
        )
        if not (self.compiled and self.built):
            self._set_stage(stage)
            self._freeze_backbone(is_frozen)
            self._first_step = first_step
        elif not (is_same and self.optimizer.built and not self._plan_is_new):
            self.begin_stage(stage, freeze_backbone=is_frozen, first_step=first_step)

    def _set_stage(self, stage):
        self.stage = stage
        self.hashing.trainable = stage == "finetune"
        self.classifier.trainable = stage == "pretrain"

    def _freeze_backbone(self, freeze):
        # Parents come before their parts here, so each layer gets its own flag back.
        layers = sublayers(self.backbone)
        for layer, trainable in zip(layers, self._thawed_flags):
            layer.trainable = trainable
        self._thawed_flags = tuple(layer.trainable for layer in layers) if freeze else ()
        if freeze:
            self.backbone.trainable = False

    def fit(self, x=None, *args, **kwargs):
        """Trains the current stage, or both through `tfhash.callbacks.TwoStageTraining`.

        Arguments are those of `keras.Model.fit`; labels are required. Where arrays are shuffled and a
        random batch would hold less than one similar item per item, batches are made of classes x
        items, and `fit` prints that; `shuffle=False` or a dataset keeps your order.
        """
        arguments = inspect.signature(keras.Model.fit).bind(self, x, *args, **kwargs).arguments
        del arguments["self"]
        with devices.failing_together():
            same, firsts = self._prepare(arguments)
        dividing.compare(same, firsts)
        with errors.translated():
            return super().fit(**arguments)

    def _prepare(self, arguments):
        """Checks and arranges the arguments of `fit`; returns what processes compare."""
        y = arguments.get("y")
        if isinstance(y, np.ndarray):
            self._check_values(y)
        x = arguments["x"] = pixels.checked(arguments.get("x"), self._shape_to_train_on())
        if not self.built:
            # Callbacks that begin a stage need the weights before the first batch makes them.
            shape = fitting.shape_of_images(x)
            if shape is not None and shape[-1] is None:
                raise ValueError(
                    "the number of channels must be known before training. Received: a dataset that "
                    "does not know it. Build the model first: model.build((None, height, width, "
                    "channels))"
                )
            if shape is not None:
                with self._in_scope():
                    self.build((None, *shape[1:]))
        if isinstance(x, keras.utils.PyDataset):
            pixels.check_first_batch(x)
        elif not hasattr(x, "element_spec"):  # reading a dataset may reshuffle it
            pixels.check_pixel_range(x)
        dividing.leave_files_to_first(arguments)
        fitting.arrange_callbacks(arguments)
        fitting.balance_classes(arguments)
        return dividing.check(self, arguments)

    def _shape_to_train_on(self):
        """Shape of one image, with `None` for sides of any length."""
        shape = getattr(self.backbone, "input_shape", None)
        height, width, channels = None, None, None
        if isinstance(shape, tuple) and len(shape) == 4:
            height, width, channels = shape[1:]
        if isinstance(self.preprocessing, ImageScaling):
            channels = 1 if channels == 1 else None  # it makes RGB images of gray ones
        elif not isinstance(self.preprocessing, keras.layers.Identity):
            height = width = channels = None
        return (height, width, self.image_shape[-1] if self.built else channels)

    def _in_scope(self):
        """The scope of the `tf.distribute` strategy in which the model was made, if any."""
        strategy = getattr(self, "distribute_strategy", None)
        if strategy is None or strategy.num_replicas_in_sync == 1:
            return contextlib.nullcontext()
        return strategy.scope()

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        del x, training
        self._check_labels(y)
        if self.stage == "finetune":
            loss = self._hashing_loss(y, y_pred["codes"], sample_weight)
        else:
            classification_loss = self._classification_loss or _default_classification_loss(y)
            if isinstance(classification_loss, keras.losses.CategoricalCrossentropy):
                y = labels.distribution(y, self.num_classes)
            loss = classification_loss(y, y_pred["logits"], sample_weight)
        for penalty in self.losses:
            # Each replica of a tf.distribute strategy adds its share; gradients are summed.
            loss = loss + ops.sum(ops.cast(penalty, loss.dtype)) / replicas.num_replicas()
        return loss

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        del x
        if self.stage == "finetune":
            # Near 1 where the relaxed codes are near the vertices of the cube.
            self._saturation.update_state(ops.mean(ops.abs(y_pred["codes"]), axis=1))
        else:
            self._accuracy.update_state(_hits(y, y_pred["logits"]), sample_weight)
        return self.get_metrics_result()

    def get_metrics_result(self):
        """The metrics of the stage, with its loss under a separate name beside `loss`.

        Monitor `pretrain_loss` or `finetune_loss` (with `mode="min"`) to look at one stage alone.
        """
        results = super().get_metrics_result()
        others = tuple(f"{stage}_" for stage in STAGES if stage != self.stage)
        results = {k: v for k, v in results.items() if not k.startswith(others)}
        return {**results, f"{self.stage}_loss": results["loss"]}

    def _check_values(self, y):
        labels.check_values(y)
        if labels.is_multi_hot(y):
            return
        is_whole = y.dtype.kind in "iub" or np.array_equal(y, np.floor(y))
        if y.size and not (is_whole and 0 <= y.min() <= y.max() < self.num_classes):
            raise ValueError(
                f"integer labels must be in 0 to {self.num_classes - 1} for num_classes="
                f"{self.num_classes}. Received: labels from {y.min()} to {y.max()}"
            )

    def _check_labels(self, y):
        if y is None:
            raise ValueError("`fit` and `evaluate` need labels. Received: y=None")
        labels.check_num_classes(y, self.num_classes)


def _fresh_optimizer(config, learning_rate, first_step):
    """An optimizer made of a config, whose schedule of the learning rate begins at a step."""
    config = copy.deepcopy(config)
    holder = config["config"]
    if "inner_optimizer" in holder:  # loss scaling wraps the optimizer that learns
        holder = holder["inner_optimizer"]["config"]
    if learning_rate is None:
        learning_rate = keras.saving.deserialize_keras_object(holder["learning_rate"])
    if isinstance(learning_rate, ContinuedSchedule):  # of a stage that was saved in the middle
        learning_rate = learning_rate.schedule
    if first_step and isinstance(learning_rate, keras.optimizers.schedules.LearningRateSchedule):
        learning_rate = ContinuedSchedule(learning_rate, first_step)
    holder["learning_rate"] = keras.saving.serialize_keras_object(learning_rate)
    return keras.optimizers.deserialize(config)


def _default_classification_loss(y):
    if labels.is_multi_hot(y):
        return keras.losses.BinaryCrossentropy(from_logits=True)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _hits(y, logits):
    """1 where the class with the largest logit is a label of the item, float `[n]`."""
    best = ops.argmax(logits, axis=1, keepdims=True)
    memberships = labels.memberships(y, logits.shape[1])
    return ops.squeeze(ops.take_along_axis(memberships, best, axis=1), 1)
