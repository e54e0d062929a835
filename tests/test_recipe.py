"""What `tfhash train` chooses where flags leave it the choice."""

import keras
import numpy as np
import pytest
from absl import flags
from keras import ops

from tfhash.cli import recipe as recipes
from tfhash.layers import HashingLayer


def choose(source, items, *arguments, side=32):
    """The recipe for a dataset of so many items, given some flags."""
    values = flags.FlagValues()
    recipes.define_flags(values)
    values(["train", *arguments])
    return recipes.choose(values, source, items, (side, side, 3))


@pytest.mark.parametrize(
    ("source", "items", "backbone", "batch_size", "epochs"),
    [
        ("mnist", 57_000, "convnet", 125, 10),
        ("digits", 1_340, "convnet", 64, 50),
        ("photos/", 30, "convnet", 64, 1_000),
        ("cifar10", 47_500, "whitenet", 125, 15),
        ("cifar10:3.0.2", 4_750, "whitenet", 100, 100),
        ("cifar100", 47_500, "whitenet", 125, 15),
    ],
)
def test_the_recipe_depends_on_the_dataset_and_its_size(
    source, items, backbone, batch_size, epochs
):
    recipe = choose(source, items)
    assert (recipe.backbone, recipe.batch_size, recipe.epochs()) == (backbone, batch_size, epochs)


def test_images_without_labels_make_pretraining_longer_and_changes_larger():
    recipe = recipes.default("cifar10", 4_750, (32, 32, 3), unlabeled=54_000)
    large = recipes.default("cifar10", 58_750, (32, 32, 3))
    assert (recipe.width, recipe.batch_size) == (large.width, large.batch_size)
    assert (recipe.supervised_epochs(), recipe.pretrain_epochs, recipe.finetune_epochs) == (
        6,
        18,
        2,
    )
    assert (recipe.max_shift, recipe.cutout, recipe.unaugmented_epochs) == (4, 12, 0)


def test_larger_batches_make_no_fewer_steps():
    recipe = choose("digits", 1_340, "--batch_size=670")
    assert (recipe.pretrain_epochs, recipe.finetune_epochs) == (250, 250)


def test_flags_replace_what_the_recipe_chose_and_nothing_else():
    before = choose("cifar10", 47_500)
    changed = {
        "width": 7,
        "flip": False,
        "pretrain_epochs": 0,
        "cutout": 6,
        "unaugmented_epochs": 0,
    }
    given = ["--width=7", "--noflip", "--pretrain_epochs=0", "--cutout=6", "--unaugmented_epochs=0"]
    after = choose("cifar10", 47_500, *given)
    assert {**vars(before), **changed} == vars(after)


@pytest.mark.parametrize(
    ("epochs", "plain"), [((9, 6), 4), ((0, 1), 0), ((2, 1), 1), ((0, 6), 2), ((90, 60), 40)]
)
def test_as_large_a_share_of_fewer_epochs_takes_images_as_they_are(epochs, plain):
    given = [f"--pretrain_epochs={epochs[0]}", f"--finetune_epochs={epochs[1]}"]
    assert choose("cifar10", 47_500, *given).unaugmented_epochs == plain
    assert choose("cifar10", 47_500, *given, "--unaugmented_epochs=3").unaugmented_epochs == 3


def test_changes_that_do_not_fit_the_images_are_refused():
    with pytest.raises(ValueError, match="`cutout` must be in 0 to 6"):
        choose("cifar10", 47_500, "--cutout=8", side=6)


def test_mixed_precision_is_that_of_the_network_alone(rng):
    recipe = choose("cifar10", 47_500, "--dtype_policy=mixed_bfloat16", "--width=2")
    model = recipe.build_model((32, 32, 3), 10, 12, None, seed=0)
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


def test_gain_and_slope_are_those_of_the_hashing_head():
    recipe = choose("cifar10", 47_500, "--head_lr_multiplier=2.5", "--slope=1.5", "--width=2")
    hashing = recipe.build_model((32, 32, 3), 10, 12, None, seed=0).hashing
    assert (hashing.lr_multiplier, hashing.slope) == (2.5, 1.5)


def rates_of(stage, *arguments):
    """Learning rates before each of 100 steps of a stage, and after them."""
    recipe = choose("cifar10", 47_500, f"--{stage}_epochs=2", *arguments)
    schedule = recipe.schedule(stage, steps_per_epoch=50)
    return np.array([float(schedule(step)) for step in range(101)])


@pytest.mark.parametrize("warmup", [0.0, 0.2, 1.0])
def test_the_rate_rises_to_its_peak_and_falls_to_that_of_fine_tuning(warmup):
    rates = rates_of(
        "pretrain",
        f"--warmup={warmup}",
        "--pretrain_learning_rate=0.5",
        "--finetune_learning_rate=0.1",
    )
    peak = round(100 * warmup)
    assert rates[peak] == pytest.approx(0.5)
    assert (np.diff(rates[: peak + 1]) > 0).all()
    assert (np.diff(rates[peak:]) < 0).all()
    assert rates[100] == pytest.approx(0.5 if warmup == 1.0 else 0.1)


@pytest.mark.parametrize(("pretrain_epochs", "peak"), [(3, 0), (0, 20)])
def test_the_rate_of_fine_tuning_falls_to_zero_and_rises_only_where_it_is_first(
    pretrain_epochs, peak
):
    rates = rates_of(
        "finetune",
        f"--pretrain_epochs={pretrain_epochs}",
        "--warmup=0.2",
        "--finetune_learning_rate=0.1",
    )
    assert rates[peak] == pytest.approx(0.1)
    assert (np.diff(rates[peak:]) < 0).all()
    assert rates[100] == pytest.approx(0.0, abs=1e-6)


def test_a_stage_can_stand_still():
    assert not rates_of("pretrain", "--pretrain_learning_rate=0").any()


@pytest.mark.parametrize(("unaugmented_epochs", "augmented"), [(0, 5), (2, 3), (5, 0), (9, -4)])
def test_the_last_epochs_take_images_as_they_are(unaugmented_epochs, augmented):
    recipe = choose(
        "cifar10",
        47_500,
        "--pretrain_epochs=3",
        "--finetune_epochs=2",
        f"--unaugmented_epochs={unaugmented_epochs}",
    )
    assert recipe.augmented_epochs() == augmented
