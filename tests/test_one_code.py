"""One image has one code, whatever runs the model: Keras, a saved and loaded one, a SavedModel."""

import functools
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from tfhash.export import export_saved_model  # noqa: E402
from tfhash.keras_private import sublayers  # noqa: E402
from tfhash.models import BACKBONES, HashingModel, build_backbone  # noqa: E402

SHAPE = (32, 32, 3)

# Networks of `keras.applications` that take 32x32 pixels, one of each kind: with `LayerNormalization`
# and layer scale, with `Rescaling`, `Normalization` and squeeze and excitation, with `Rescaling` alone,
# with preactivation, and without any normalization.
APPLICATIONS = (
    "ConvNeXtTiny",
    "EfficientNetB0",
    "MobileNetV3Small",
    "ResNet50V2",
    "VGG16",
)

# Networks whose preprocessing `build_backbone` puts into them.
BY_NAME = {f"{name} by name": name for name in ("MobileNetV3Small", "VGG16")}


def with_own_statistics():
    """A network whose `Normalization` is adapted to images, with dropout and a nested model."""
    normalization = keras.layers.Normalization()
    normalization.adapt(np.random.default_rng(1).integers(0, 256, (64, *SHAPE)).astype("float32"))
    inner = keras.Sequential(
        [keras.Input((30, 30, 8)), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)]
    )
    images = keras.Input(SHAPE)
    x = keras.layers.Conv2D(8, 3, activation="relu")(normalization(images))
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(inner(x)))


def model_of(backbone, dtype_policy, images):
    """A model whose statistics are not those of a new one, and whose codes differ."""
    keras.utils.set_random_seed(0)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype_policy)
    try:
        if backbone in BACKBONES:
            model = HashingModel(build_backbone(backbone, SHAPE, 8), 24, 4)
        elif backbone in BY_NAME:
            model = HashingModel(build_backbone(BY_NAME[backbone], SHAPE), 24, 4)
        else:
            if backbone == "with_own_statistics":
                network = with_own_statistics()
            else:
                network = getattr(keras.applications, backbone)(
                    include_top=False, weights=None, pooling="avg", input_shape=SHAPE
                )
            model = HashingModel(network, 24, 4, preprocessing=keras.layers.Identity())
    finally:
        keras.config.set_dtype_policy(before)
    model.build((None, *SHAPE))
    rng = np.random.default_rng(0)
    for layer in sublayers(model):
        if isinstance(layer, keras.layers.Normalization) and backbone == "EfficientNetB0":
            # As its ImageNet weights have them.
            layer.adapt_mean.assign(rng.uniform(0.4, 0.5, layer.adapt_mean.shape))
            layer.adapt_variance.assign(rng.uniform(0.04, 0.06, layer.adapt_variance.shape))
            layer.finalize_state()
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    # Statistics of these images, or random layers would leave nothing of them but rounding errors.
    model.backbone(model.preprocessing(images), training=True)
    # The head standardizes by these images, so that each bit has some of them on both sides.
    features = model.backbone(model.preprocessing(images))
    model.hashing.standardization.momentum = 0.0
    model.hashing(features, training=True)
    return model


CASES = [
    *((name, "float32") for name in (*BACKBONES, "with_own_statistics", *APPLICATIONS)),
    ("convnet", "mixed_bfloat16"),
    ("MobileNetV2", "mixed_bfloat16"),
    *((name, "float32") for name in BY_NAME),
    ("VGG16 by name", "mixed_bfloat16"),
]


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (8, *SHAPE)).astype("uint8")


@pytest.fixture(scope="module")
def save(images, tmp_path_factory):
    """Saves the model of a case, once; gives the model, its codes, and the path of the file."""
    directory = tmp_path_factory.mktemp("models")

    @functools.cache
    def save(backbone, dtype_policy):
        model = model_of(backbone, dtype_policy, images)
        codes = model.encode(images)
        path = directory / f"{backbone}-{dtype_policy}.keras"
        model.save(path)
        np.save(path.with_suffix(".npy"), codes)
        return model, codes, path

    return save


@pytest.mark.parametrize(("backbone", "dtype_policy"), CASES)
def test_a_model_gives_one_code_saved_copied_and_exported(
    images, save, tmp_path, backbone, dtype_policy
):
    model, codes, path = save(backbone, dtype_policy)
    assert len(np.unique(codes, axis=0)) > 1  # or the comparisons below show nothing
    np.testing.assert_array_equal(keras.saving.load_model(path).encode(images), codes)
    np.testing.assert_array_equal(model.uncompiled_copy().encode(images), codes)
    exported = tf.saved_model.load(export_saved_model(model, tmp_path / "saved_model"))
    served = exported.signatures["encode"](images=tf.constant(images))["codes"]
    np.testing.assert_array_equal(served.numpy(), codes)


LOAD = """
import sys, pathlib
import numpy as np
import tfhash
assert "keras" not in sys.modules and "tensorflow" not in sys.modules
import keras
images = np.load(sys.argv[1])
for path in map(pathlib.Path, sys.argv[2:]):
    codes = keras.saving.load_model(path).encode(images)
    np.testing.assert_array_equal(codes, np.load(path.with_suffix(".npy")), err_msg=path.name)
"""


def test_a_fresh_process_that_imports_tfhash_alone_gives_the_same_codes(images, save, tmp_path):
    cases = {*CASES[:: len(CASES) // 4], ("VGG16 by name", "float32")}
    paths = [save(*case)[2] for case in sorted(cases)]
    np.save(tmp_path / "images.npy", images)
    subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path / "images.npy"), *map(str, paths)],
        check=True,
        cwd=pathlib.Path(__file__).parents[1],
    )
