"""What `tfhash train` chooses where settings leave it the choice."""

import keras
import numpy as np
import pytest
from keras import ops

from tfhash.experiments import choose_preset, make_recipe, network, presets
from tfhash.layers import HashingLayer

CIFAR = ("photographs", (32, 32, 3), 47_500)


@pytest.mark.parametrize(
    ("image_shape", "has_colors", "preset"),
    [
        ((28, 28, 1), None, "simple"),
        ((8, 8, 1), None, "simple"),
        ((32, 32, 3), None, "photographs"),
        ((64, 64, 3), True, "photographs"),
        ((64, 64, 3), False, "simple"),  # scans, say
    ],
)
def test_the_preset_depends_on_what_the_images_are(image_shape, has_colors, preset):
    name, reason = choose_preset(image_shape, has_colors)
    assert name == preset
    assert reason


@pytest.mark.parametrize(
    ("preset", "side", "items", "backbone", "width", "batch_size", "epochs"),
    [
        ("simple", 28, 57_000, "convnet", 16, 125, 10),  # MNIST
        ("simple", 8, 1_340, "convnet", 16, 64, 50),
        ("simple", 64, 30, "convnet", 16, 64, 1_000),
        ("photographs", 32, 47_500, "whitenet", 96, 125, 17),  # CIFAR-10
        ("photographs", 32, 4_750, "whitenet", 48, 100, 100),
        ("photographs", 64, 4_750, "whitenet", 24, 100, 100),
        ("photographs", 64, 10, "whitenet", 24, 32, 500),  # a step an epoch
        ("photographs", 64, 30, "whitenet", 24, 32, 500),
        ("photographs", 64, 200, "whitenet", 24, 32, 100),
        ("photographs", 64, 499, "whitenet", 24, 32, 100),
        ("photographs", 64, 500, "whitenet", 24, 100, 100),
        ("photographs", 64, 2_000, "whitenet", 24, 100, 100),
        ("photographs", 64, 100_000, "whitenet", 48, 125, 17),
        ("photographs", 16, 4_750, "whitenet", 48, 100, 100),
    ],
)
def test_a_preset_suits_the_size_and_the_number_of_images(
    preset, side, items, backbone, width, batch_size, epochs
):
    recipe = make_recipe(preset, (side, side, 3), items)
    assert (recipe.backbone, recipe.width) == (backbone, width)
    assert (recipe.batch_size, recipe.epochs()) == (batch_size, epochs)


def test_images_without_labels_make_pretraining_longer_and_augmentation_stronger():
    recipe = make_recipe("photographs", (32, 32, 3), 4_750, unlabeled=54_000)
    few = make_recipe("photographs", (32, 32, 3), 4_750)
    large = make_recipe("photographs", (32, 32, 3), 58_750)
    assert (recipe.width, recipe.batch_size) == (few.width, large.batch_size)
    assert (recipe.supervised_epochs(), recipe.pretrain_epochs, recipe.finetune_epochs) == (
        6,
        18,
        2,
    )
    assert (recipe.max_shift, recipe.cutout, recipe.unaugmented_epochs) == (4, 12, 0)


@pytest.mark.parametrize("preset", presets.WITH_CROPS)
def test_crops_take_the_place_of_shifts_where_images_are_larger(preset):
    of = (preset, (64, 64, 3), 5_000)
    larger = make_recipe(*of, are_larger=True)
    assert (larger.augmentation().crop, larger.max_shift) == (presets.SMALLEST_CROP, 0)
    assert make_recipe(*of).augmentation().crop == 1 < make_recipe(*of).max_shift
    asked = make_recipe(*of, are_larger=True, crop=0.9, max_shift=3)
    assert (asked.crop, asked.max_shift) == (0.9, 3)
    glyphs = make_recipe("simple", (64, 64, 1), 5_000, are_larger=True)
    assert glyphs == make_recipe("simple", (64, 64, 1), 5_000)


@pytest.mark.parametrize("preset", presets.PRESETS)
@pytest.mark.parametrize("sides", [(16, 300), (300, 16)])
def test_no_preset_shifts_narrow_images_by_more_than_they_are_wide(preset, sides):
    recipe = make_recipe(preset, (*sides, 3), 5_000)
    assert recipe.max_shift == 1


def test_larger_batches_make_no_fewer_steps():
    recipe = make_recipe("simple", (8, 8, 1), 1_340, batch_size=670)
    assert (recipe.pretrain_epochs, recipe.finetune_epochs) == (250, 250)


def test_what_is_given_replaces_what_the_preset_chose_and_nothing_else():
    changed = {
        "width": 7,
        "flip": False,
        "flip_tta": False,
        "pretrain_epochs": 0,
        "cutout": 6,
        "unaugmented_epochs": 0,
    }
    assert {**vars(make_recipe(*CIFAR)), **changed} == vars(make_recipe(*CIFAR, **changed))


@pytest.mark.parametrize(("items", "is_said"), [(10, True), (499, True), (500, False)])
def test_the_reason_says_that_few_images_make_small_batches(items, is_said):
    name, reason = choose_preset((64, 64, 3), items=items)
    smaller = make_recipe(name, (64, 64, 3), items).batch_size < 100
    assert (f"{presets.VERY_FEW_ITEMS:,}" in reason) == smaller == is_said


def test_images_that_must_not_be_flipped_are_not_flipped_for_their_codes_either():
    assert not make_recipe(*CIFAR, flip=False).flip_tta
    assert make_recipe(*CIFAR).flip_tta
    assert make_recipe(*CIFAR, flip=False, flip_tta=True).flip_tta


def test_an_unknown_preset_is_refused():
    with pytest.raises(ValueError, match="must be one of simple, photographs"):
        make_recipe("cifar10", (32, 32, 3), 47_500)


@pytest.mark.parametrize(
    ("epochs", "plain"), [((13, 4), 3), ((0, 1), 0), ((4, 2), 1), ((0, 6), 1), ((130, 40), 30)]
)
def test_as_large_a_share_of_fewer_epochs_is_without_augmentation(epochs, plain):
    given = {"pretrain_epochs": epochs[0], "finetune_epochs": epochs[1]}
    assert make_recipe(*CIFAR, **given).unaugmented_epochs == plain
    assert make_recipe(*CIFAR, **given, unaugmented_epochs=3).unaugmented_epochs == 3


def test_augmentation_that_does_not_fit_the_images_is_refused():
    with pytest.raises(ValueError, match="`cutout` must be in 0 to 6"):
        make_recipe("photographs", (6, 6, 3), 47_500, cutout=8)


@pytest.mark.parametrize(
    "given", [{"batch_size": 9, "items_per_class": 5}, {"items_per_class": 63}]
)
def test_batches_of_one_class_are_refused(given):
    with pytest.raises(
        ValueError, match="must be at most half of `batch_size`, so that a batch ho"
    ):
        make_recipe(*CIFAR, **given)
    fitting = {**given, "items_per_class": given["items_per_class"] - 1}
    assert make_recipe(*CIFAR, **fitting).items_per_class == fitting["items_per_class"]


def test_mixed_precision_is_that_of_the_network_alone(rng):
    recipe = make_recipe(*CIFAR, dtype_policy="mixed_bfloat16", width=2)
    model = network.build_model(recipe, (32, 32, 3), 10, 12, None, seed=0)
    convolutions = [layer for layer in model.backbone.layers if "conv" in layer.name]
    assert {layer.dtype_policy.name for layer in convolutions} == {"mixed_bfloat16"}
    assert keras.config.dtype_policy().name == "float32"
    images = rng.integers(0, 256, (4, 32, 32, 3), "uint8")
    np.testing.assert_array_equal(model.encode(images), model.uncompiled_copy().encode(images))
    features = model.backbone(model.preprocessing(images))
    assert keras.backend.standardize_dtype(features.dtype) == "bfloat16"
    mirrored = model.backbone(model.preprocessing(images[:, :, ::-1]))
    in_float32 = HashingLayer(
        12, slope=model.hashing.slope, lr_multiplier=model.hashing.lr_multiplier
    )
    in_float32.build(features.shape)
    in_float32.set_weights(model.hashing.get_weights())
    np.testing.assert_allclose(
        ops.convert_to_numpy(model(images)["codes"]),
        ops.convert_to_numpy(in_float32((features + mirrored) / 2)),
        atol=1e-6,
    )


def test_multipliers_and_slope_of_the_recipe_are_those_of_the_heads():
    given = {"head_lr_multiplier": 2.5, "slope": 1.5, "classifier_lr_multiplier": 3.5}
    recipe = make_recipe(*CIFAR, **given, width=2)
    model = network.build_model(recipe, (32, 32, 3), 10, 12, None, seed=0)
    assert (model.hashing.lr_multiplier, model.hashing.slope) == (2.5, 1.5)
    assert model.classifier.lr_multiplier == 3.5


def rates_of(stage, **given):
    """Learning rates before each of 100 steps of a stage, and after them."""
    recipe = make_recipe(*CIFAR, **{f"{stage}_epochs": 2}, **given)
    schedule = network.schedule(recipe, stage, steps_per_epoch=50)
    return np.array([float(schedule(step)) for step in range(101)])


@pytest.mark.parametrize("warmup", [0.0, 0.2, 1.0])
def test_the_rate_rises_to_its_peak_and_decays_to_that_of_fine_tuning(warmup):
    rates = rates_of(
        "pretrain", warmup=warmup, pretrain_learning_rate=0.5, finetune_learning_rate=0.1
    )
    peak = round(100 * warmup)
    assert rates[peak] == pytest.approx(0.5)
    assert (np.diff(rates[: peak + 1]) > 0).all()
    assert (np.diff(rates[peak:]) < 0).all()
    assert rates[100] == pytest.approx(0.5 if warmup == 1.0 else 0.1)


@pytest.mark.parametrize(("pretrain_epochs", "peak"), [(3, 0), (0, 20)])
def test_the_rate_of_fine_tuning_decays_to_zero_and_rises_only_where_it_is_first(
    pretrain_epochs, peak
):
    rates = rates_of(
        "finetune", pretrain_epochs=pretrain_epochs, warmup=0.2, finetune_learning_rate=0.1
    )
    assert rates[peak] == pytest.approx(0.1)
    assert (np.diff(rates[peak:]) < 0).all()
    assert rates[100] == pytest.approx(0.0, abs=1e-6)


def test_a_stage_can_have_a_learning_rate_of_zero():
    assert not rates_of("pretrain", pretrain_learning_rate=0).any()


@pytest.mark.parametrize(("unaugmented_epochs", "augmented"), [(0, 5), (2, 3), (5, 0), (9, -4)])
def test_the_last_epochs_take_images_without_augmentation(unaugmented_epochs, augmented):
    recipe = make_recipe(
        *CIFAR, pretrain_epochs=3, finetune_epochs=2, unaugmented_epochs=unaugmented_epochs
    )
    assert recipe.augmented_epochs() == augmented
