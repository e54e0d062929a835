import keras
import numpy as np
import pytest

from tfhash.models import BACKBONES, HashingModel, build_backbone


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("image_shape", [(8, 8, 1), (28, 28, 1), (32, 32, 3), (64, 48, 3)])
def test_backbones_end_in_features(name, image_shape):
    backbone = build_backbone(name, image_shape, width=2)
    assert backbone.input_shape == (None, *image_shape)
    assert len(backbone.output_shape) == 2


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        (
            "vgg",
            (8, 8, 1),
            "`name` must be one of mlp, convnet, resnet, whitenet, a network of keras.applications or",
        ),
        ("mlp", (7, 8, 1), "sides of 8 to 64 pixels"),
        ("mlp", (65, 8, 1), "sides of 8 to 64 pixels"),
        ("mlp", (8, 8), "`image_shape` must be"),
    ],
)
def test_unknown_backbones_and_sizes_are_refused(name, shape, message):
    with pytest.raises(ValueError, match=message):
        build_backbone(name, shape)


@pytest.fixture
def channels_first():
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format(before)


@pytest.mark.parametrize("name", BACKBONES)
def test_a_global_data_format_does_not_change_built_in_networks(rng, request, name):
    images = rng.integers(0, 256, (4, 16, 12, 3), "uint8")
    plain = HashingModel(build_backbone(name, (16, 12, 3), width=2), 16, 2, flip_tta=True)
    plain.build((None, 16, 12, 3))
    request.getfixturevalue("channels_first")
    model = HashingModel(build_backbone(name, (16, 12, 3), width=2), 16, 2, flip_tta=True)
    model.build((None, 16, 12, 3))
    assert [w.shape for w in model.weights] == [w.shape for w in plain.weights]
    model.set_weights(plain.get_weights())
    np.testing.assert_array_equal(
        model.predict(images, verbose=0), plain.predict(images, verbose=0)
    )
    model.adapt(images)  # of the whitened patches
    assert np.isfinite(model.predict(images, verbose=0)).all()
