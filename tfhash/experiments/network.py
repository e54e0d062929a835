"""From a recipe to a compiled model and its learning rates. Needs Keras, not TensorFlow."""

import contextlib

import keras

from tfhash import applications, losses
from tfhash.experiments import settings
from tfhash.experiments.recipe import BACKBONES
from tfhash.models import HashingModel, build_backbone
from tfhash.optimizers import ConvMuon

OPTIMIZERS = {"adamw": keras.optimizers.AdamW, "muon": ConvMuon}


# Of the number of classes, the bits and the scale of the exponentiated loss.
LOSSES = {
    "exponentiated": lambda classes, bits, scale: losses.ExponentiatedHashingLoss(scale),
    "dpsh": lambda classes, bits, scale: losses.DPSHLoss(),
    "hashnet": lambda classes, bits, scale: losses.HashNetLoss(),
    "dch": lambda classes, bits, scale: losses.DCHLoss(),
    "dtsh": lambda classes, bits, scale: losses.DTSHLoss(),
    "csq": lambda classes, bits, scale: losses.CSQLoss(classes, bits),
    "orthohash": lambda classes, bits, scale: losses.OrthoHashLoss(classes, bits),
    "greedyhash": lambda classes, bits, scale: losses.GreedyHashLoss(classes, bits),
}


def image_size_for(recipe, image_size):
    """The size that images are brought to for a backbone, found before images are read.

    Files of weights and models are read, and ImageNet weights downloaded, so that mistakes there come
    to light now.

    Args:
        recipe: `Recipe`, of which the backbone and the weights are known.
        image_size: Side in pixels that is asked for, or `None`.

    Returns:
        `image_size`, `(height, width)`, or `None` for the dataset's own size.

    Raises:
        ValueError: If the backbone does not take images of that side, or its file is not right.
        OSError: If a file is missing or cannot be downloaded.
    """
    if recipe.backbone in BACKBONES:
        return image_size
    if recipe.backbone in applications.FAMILY_OF:
        side = image_size or applications.side_of(recipe.backbone)
        applications.check_side(recipe.backbone, (side, side))
        if recipe.is_pretrained():
            _build_backbone(recipe, (side, side, 3))
        return side
    sides = _build_backbone(recipe).input_shape[1:3]
    if image_size is None:
        return None if None in sides else sides
    if any(side not in (None, image_size) for side in sides):
        raise ValueError(
            f"`image_size` must be left out for a `backbone` of {sides[0]}x{sides[1]} pixels. "
            f"Received: image_size={image_size}"
        )
    return image_size


def check_sides(recipe, splits):
    """Raises `ValueError` if the backbone of a recipe does not take the images of a dataset."""
    height, width, _ = splits.image_shape
    if recipe.backbone in applications.FAMILY_OF:
        applications.check_side(recipe.backbone, (height, width))
    low, high = settings.SMALLEST_SIDE, settings.LARGEST_SIDE
    is_built_in = recipe.backbone in BACKBONES
    if is_built_in and not (low <= height <= high and low <= width <= high):
        raise ValueError(
            f"the built-in backbones take images of {low} to {high} pixels a side, and those of "
            f"{splits.source} have {height}x{width}. Pass `image_size`, {low} to {high}, or a "
            "`backbone` of keras.applications, such as MobileNetV3Small"
        )


def _build_backbone(recipe, image_shape=None):
    weights = None if recipe.weights == "none" else recipe.weights
    return build_backbone(recipe.backbone, image_shape, recipe.width, weights)


def build_model(recipe, image_shape, num_classes, bits, hashing_loss, seed, class_names=None):
    """Builds and compiles a `HashingModel`, its built-in backbone not yet adapted to images.

    Args:
        recipe: `Recipe`.
        image_shape: `(height, width, channels)`.
        num_classes, bits, class_names: As in `HashingModel`.
        hashing_loss: Loss of the finetune stage; by default the exponentiated one.
        seed: Integer, seeds Keras, NumPy and Python.

    Example:

    >>> from tfhash.experiments import make_recipe
    >>> recipe = make_recipe("simple", (8, 8, 1), items=1_000)
    >>> build_model(recipe, (8, 8, 1), num_classes=10, bits=12, hashing_loss=None, seed=0).bits
    12
    """
    # Here, because loading a dataset may draw random numbers too.
    keras.utils.set_random_seed(seed)
    with _dtype_policy(recipe.dtype_policy):
        backbone = _build_backbone(recipe, image_shape)
        model = HashingModel(
            backbone,
            bits,
            num_classes,
            flip_tta=recipe.flip_tta,
            head_lr_multiplier=recipe.head_lr_multiplier,
            classifier_lr_multiplier=recipe.classifier_lr_multiplier,
            slope=recipe.slope,
            class_names=class_names,
            name="tfhash",
        )
    model.build((None, *image_shape))
    model.compile(
        OPTIMIZERS[recipe.optimizer](weight_decay=recipe.weight_decay),
        hashing_loss=hashing_loss,
        classification_loss=keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=recipe.label_smoothing
        ),
    )
    return model


def schedule(recipe, stage, steps_per_epoch):
    """Learning rate of a stage.

    Pre-training's rises linearly, then decays along a cosine to the peak of fine-tuning, which
    decays to 0. Without pre-training, fine-tuning's rises first.

    Args:
        recipe: `Recipe`.
        stage: `"pretrain"` or `"finetune"`.
        steps_per_epoch: Integer >= 1.

    Returns:
        `keras.optimizers.schedules.LearningRateSchedule`.
    """
    rate = getattr(recipe, f"{stage}_learning_rate")
    steps = max(1, steps_per_epoch * getattr(recipe, f"{stage}_epochs"))
    is_first = stage == "pretrain" or not recipe.pretrain_epochs
    end = recipe.finetune_learning_rate if stage == "pretrain" else 0.0
    alpha = end / rate if rate else 0.0
    rising = round(recipe.warmup * steps) if is_first else 0
    if not rising:
        return keras.optimizers.schedules.CosineDecay(rate, steps, alpha)
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - rising), alpha, warmup_target=rate, warmup_steps=rising
    )


@contextlib.contextmanager
def _dtype_policy(name):
    """Layers made inside have this policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
