"""Named recipes, and which one suits a set of images. Imports neither Keras nor TensorFlow.

A preset is chosen by what the images are, never by the name of their dataset:

| preset | for | in short |
| --- | --- | --- |
| `simple` | images without colors, such as glyphs | a small convnet, shifts, no flips |
| `photographs` | images in color | a wider network on whitened patches, shifts, flips |
| `pretrained` | pre-trained weights | few epochs, small steps, flips of images in color |

The last two see random crops in place of shifts where the files hold larger images than the network
takes.
"""

import dataclasses
import math

from tfhash import applications
from tfhash.experiments.recipe import BACKBONES, Recipe
from tfhash.experiments.settings import Settings, check_side_for_built_in, setting

# With fewer training items, smaller batches make more steps.
FEW_ITEMS = 10_000

# With fewer photographs still, small batches take as many steps in fewer epochs, and learn no worse;
# measured with 200 (docs/training.md).
VERY_FEW_ITEMS, BATCH_OF_VERY_FEW = 500, 32

# Steps of each stage, however few the items are.
FEWEST_STEPS_SIMPLE, FEWEST_STEPS_PHOTOGRAPHS = 500, (400, 100)

# Steps of each stage from pre-trained weights, and the network if none is named: small, and quick on
# a CPU.
FEWEST_STEPS_PRETRAINED = 200
PRETRAINED_BACKBONE = "MobileNetV3Small"

# Smallest share of the area of a random crop, where images are larger than what the network takes.
SMALLEST_CROP = 0.5
WITH_CROPS = ("photographs", "pretrained")

# The side of images that the width of `photographs` was chosen for.
SIDE_OF_PHOTOGRAPHS = 32


def choose_preset(image_shape, has_colors=None, is_pretrained=False, items=None):
    """Chooses a preset by what the images are, and what the network knows of images already.

    Args:
        image_shape: `(height, width, channels)`.
        has_colors: Whether the channels differ in some of the images: gray images are often stored
            with three channels. Taken for granted by default where there are three.
        is_pretrained: Whether the weights of the backbone are; see `Recipe.is_pretrained`.
        items: Number of training items, where the reason is to say what follows from it.

    Returns:
        `(name, reason)`: a key of `PRESETS`, and why, in words.

    Example:

    >>> choose_preset((28, 28, 1))
    ('simple', 'the images are gray')
    >>> choose_preset((64, 64, 3))
    ('photographs', 'the images are in color')
    >>> choose_preset((64, 64, 3), items=200)
    ('photographs', 'the images are in color; small batches for fewer than 500')
    >>> choose_preset((224, 224, 3), is_pretrained=True)
    ('pretrained', 'the weights are pre-trained')
    """
    if is_pretrained:
        return "pretrained", "the weights are pre-trained"
    if image_shape[-1] == 1:
        return "simple", "the images are gray"
    if not are_in_color(image_shape, has_colors):
        return "simple", "the images are gray, though they have three channels"
    reason = "the images are in color"
    if items is not None and items < VERY_FEW_ITEMS:
        reason += f"; small batches for fewer than {VERY_FEW_ITEMS:,}"
    return "photographs", reason


def are_in_color(image_shape, has_colors=None):
    """Whether images are in color; the arguments are those of `choose_preset`.

    >>> are_in_color((224, 224, 3)), are_in_color((224, 224, 3), has_colors=False)
    (True, False)
    """
    return image_shape[-1] != 1 and has_colors is not False


def with_weights(given, name=None):
    """Settings of a recipe, with the backbone and the weights that they imply.

    ImageNet weights without a backbone are those of a small network; a network of
    `keras.applications` without weights has those of ImageNet.

    Args:
        given: Dictionary of fields of `Recipe`, `None` where they are left to the preset.
        name: A key of `PRESETS`, where one is asked for.

    Returns:
        A dictionary like `given`.

    Raises:
        ValueError: If the preset for pre-trained weights is asked for, and these are not.

    Example:

    >>> with_weights({"backbone": "ResNet50V2"})
    {'backbone': 'ResNet50V2', 'weights': 'imagenet'}
    >>> with_weights({}, "pretrained")
    {'backbone': 'MobileNetV3Small', 'weights': 'imagenet'}
    """
    given = {key: value for key, value in given.items() if value is not None}
    if "backbone" not in given and (name == "pretrained" or given.get("weights") == "imagenet"):
        given["backbone"] = PRETRAINED_BACKBONE
    if given.get("backbone") in applications.FAMILY_OF:
        given.setdefault("weights", "imagenet")
    is_file = given.get("backbone", "").endswith(".keras")
    if name == "pretrained" and given.get("weights", "none") == "none" and not is_file:
        raise ValueError(
            "the recipe pretrained is for `weights` imagenet or a file of weights, or a `backbone` "
            f"from a .keras file. Received: {', '.join(f'{k}={v}' for k, v in given.items())}"
        )
    return given


def asked_recipe(given):
    """A recipe with what is asked for, before the images are known; checks what can be checked then.

    Args:
        given: Dictionary of settings of a training.

    Returns:
        `Recipe`, whose backbone, weights and loss are final if they were given; the rest is not.

    Raises:
        ValueError: If a setting is out of bounds or contradicts another.
    """
    recipe = Recipe.pick(with_weights(given, Preset.pick(given).recipe))
    if recipe.backbone in BACKBONES:
        check_side_for_built_in(given.get("image_size"))
    return recipe


def make_recipe(name, image_shape, items, unlabeled=0, are_larger=False, has_colors=None, **given):
    """Makes a recipe of a preset.

    Args:
        name: A key of `PRESETS`.
        image_shape: `(height, width, channels)`.
        items: Number of training items.
        unlabeled: Number of images without labels that are pre-trained on as well.
        are_larger: Whether images are stored with more pixels than `image_shape`, so that crops of
            them are sharp.
        has_colors: As in `choose_preset`.
        **given: Fields of `Recipe` that replace the preset's choices. What depends on the batch
            size or the number of epochs follows them.

    Returns:
        `Recipe`.

    Raises:
        ValueError: If the preset is unknown, a field is out of bounds, or the images cannot be
            augmented so.

    Example:

    >>> make_recipe("photographs", (32, 32, 3), items=47_500, width=24).width
    24
    """
    if name not in PRESETS:
        raise ValueError(f"`recipe` must be one of {', '.join(PRESETS)}. Received: recipe={name!r}")
    given = with_weights(given, name)
    seen_shape = image_shape if are_in_color(image_shape, has_colors) else (*image_shape[:2], 1)
    preset = PRESETS[name](seen_shape, items, items + unlabeled, given.get("batch_size"))
    if are_larger and name in WITH_CROPS:
        preset = dataclasses.replace(preset, crop=SMALLEST_CROP, max_shift=0)
    if unlabeled:
        preset = _with_pseudo_labels(preset, min(image_shape[:2]))
    recipe = dataclasses.replace(preset, **{**_implied(given), **given})
    if 2 * recipe.items_per_class > recipe.batch_size:
        raise ValueError(
            "`items_per_class` must be at most half of `batch_size`, so that a batch holds two classes "
            "or more: the losses learn from similar and other images. Received: items_per_class="
            f"{recipe.items_per_class}, batch_size={recipe.batch_size}"
        )
    if recipe.unfreeze_after >= recipe.epochs():
        raise ValueError(
            "`unfreeze_after` must be less than the epochs of both stages, or the backbone would "
            f"never train; pass `freeze` for that. Received: unfreeze_after={recipe.unfreeze_after} "
            f"of {recipe.epochs()} epochs"
        )
    if "unaugmented_epochs" not in given:
        # The preset's share of the epochs, whatever their number.
        share = preset.unaugmented_epochs / preset.epochs()
        recipe = dataclasses.replace(recipe, unaugmented_epochs=round(share * recipe.epochs()))
    recipe.augmentation().check(image_shape)
    return recipe


def _implied(given):
    """What given settings imply for others."""
    implied: dict[str, object] = {}
    if given.get("backbone", "convnet") not in BACKBONES:
        # Orthogonal steps are for the built-in networks: they would be too large for depthwise kernels.
        implied |= {"width": None, "optimizer": "adamw"}
    if given.get("backbone", "").endswith(".keras"):
        implied |= {"weights": "none"}  # they are in the file
    if given.get("freeze"):
        # Without the backbone, pre-training would train a classifier that fine-tuning makes no use of.
        implied |= {"pretrain_epochs": 0}
    if given.get("flip") is False:
        # Where a mirrored image is of another class, its features spoil those of the image.
        implied |= {"flip_tta": False}
    if given.get("loss") == "hashnet":
        implied |= {"slope": 1.0}  # from where `TanhContinuation` raises it
    return implied


def _simple(image_shape, labeled, items, batch_size):
    """A few minutes for what is not too hard. No flips: a mirrored glyph is another glyph."""
    batch_size = batch_size or (64 if items < FEW_ITEMS else 125)
    epochs = max(5, _epochs_of(FEWEST_STEPS_SIMPLE, items, batch_size))
    return Recipe(
        backbone="convnet",
        width=16,
        batch_size=batch_size,
        pretrain_epochs=epochs,
        finetune_epochs=epochs,
        max_shift=round(min(image_shape[:2]) / 14),
        flip=False,
        unaugmented_epochs=2 * epochs // 5,
        flip_tta=False,
    )


def _photographs(image_shape, labeled, items, batch_size):
    """On two cores, minutes for 5,000 images; for 50,000 less than an hour with AMX."""
    is_small, has_many_labels = items < FEW_ITEMS, labeled >= FEW_ITEMS
    if batch_size is None:
        few = BATCH_OF_VERY_FEW if items < VERY_FEW_ITEMS else 100
        batch_size = few if is_small else 125
    side, narrow_side = max(image_shape[:2]), min(image_shape[:2])
    # Many labels are worth a wider network, which needs stronger augmentation.
    width = 96 if has_many_labels else 48
    epochs = (13, 4) if has_many_labels else (80, 20) if is_small else (9, 6)
    pretrain_epochs, finetune_epochs = (
        max(least, _epochs_of(steps, items, batch_size))
        for least, steps in zip(epochs, FEWEST_STEPS_PHOTOGRAPHS)
    )
    return Recipe(
        backbone="whitenet",
        # Larger images take as long by a narrower network.
        width=min(width, width * SIDE_OF_PHOTOGRAPHS // side),
        batch_size=batch_size,
        pretrain_epochs=pretrain_epochs,
        finetune_epochs=finetune_epochs,
        max_shift=round(narrow_side / (8 if has_many_labels else 16)),
        cutout=narrow_side // 4 if has_many_labels else 0,
        flip=True,
        # The database holds the training images. Few of them are memorized soon.
        unaugmented_epochs=3 if has_many_labels else 0,
        flip_tta=True,
    )


def _pretrained(image_shape, labeled, items, batch_size):
    """Few and small steps from weights that know images already; the heads learn faster."""
    batch_size = batch_size or (32 if items < FEW_ITEMS else 64)
    epochs = max(3, _epochs_of(FEWEST_STEPS_PRETRAINED, items, batch_size))
    is_color = image_shape[-1] == 3
    return Recipe(
        backbone=PRETRAINED_BACKBONE,
        weights="imagenet",
        batch_size=batch_size,
        pretrain_epochs=epochs,
        finetune_epochs=epochs,
        pretrain_learning_rate=1e-3,
        finetune_learning_rate=3e-4,
        optimizer="adamw",
        weight_decay=0.05,
        max_shift=round(min(image_shape[:2]) / 16),
        flip=is_color,
        flip_tta=is_color,
    )


def _with_pseudo_labels(recipe, side):
    """Pre-trains twice as long, on images augmented so strongly that a pseudo-label of the image
    without augmentation is news to the network; then fine-tunes on the few labeled ones."""
    return dataclasses.replace(
        recipe,
        pretrain_epochs=2 * recipe.pretrain_epochs,
        finetune_epochs=2,
        max_shift=side // 8,
        cutout=3 * side // 8,
        unaugmented_epochs=0,
    )


def _epochs_of(steps, items, batch_size):
    return math.ceil(steps / max(1, items // batch_size))


PRESETS = {"simple": _simple, "photographs": _photographs, "pretrained": _pretrained}


@dataclasses.dataclass(frozen=True)
class Preset(Settings):
    """Which recipe to start from."""

    recipe: str | None = setting(
        None,
        "Recipe to start from, chosen by the images by default. simple: for gray images such as "
        "glyphs. photographs: for images in color. pretrained: for pre-trained weights.",
        choices=PRESETS,
        part_of_run=False,  # what it chose is, field by field
    )
