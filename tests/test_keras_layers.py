"""Keras's layers as augmentation."""

import keras
import numpy as np
import pytest

from tfhash.data import ArrayBatches, Augmentation, keras_layers
from tfhash.experiments import make_recipe
from tfhash.experiments.recipe import Recipe

SHAPE = (8, 8, 3)


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (6, *SHAPE), "uint8")


@pytest.mark.parametrize(
    "layers",
    [
        "RandAugment",
        "RandomRotation(0.25, fill_mode='reflect'), RandomErasing(1.0)",
        "RandomColorJitter(value_range=(0, 255), brightness_factor=0.5)",
    ],
)
def test_the_seed_decides_what_layers_do_and_images_keep_shape_type_and_range(layers, images):
    before = images.copy()
    first, again, other = (
        Augmentation(layers=layers)(images, seed) for seed in ((1, 2), (1, 2), 3)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (first != images).any()
    assert (first.shape, first.dtype) == (images.shape, images.dtype)
    np.testing.assert_array_equal(images, before)


def test_layers_work_as_they_do_in_keras(images):
    inverted = Augmentation(layers="RandomInvert((1, 1))")(images, 0)
    np.testing.assert_array_equal(inverted, 255 - images)
    contrast = np.rint(keras.ops.convert_to_numpy(keras.layers.AutoContrast()(images)))
    np.testing.assert_array_equal(Augmentation(layers="AutoContrast")(images, 0), contrast)


def test_layers_leave_what_is_cut_out():
    images = np.full((6, *SHAPE), 10, "uint8")
    found = Augmentation(layers="RandomInvert((1, 1))", cutout=4)(images, 0)
    assert set(np.unique(found)) == {128, 245}


def test_a_resumed_run_sees_the_same_images(images):
    augmentation = Augmentation(layers="RandomFlip, RandomRotation(0.1)")
    whole = ArrayBatches(images, np.arange(6), 2, seed=3, augmentation=augmentation)
    resumed = ArrayBatches(
        images, np.arange(6), 2, seed=3, first_epoch=1, augmentation=augmentation
    )
    for step in range(3):
        np.testing.assert_array_equal(resumed[step][0], whole[3 + step][0])
        assert (whole[step][0] != whole[3 + step][0]).any()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("RandAugment(", "with commas between. Received: augment='RandAugment\\('"),
        ("RandomRotation(factor=open('x'))", "must list layers of keras.layers"),
        ("__import__('os').system('true')", "must list layers of keras.layers"),
        ("keras.layers.RandAugment", "must list layers of keras.layers"),
        ("RandAugment(**{'seed': 1})", "must list layers of keras.layers"),
        ("RandomFlip; RandAugment", "with commas between"),
        ("0.5", "must list layers of keras.layers"),
        ("MixUp", "MixUp mixes the labels of two images"),
        ("RandomFlip, CutMix(0.3)", "CutMix mixes the labels of two images"),
    ],
)
def test_what_names_no_layers_is_refused_by_the_recipe(text, error):
    with pytest.raises(ValueError, match=error):
        Recipe(augment=text)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("RandAugmentation", "keras.layers has no layer RandAugmentation"),
        ("deserialize", "keras.layers has no layer deserialize"),
        ("RandomRotation", "the layer RandomRotation of `augment` cannot change .*factor"),
        ("RandomFlip(seed=1)", "the layer RandomFlip of `augment` cannot change .*seed"),
        (
            "RandomCrop(4, 4)",
            r"must keep the shape of the images; `crop` .* RandomCrop, which makes",
        ),
        ("Conv2D(3, 1)", "without weights. Received: Conv2D"),
    ],
)
def test_layers_that_do_not_suit_the_images_are_refused_before_training(text, error):
    with pytest.raises(ValueError, match=error):
        make_recipe("photographs", SHAPE, 100, augment=text)


def test_layers_for_colors_are_refused_for_gray_images():
    with pytest.raises(ValueError, match=r"RandomHue of `augment` cannot change .*\(8, 8, 1\)"):
        make_recipe("simple", (8, 8, 1), 100, augment="RandomHue(0.1)")


def test_no_layers_and_a_trailing_comma_are_fine():
    assert keras_layers.parse("") == []
    assert keras_layers.parse("RandomFlip,") == [("RandomFlip", [], {})]
