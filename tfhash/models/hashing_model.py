"""The hashing network: a backbone, a hashing head and a classifier head."""

import functools
import pathlib
import tempfile

import keras
import numpy as np
from keras import ops

from tfhash import codes, devices, encoding, errors, prediction
from tfhash.keras_private import sublayers
from tfhash.layers import ClassifierLayer, HashingLayer, PatchWhitening
from tfhash.losses import replicas
from tfhash.models.pixel_range import preprocessing_for
from tfhash.models.stages import StagedModel

# In the config of every saved model: Keras prints the config where it does not know the class.
LOADING_NOTE = "To load this model: import tfhash, then keras.saving.load_model(path)"


@keras.saving.register_keras_serializable("tfhash")
class HashingModel(StagedModel):
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
        preprocessing: Layer from raw images (`uint8`, 0 to 255, gray or RGB) to the input of the
            backbone. By default a `tfhash.layers.ImageScaling` that repeats gray images for an RGB
            backbone, and scales to [-1, 1] unless the backbone begins by scaling pixels from 0 to
            255 itself. A network of `keras.applications` that needs other pixels is refused here;
            `build_backbone` puts its preprocessing into it.
        flip_tta: Whether to average the features of an image and its horizontal flip outside of
            training. It improves codes if flipped images have the same class, and takes twice as
            long.
        head_lr_multiplier: Factor by which the hashing head learns faster than the backbone, because
            its weights start random and those of a backbone may be pre-trained. For Adam-like
            optimizers; pass 1 with plain gradient descent, see `tfhash.layers.HashingLayer`.
        slope: Slope of the hashing head, see there.
        classifier_lr_multiplier: As `head_lr_multiplier`, for the classifier head in pre-training.
        class_names: Name of each class, `num_classes` distinct strings of one line, to
            keep with the model.
        **kwargs: Arguments of `keras.Model` (`name`, `dtype`).

    Call arguments:
        images: `[n, height, width, channels]`, or gray `[n, height, width]`.

    Returns:
        A dictionary: `"codes"`, the relaxed codes `[n, bits]` in [-1, 1], and `"logits"`, the
        classifier's `[n, num_classes]`. `predict` returns the relaxed codes alone.

    Raises:
        ValueError: If `bits`, `num_classes`, a multiplier or `slope` is out of range, or it is not
            clear what pixels the backbone takes.

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
        class_names=None,
        classifier_lr_multiplier=1.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not isinstance(num_classes, (int, np.integer)) or num_classes < 2:
            raise ValueError(
                f"`num_classes` must be an integer >= 2. Received: num_classes={num_classes!r}"
            )
        self.backbone = backbone
        for layer in sublayers(backbone):
            if isinstance(layer, keras.layers.BatchNormalization):
                # By the whole batch, as on one device.
                layer.synchronized = replicas.num_replicas() > 1
        self.bits = codes.check_bits(bits)
        self.num_classes = int(num_classes)
        self.class_names = _check_class_names(class_names, self.num_classes)
        self.preprocessing = preprocessing or preprocessing_for(backbone)
        self.flip_tta = flip_tta
        self.hashing = HashingLayer(
            self.bits, lr_multiplier=head_lr_multiplier, slope=slope, name="hashing"
        )
        self.classifier = ClassifierLayer(
            self.num_classes, lr_multiplier=classifier_lr_multiplier, name="classifier"
        )
        self._set_stage("finetune")

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
            images: Some thousands of raw training images: an array, or a `tf.data.Dataset` of
                batches of images, with or without labels.
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

    def predict(self, x, batch_size=None, verbose="auto", steps=None, callbacks=None):
        """Relaxed codes, float32 `[n, bits]` in [-1, 1].

        Args:
            x, batch_size, verbose, steps, callbacks: As in `keras.Model.predict`.
        """
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
        """Packed binary codes of images, NumPy `uint8 [n, ceil(bits / 8)]`.

        Args:
            images: Array `[n, height, width, channels]` (or gray `[n, height, width]`) with
                values 0 to 255, or a dataset of batches of images, with or without labels.
            batch_size, verbose: As in `tfhash.encode`, which also lists the errors.
        """
        return encoding.encode(self, images, batch_size=batch_size, verbose=verbose)

    def classify(self, images, batch_size=256, verbose=0):
        """The classes that the classifier head predicts.

        Fine-tuning changes the backbone without the classifier, so call it after pre-training.

        Args:
            images, batch_size, verbose: As in `encode`.

        Returns:
            NumPy `int64 [n]`, the class of the largest logit; its name is `class_names[i]`.
        """
        return np.argmax(self.predict_logits(images, batch_size, verbose), axis=1)

    def predict_logits(self, images, batch_size=256, verbose=0):
        """The logits of the classifier head, NumPy `[n, num_classes]`; see `classify`.

        Args:
            images, batch_size, verbose: As in `encode`.
        """
        if not hasattr(images, "shape"):
            batch_size = None  # a dataset has its own
            images = encoding.checked(self, images)
        else:
            encoding.check_images(self, images)
            if len(images) == 0:
                return np.zeros((0, self.num_classes), np.float32)
        with errors.translated():
            return prediction.predict(self._scorer, images, batch_size, verbose)

    @functools.cached_property
    def _scorer(self):
        """Images to logits, made once, so that Keras compiles it once."""
        inputs = keras.Input(self.image_shape)
        return keras.Model(inputs, self.classifier(self._features(inputs, training=False)))

    def export(self, filepath, format="tf_saved_model", **options):
        """Exports the network alone, as `keras.Model.export` does; for serving there is `tfhash.export`.

        Args:
            filepath, format, **options: As in `keras.Model.export`. The artifact takes images of
                `image_shape`, float values 0 to 255, and returns `relaxed_codes` and `logits`.
        """
        if not self.built:
            raise ValueError("the model must be built: call it on images, or fit it, first")
        # Keras would call the relaxed codes `codes`, which are packed wherever a model is served.
        images = keras.Input(self.image_shape, name="images")
        outputs = self(images, training=False)
        named = {"relaxed_codes": outputs["codes"], "logits": outputs["logits"]}
        keras.Model(images, named).export(filepath, format, **options)

    def save(self, filepath, overwrite=True, zipped=None, **kwargs):
        """As `keras.Model.save`. Of several processes, one may call it alone.

        Args:
            filepath, overwrite, zipped, **kwargs: As in `keras.Model.save`.
        """
        # Keras makes objects to compare with, whose variables all processes would have to make.
        with devices.undistributed():
            super().save(filepath, overwrite, zipped, **kwargs)

    def save_weights(self, filepath, overwrite=True, max_shard_size=None):
        """As `keras.Model.save_weights`. Of several processes, one may call it alone.

        Args:
            filepath, overwrite, max_shard_size: As in `keras.Model.save_weights`.
        """
        with devices.undistributed():
            super().save_weights(filepath, overwrite, max_shard_size)

    def uncompiled_copy(self):
        """A copy for inference, without optimizer, losses and metrics.

        It is made as Keras saves and loads a model, so that all state of a layer is in it, be it
        weights or not. It is on one device of this process.

        Raises:
            ValueError: If the model is not built.
        """
        if not self.built:
            raise ValueError("the model must be built: call it on images, or fit it, first")
        # Classes that nobody registered; those of Keras are left to Keras, which has two called `Add`.
        classes = {type(layer) for layer in sublayers(self)}
        own_classes = {c.__name__: c for c in classes if not c.__module__.startswith("keras.")}
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory, "model.keras")
            self.save(path)
            with devices.undistributed():
                return keras.saving.load_model(path, own_classes, compile=False)

    def get_config(self):
        # Left out at 1, so that models from before it existed keep their fingerprint.
        multiplier = self.classifier.lr_multiplier
        return {
            **super().get_config(),
            **({} if multiplier == 1 else {"classifier_lr_multiplier": multiplier}),
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "bits": self.bits,
            "num_classes": self.num_classes,
            "preprocessing": keras.saving.serialize_keras_object(self.preprocessing),
            "flip_tta": self.flip_tta,
            "head_lr_multiplier": self.hashing.lr_multiplier,
            "slope": self.hashing.slope,
            "class_names": self.class_names,
            "note": LOADING_NOTE,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        config.pop("note", None)
        for part in ("backbone", "preprocessing"):
            config[part] = keras.saving.deserialize_keras_object(config[part], custom_objects)
        return cls(**config)


def _check_class_names(names, num_classes):
    """Returns `names` as a list of strings, or raises `ValueError`."""
    if names is None:
        return None
    are_names = not isinstance(names, str) and all(
        isinstance(name, str) and len(name.splitlines()) == 1 for name in names
    )
    if not are_names:
        raise ValueError(
            "`class_names` must be a list of strings of one line each. "
            f"Received: class_names={names!r}"
        )
    names = [str(name) for name in names]
    if len(names) != num_classes or len(set(names)) != num_classes:
        raise ValueError(
            f"`class_names` must be {num_classes} distinct names, one for each class. "
            f"Received: {len(names)} names, {len(set(names))} of them distinct"
        )
    return names
