"""Keras's layers as augmentation."""

import random

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
        pytest.param(
            "RandAugment",
            marks=pytest.mark.skipif(
                keras.backend.backend() == "jax", reason="compiles for a minute on JAX"
            ),
        ),
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


def test_layers_come_after_all_else():
    images = np.full((6, *SHAPE), 10, "uint8")
    found = Augmentation(layers="RandomInvert((1, 1))", cutout=4)(images, 0)
    assert set(np.unique(found)) == {255 - 128, 245}


def test_a_resumed_run_sees_the_same_images(images):
    augmentation = Augmentation(layers="RandomFlip, RandomRotation(0.1)")
    whole = ArrayBatches(images, np.arange(6), 2, seed=3, augmentation=augmentation)
    resumed = ArrayBatches(
        images, np.arange(6), 2, seed=3, first_epoch=1, augmentation=augmentation
    )
    for step in range(3):
        np.testing.assert_array_equal(resumed[step][0], whole[3 + step][0])
        assert (whole[step][0] != whole[3 + step][0]).any()


# Arguments of the layers that do not work, or do nothing, without.
ARGUMENTS = {
    "RandomBrightness": "0.3",
    "RandomColorDegeneration": "0.5",
    "RandomColorJitter": (
        "brightness_factor=0.3, contrast_factor=0.3, saturation_factor=0.3, hue_factor=0.3"
    ),
    "RandomContrast": "0.3",
    "RandomElasticTransform": "1.0",
    "RandomHue": "0.3",
    "RandomPosterization": "3",
    "RandomRotation": "0.2",
    "RandomSaturation": "0.3",
    "RandomSharpness": "0.5",
    "RandomShear": "0.3, 0.3",
    "RandomTranslation": "0.2, 0.2",
    "RandomZoom": "0.3",
    "Solarization": "0.3, 0.3",
}
# They change the shape, which is refused, or nothing.
SIZED = {"CenterCrop", "RandomCrop", "Resizing"}
LAYERS = [
    name
    for name, layer in vars(keras.layers).items()
    if hasattr(layer, "get_random_transformation") and name not in {*keras_layers.REFUSED, *SIZED}
]


@pytest.fixture
def global_settings():
    """Of Keras; they are put back."""
    before = keras.config.image_data_format(), keras.config.dtype_policy()
    yield
    keras.config.set_image_data_format(before[0])
    keras.config.set_dtype_policy(before[1])


# JAX compiles each step of a layer, most of them for seconds.
if keras.backend.backend() == "jax":
    LAYERS = ["RandomColorJitter", "RandomErasing", "RandomFlip"]


@pytest.mark.parametrize("name", LAYERS)
def test_no_global_setting_or_seed_changes_what_a_layer_does(name, images, global_settings):
    augmentation = Augmentation(layers=f"{name}({ARGUMENTS.get(name, '')})")
    augmentation.check(SHAPE)
    expected = augmentation(images, 3)
    random.seed(5)
    np.random.seed(5)
    keras.utils.set_random_seed(5)
    keras.config.set_image_data_format("channels_first")
    keras.config.set_dtype_policy("mixed_float16")
    np.testing.assert_array_equal(augmentation(images, 3), expected)


def test_a_horizontal_flip_flips_images_where_keras_takes_channels_first(images, global_settings):
    keras.config.set_image_data_format("channels_first")
    found = Augmentation(layers="RandomFlip('horizontal')")(images, 0)
    is_flipped = [(after == before[:, ::-1]).all() for after, before in zip(found, images)]
    is_same = [(after == before).all() for after, before in zip(found, images)]
    assert any(is_flipped)
    assert all(np.logical_xor(is_flipped, is_same))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("RandAugment(", "with commas between. Received: augment='RandAugment\\('"),
        ("__import__('os').system('true')", "must list image-preprocessing layers"),
        ("keras.layers.RandAugment", "must list image-preprocessing layers of keras.layers"),
        ("RandAugment(**{'seed': 1})", "must list image-preprocessing layers of keras.layers"),
        ("RandomFlip; RandAugment", "with commas between"),
        ("RandomFlip] + [RandAugment", "with commas between"),
        ("0.5", "must list image-preprocessing layers of keras.layers"),
        ("(" * 5_000, "must list image-preprocessing layers of keras.layers"),
        ("RandomRotation(factor=open('x'))", r"plain literals: .* Received: open\('x'\) in"),
        ("RandomTranslation(1/16, 1/16)", r"RandomTranslation .* literals: .* Received: 1 / 16 in"),
        ("RandomCrop(*(8, 8))", "plain literals"),
        ("RandomFlip({{}})", r"RandomFlip .* literals: .* Received: \{\{\}\} in"),
        ("RandomFlip(mode='x', mode='y')", "must get each argument once. Received: mode twice"),
        ("MixUp", "cannot use MixUp: it mixes the labels of two images"),
        ("RandomFlip, CutMix(0.3)", "cannot use CutMix: it mixes the labels of two images"),
        ("AugMix", "cannot use AugMix: it takes no seed for a part of its choices"),
        ("MaxNumBoundingBoxes(3)", "cannot use MaxNumBoundingBoxes: it changes no images"),
    ],
)
def test_what_names_no_layers_is_refused_by_the_recipe(text, error):
    with pytest.raises(ValueError, match=error):
        Recipe(augment=text)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("randomflipp", r"no image-preprocessing layer randomflipp\. Did you mean RandomFlip\?$"),
        ("deserialize", r"keras.layers has no image-preprocessing layer deserialize\.$"),
        ("Softmax", "no image-preprocessing layer Softmax"),
        ("UnitNormalization", "no image-preprocessing layer UnitNormalization"),
        ("Rescaling(0.004)", "no image-preprocessing layer Rescaling"),
        ("Conv2D(3, 1)", "no image-preprocessing layer Conv2D"),
        (
            "RandomRotation",
            "layer RandomRotation of `augment` does not take its arguments: .*factor",
        ),
        ("RandomZoom(5)", "layer RandomZoom of `augment` does not take its arguments: .*=5"),
        ("RandomContrast(0.1, 7)", r"must be \(0, 255\). Received: value_range=7"),
        ("RandomFlip(mod=1)", "layer RandomFlip of `augment` does not take its arguments: .*mod"),
        ("RandomFlip(seed=1)", "tfhash sets the argument seed .* leave it out. Received: seed=1"),
        ("RandomHue(0.1, (0, 255), data_format='channels_first')", "sets the argument data_format"),
        ("RandomFlip('vertical', 1)", "layer RandomFlip of `augment` does not take its arguments"),
        (
            "RandomBrightness(0.2, value_range=(0, 1))",
            r"layer RandomBrightness .*`value_range` must be \(0, 255\). Received: .*\[0, 1\]",
        ),
    ],
)
def test_layers_that_keras_does_not_make_so_are_refused_without_images(text, error):
    with pytest.raises(ValueError, match=error):
        keras_layers.check_layers(text)
    with pytest.raises(ValueError, match=error):
        make_recipe("photographs", SHAPE, 100, augment=text)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "RandomErasing(fill_value=(1, 2))",
            r"cannot change images of shape \(8, 8, 3\): The `fill_value` [ -~]*three numbers\)$",
        ),
        (
            "RandomCrop(4, 4)",
            r"must keep the shape of the images; `crop` .* RandomCrop, which makes",
        ),
        ("RandomFlip('up')", r"layer RandomFlip of `augment` changed none of 1024 images"),
        ("RandomInvert(0)", r"layer RandomInvert of `augment` changed none of 1024 images"),
    ],
)
def test_layers_that_do_not_suit_the_images_are_refused_before_training(text, error):
    keras_layers.check_layers(text)
    with pytest.raises(ValueError, match=error):
        make_recipe("photographs", SHAPE, 100, augment=text)


def test_layers_for_colors_are_refused_for_gray_images():
    with pytest.raises(ValueError, match=r"RandomHue of `augment` cannot change .*\(8, 8, 1\)"):
        make_recipe("simple", (8, 8, 1), 100, augment="RandomHue(0.1)")


def test_no_layers_and_a_trailing_comma_are_fine():
    assert keras_layers.parse("") == []
    assert keras_layers.parse("RandomFlip,") == [("RandomFlip", [], {})]
