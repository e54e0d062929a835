"""The hashing network: a backbone, a hashing head and a classifier head."""

import copy
import functools
import types

import keras
import numpy as np
from keras import ops

from tfhash import codes, labels, losses
from tfhash.layers import HashingLayer, ImageScaling, PatchWhitening

STAGES = ("pretrain", "finetune")


@keras.saving.register_keras_serializable("tfhash")
class HashingModel(keras.Model):
    """A network that turns images into short binary codes.

    Two heads share the backbone's features: the hashing head gives the relaxed codes, the
    classifier head serves supervised pre-training. Which of the two trains is the stage:
    `"pretrain"` trains backbone and classifier by cross-entropy, `"finetune"` trains backbone
    and hashing head by the exponentiated hashing loss. `tfhash.callbacks.TwoStageTraining`
    runs both in one `fit`; without it, `fit` fine-tunes.

    Args:
        backbone: Keras model from images to features `[n, f]`: one of
            `tfhash.models.build_backbone`, of `keras.applications` (with `include_top=False,
            pooling="avg"`), or your own.
        bits: Length of the code, an integer >= 1.
        num_classes: Number of classes, an integer >= 2.
        preprocessing: Layer from images as they come (`uint8`, 0 to 255, gray or RGB) to what
            the backbone takes. By default `tfhash.layers.ImageScaling`, which scales to
            [-1, 1] and repeats gray images where the backbone takes RGB; pass
            `keras.layers.Identity()` for a backbone that scales by itself.
        flip_tta: Whether the features of an image are the mean of its own and those of its mirror
            image, left and right exchanged, outside of training. Codes retrieve better where
            mirroring keeps the class, and take twice as long.
        head_lr_multiplier: How many times as fast the hashing head learns as the backbone, for it starts from
            nothing where the backbone is pre-trained. Made for Adam and its like: pass 1 with
            plain gradient descent, see `tfhash.layers.HashingLayer`.
        slope: How near the relaxed codes come to binary ones, see there.
        **kwargs: Arguments of `keras.Model` (`name`, `dtype`).

    Call arguments:
        images: `[n, height, width, channels]`, or gray `[n, height, width]`.

    Returns:
        A dictionary: `"codes"`, the relaxed codes `[n, bits]` in [-1, 1], and `"logits"`, the
        classifier's `[n, num_classes]`. `predict` returns the relaxed codes alone.

    Raises:
        ValueError: If `bits`, `num_classes`, `head_lr_multiplier` or `slope` is out of range.

    Example:

    >>> import keras, numpy as np
    >>> from tfhash.models import build_backbone
    >>> keras.utils.set_random_seed(0)
    >>> model = HashingModel(build_backbone("mlp", (8, 8, 1)), bits=12, num_classes=10)
    >>> model.compile(optimizer="adam")
    >>> images = np.random.randint(0, 256, (32, 8, 8, 1), "uint8")
    >>> history = model.fit(images, np.arange(32) % 10, verbose=0)
    >>> model.encode(images).shape
    (32, 2)
    """

    def __init__(
        self,
        backbone,
        bits,
        num_classes,
        preprocessing=None,
        flip_tta=False,
        head_lr_multiplier=30.0,
        slope=2.5,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not isinstance(num_classes, (int, np.integer)) or num_classes < 2:
            raise ValueError(
                f"`num_classes` must be an integer >= 2. Received: num_classes={num_classes!r}"
            )
        self.backbone = backbone
        self.bits = codes.check_bits(bits)
        self.num_classes = int(num_classes)
        self.preprocessing = preprocessing or ImageScaling(_channels_of(backbone))
        self.flip_tta = flip_tta
        self.hashing = HashingLayer(
            self.bits, lr_multiplier=head_lr_multiplier, slope=slope, name="hashing"
        )
        self.classifier = keras.layers.Dense(self.num_classes, dtype="float32", name="classifier")
        self._set_stage("finetune")
        self._accuracy = keras.metrics.Mean(name="pretrain_accuracy")
        self._saturation = keras.metrics.Mean(name="finetune_saturation")
        self._thawed_flags: tuple[bool, ...] = ()

    def build(self, input_shape):
        self.image_shape = (
            tuple(input_shape[1:]) if len(input_shape) == 4 else (*input_shape[1:], 1)
        )
        scaled_shape = self.preprocessing.compute_output_shape(tuple(input_shape))
        if not self.backbone.built:
            self.backbone.build(scaled_shape)
        features_shape = self.backbone.compute_output_shape(scaled_shape)
        self.hashing.build(features_shape)
        self.classifier.build(features_shape)
        self.built = True

    def call(self, images, training=None):
        features = self._features(images, training)
        return {
            "codes": self.hashing(features, training=training),
            "logits": self.classifier(features),
        }

    def _features(self, images, training):
        scaled = self.preprocessing(images)
        features = self.backbone(scaled, training=training)
        if self.flip_tta and not training:
            features = (features + self.backbone(ops.flip(scaled, axis=2), training=training)) / 2
        return features

    def adapt(self, images):
        """Adapts the backbone's `PatchWhitening` to images; other backbones stay as they are.

        Args:
            images: Some thousands of those to be trained on, as they come: an array, or a
                `tf.data.Dataset` of batches of images, with or without labels.
        """
        for layer in self.backbone.layers:
            if isinstance(layer, PatchWhitening):
                # What comes before the layer, itself left out.
                before = keras.Model(self.backbone.inputs, layer.input)
                batches = [images] if hasattr(images, "shape") else images
                layer.adapt(
                    before(self.preprocessing(batch[0] if isinstance(batch, tuple) else batch))
                    for batch in batches
                )

    def compile(
        self,
        optimizer="adam",
        hashing_loss=None,
        classification_loss=None,
        run_eagerly=False,
        steps_per_execution=1,
        jit_compile="auto",
        auto_scale_loss=True,
    ):
        """Configures training; every argument has a default that works.

        Args:
            optimizer: Optimizer or its name. Each stage starts with a fresh copy of it.
            hashing_loss: Loss of the relaxed codes given the labels; by default
                `tfhash.losses.ExponentiatedHashingLoss()`.
            classification_loss: Loss of the classifier's logits given the labels; by default
                cross-entropy: of classes for integer labels, of each label by itself for
                multi-hot ones.
            run_eagerly, steps_per_execution, jit_compile, auto_scale_loss: As in
                `keras.Model.compile`.
        """
        # Kept for `begin_stage` and `get_compile_config`. A proxy, for Keras would turn dictionaries
        # on a model, nested ones too, into tracked ones, which copy the whole model when copied.
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

    def begin_stage(self, stage, learning_rate=None, freeze_backbone=False):
        """Enters a stage: chooses what trains and starts a fresh copy of the optimizer.

        `tfhash.callbacks.TwoStageTraining` calls this; a loop of your own may as well, on a
        model that is compiled and built. A fresh optimizer keeps the momentum of one stage
        from moving weights that the next stage must leave alone.

        Args:
            stage: `"pretrain"` or `"finetune"`.
            learning_rate: Float or `keras.optimizers.schedules.LearningRateSchedule`; by
                default that of the compiled optimizer.
            freeze_backbone: Whether the backbone stays as it is, batch statistics included.
                It stays frozen until another stage begins.
        """
        if stage not in STAGES:
            raise ValueError(f"`stage` must be one of {STAGES}. Received: stage={stage!r}")
        if not (self.compiled and self.built):
            raise ValueError(
                "compile and build the model before `begin_stage`, as "
                "model.build((None, height, width, channels))"
            )
        arguments = dict(self._compile_arguments)
        optimizer = _fresh_optimizer(arguments.pop("optimizer"), learning_rate)
        self._set_stage(stage)
        self._freeze_backbone(freeze_backbone)
        compiled_as = self._compile_arguments
        self.compile(optimizer=optimizer, **arguments)
        self._compile_arguments = compiled_as
        self.optimizer.build(self.trainable_variables)
        # `fit` may be running: it made its step function before the stage began.
        self.make_train_function(force=True)

    def _set_stage(self, stage):
        self.stage = stage
        self.hashing.trainable = stage == "finetune"
        self.classifier.trainable = stage == "pretrain"

    def _freeze_backbone(self, freeze):
        # Parents come before their parts here, so each layer gets its own flag back.
        layers = list(self.backbone._flatten_layers())
        for layer, trainable in zip(layers, self._thawed_flags):
            layer.trainable = trainable
        self._thawed_flags = tuple(layer.trainable for layer in layers) if freeze else ()
        if freeze:
            self.backbone.trainable = False

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        del x, training
        self._check_labels(y)
        if self.stage == "finetune":
            loss = self._hashing_loss(y, y_pred["codes"], sample_weight)
        else:
            classification_loss = self._classification_loss or _default_classification_loss(y)
            loss = classification_loss(y, y_pred["logits"], sample_weight)
        for penalty in self.losses:
            loss = loss + ops.sum(ops.cast(penalty, loss.dtype))
        return loss

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        del x
        if self.stage == "finetune":
            # Near 1 where the relaxed codes are near the vertices of the cube.
            self._saturation.update_state(ops.mean(ops.abs(y_pred["codes"]), axis=1))
            metric = self._saturation
        else:
            self._accuracy.update_state(_hits(y, y_pred["logits"]), sample_weight)
            metric = self._accuracy
        return {"loss": self._loss_tracker.result(), metric.name: metric.result()}

    def fit(self, x=None, *args, **kwargs):
        """Trains the current stage; arguments as in `keras.Model.fit`, labels included."""
        y = args[0] if args else kwargs.get("y")
        if isinstance(y, np.ndarray) and not labels.is_multi_hot(y):
            self._check_class_range(y)
        if not self.built:
            # Callbacks that begin a stage need the weights before the first batch makes them.
            shape = _shape_of_images(x)
            if shape is not None:
                self.build((None, *shape[1:]))
        return super().fit(x, *args, **kwargs)

    def predict(self, x, batch_size=None, verbose="auto", steps=None, callbacks=None):
        """Relaxed codes, float32 `[n, bits]` in [-1, 1]; arguments as in `keras.Model`."""
        if hasattr(x, "shape") and len(x.shape) == 3:
            # Keras keeps one traced function for all calls, which takes a single rank.
            x = x[..., None]
        return super().predict(x, batch_size, verbose, steps, callbacks)

    def predict_step(self, *args):
        outputs = super().predict_step(*args)
        if isinstance(outputs, tuple):  # the JAX trainer returns its state beside the outputs
            return (outputs[0]["codes"], *outputs[1:])
        return outputs["codes"]

    def encode(self, images, batch_size=256, verbose=0):
        """Packed binary codes of images.

        Args:
            images: Array `[n, height, width, channels]` (or gray `[n, height, width]`) with
                values 0 to 255, or a `tf.data.Dataset` of batches of images, with or without
                labels.
            batch_size: Images at a time, where `images` is an array.
            verbose: As in `keras.Model.predict`.

        Returns:
            NumPy `uint8 [n, ceil(bits / 8)]`, see `tfhash.codes`.

        Raises:
            ValueError: If a code is not finite (an image holds NaN or infinity).
        """
        if hasattr(images, "shape") and len(images) == 0:
            return np.zeros((0, codes.packed_length(self.bits)), np.uint8)
        relaxed = self.predict(images, _batch_size_for(images, batch_size), verbose)
        broken = np.flatnonzero(~np.isfinite(relaxed).all(axis=1))
        if broken.size:
            raise ValueError(
                f"images must hold finite values from 0 to 255. Received: {broken.size} images "
                f"with codes that are not finite, the first at index {broken[0]}"
            )
        return ops.convert_to_numpy(codes.pack(relaxed))

    def classify(self, images, batch_size=256, verbose=0):
        """The classes that the classifier head predicts.

        Fine-tuning trains the hashing head and leaves the classifier behind: ask before it.

        Args:
            images, batch_size, verbose: As in `encode`.

        Returns:
            NumPy `int64 [n]`, the class of the largest logit.
        """
        return np.argmax(self.predict_logits(images, batch_size, verbose), axis=1)

    def predict_logits(self, images, batch_size=256, verbose=0):
        """The logits of the classifier head, NumPy `[n, num_classes]`; see `classify`."""
        if hasattr(images, "shape") and len(images) == 0:
            return np.zeros((0, self.num_classes), np.float32)
        return self._scorer.predict(images, _batch_size_for(images, batch_size), verbose)

    @functools.cached_property
    def _scorer(self):
        """Images to logits, made once, so that Keras compiles it once."""
        inputs = keras.Input(self.image_shape)
        return keras.Model(inputs, self.classifier(self._features(inputs, training=False)))

    def uncompiled_copy(self):
        """A copy for inference: the same weights, without optimizer, losses and metrics."""
        if not self.built:
            raise ValueError("the model must be built: call it on images, or fit it, first")
        copy_of_self = type(self).from_config(self.get_config())
        copy_of_self.build((None, *self.image_shape))
        copy_of_self.set_weights(self.get_weights())
        return copy_of_self

    def get_config(self):
        return {
            **super().get_config(),
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "bits": self.bits,
            "num_classes": self.num_classes,
            "preprocessing": keras.saving.serialize_keras_object(self.preprocessing),
            "flip_tta": self.flip_tta,
            "head_lr_multiplier": self.hashing.lr_multiplier,
            "slope": self.hashing.slope,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        for part in ("backbone", "preprocessing"):
            config[part] = keras.saving.deserialize_keras_object(config[part], custom_objects)
        return cls(**config)

    def _check_class_range(self, y):
        if y.size and not 0 <= y.min() <= y.max() < self.num_classes:
            raise ValueError(
                f"integer labels must be in 0 to {self.num_classes - 1} for num_classes="
                f"{self.num_classes}. Received: labels from {y.min()} to {y.max()}"
            )

    def _check_labels(self, y):
        if y is None:
            raise ValueError("`fit` and `evaluate` need labels. Received: y=None")
        labels.check_num_classes(y, self.num_classes)


def _shape_of_images(x):
    """Shape of the batches `fit` will see, or `None` where that takes reading them."""
    if isinstance(x, keras.utils.PyDataset):
        x = x[0][0]
    elif hasattr(x, "element_spec"):  # a tf.data.Dataset
        x = x.element_spec[0] if isinstance(x.element_spec, tuple) else x.element_spec
    return tuple(x.shape) if hasattr(x, "shape") else None


def _batch_size_for(images, batch_size):
    """`batch_size` for an array; a dataset has its own, and Keras wants none with it."""
    return batch_size if hasattr(images, "shape") else None


def _fresh_optimizer(config, learning_rate):
    config = copy.deepcopy(config)
    if learning_rate is not None:
        holder = config["config"]
        if "inner_optimizer" in holder:  # loss scaling wraps the optimizer that learns
            holder = holder["inner_optimizer"]["config"]
        holder["learning_rate"] = keras.saving.serialize_keras_object(learning_rate)
    return keras.optimizers.deserialize(config)


def _channels_of(backbone):
    shape = getattr(backbone, "input_shape", None)
    channels = shape[-1] if isinstance(shape, tuple) and len(shape) == 4 else None
    return channels if channels in (1, 3) else None


def _default_classification_loss(y):
    if labels.is_multi_hot(y):
        return keras.losses.BinaryCrossentropy(from_logits=True)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _hits(y, logits):
    """1 where the class with the largest logit is a label of the item, float `[n]`."""
    best = ops.argmax(logits, axis=1, keepdims=True)
    memberships = labels.memberships(y, logits.shape[1])
    return ops.squeeze(ops.take_along_axis(memberships, best, axis=1), 1)
