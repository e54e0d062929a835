"""From a recipe to a compiled model and its learning rates. Needs Keras, not TensorFlow."""

import contextlib

import keras

from tfhash.models import HashingModel, build_backbone
from tfhash.optimizers import ConvMuon

OPTIMIZERS = {"adamw": keras.optimizers.AdamW, "muon": ConvMuon}


def build_model(recipe, image_shape, num_classes, bits, hashing_loss, seed, class_names=None):
    """Builds and compiles a `HashingModel` with random weights, not yet adapted to images.

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
        backbone = build_backbone(recipe.backbone, image_shape, recipe.width)
        model = HashingModel(
            backbone,
            bits,
            num_classes,
            flip_tta=recipe.flip_tta,
            head_lr_multiplier=recipe.head_lr_multiplier,
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
