"""ONNX and LiteRT files: what they take, what they give, and whether their codes are Keras's."""

import functools
import importlib.util
import re
import sys

import keras
import numpy as np
import pytest

pytest.importorskip("tensorflow")

from tfhash import codes
from tfhash.encoding import encode
from tfhash.export import agreement, compare, export_litert, export_onnx
from tfhash.keras_private import sublayers
from tfhash.layers import HashingLayer
from tfhash.models import HashingModel, build_backbone
from tfhash.models.backbones import BACKBONES

EXPORTS = {"onnx": export_onnx, "litert": export_litert}
RUNS = {"onnx": agreement.run_onnx, "litert": agreement.run_litert}
SUFFIXES = {"onnx": ".onnx", "litert": ".tflite"}
NEEDS = "needs the extra {0}: pip install '.[{0}]'"
NEEDED = {"onnx": ("tf2onnx", "onnxruntime"), "litert": ("ai_edge_litert",)}
FORMATS = [
    pytest.param(
        kind,
        marks=pytest.mark.skipif(
            any(importlib.util.find_spec(name) is None for name in needed),
            reason=NEEDS.format(kind),
        ),
    )
    for kind, needed in NEEDED.items()
]
# ONNX Runtime and LiteRT lack ops of both types: each is tried with one.
HALF = [
    pytest.param(*kind.values, policy, marks=kind.marks)
    for kind, policy in zip(FORMATS, ("mixed_bfloat16", "mixed_float16"))
]

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="Keras exports from TensorFlow"
)


@pytest.fixture(scope="module")
def digits():
    """scikit-learn's 1,797 images of handwritten digits, 8 x 8 pixels, and what they show."""
    found = pytest.importorskip("sklearn.datasets").load_digits()
    return (found.images[..., None] * 15.9).astype("uint8"), found.target


def as_photos(digits):
    """Digits as colored images of 16 x 16 pixels."""
    tint = np.array([1.0, 0.7, 0.4])
    return (digits[0].repeat(2, axis=1).repeat(2, axis=2) * tint).astype("uint8"), digits[1]


def trained(backbone, data, **arguments):
    keras.utils.set_random_seed(0)
    images, labels = data
    model = HashingModel(build_backbone(backbone, images.shape[1:], 8), 24, 10, **arguments)
    # Eagerly, because tracing takes longer than ten steps.
    model.compile(keras.optimizers.Adam(1e-2), run_eagerly=True)
    model.fit(images[:640], labels[:640], batch_size=64, epochs=1, verbose=0)
    return model


def first_block_of_mobilenet(digits):
    """The start of MobileNetV3Small, which has each kind of its layers."""
    keras.utils.set_random_seed(0)
    images = as_photos(digits)[0].repeat(2, axis=1).repeat(2, axis=2)
    network = keras.applications.MobileNetV3Small((32, 32, 3), include_top=False, weights=None)
    maps = network.get_layer("expanded_conv_project_bn").output
    features = keras.layers.GlobalAveragePooling2D()(maps)
    model = HashingModel(keras.Model(network.input, features), 24, 10)
    # Without statistics of images, all codes are alike.
    for layer in sublayers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(images[:256], training=True)
    return model, images


def on_photos(backbone, digits):
    return trained(backbone, as_photos(digits)), as_photos(digits)[0]


MODELS = {
    **{name: functools.partial(on_photos, name) for name in BACKBONES},
    "gray_mlp": lambda digits: (trained("mlp", digits), digits[0]),
    "flip_tta": lambda digits: (trained("mlp", digits, flip_tta=True), digits[0]),
    "mobilenet": first_block_of_mobilenet,
}


@pytest.fixture(scope="module")
def make(digits):
    return functools.cache(lambda name: MODELS[name](digits))


@pytest.fixture(scope="module")
def export(make, tmp_path_factory):
    """Exports a model to a format, once; gives the model, its images and the file."""
    directory = tmp_path_factory.mktemp("portable")

    @functools.cache
    def export(name, kind):
        model, images = make(name)
        return model, images, EXPORTS[kind](model, directory / f"{name}{SUFFIXES[kind]}")

    return export


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("name", MODELS)
def test_codes_of_real_images_are_those_of_keras(export, kind, name):
    model, images, path = export(name, kind)
    found = compare(model, path, images)
    assert found.images == len(images) == 1797
    assert found.bits == 24 * 1797
    assert found.differing_elsewhere == 0
    assert found.differing <= found.near_zero < 0.001 * found.bits
    assert found.largest_error < agreement.MARGIN
    assert len(np.unique(model.encode(images), axis=0)) > 100  # or all codes agree by being one


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_file_takes_any_number_of_raw_images(export, kind, count):
    model, images, path = export("mlp", kind)
    found = RUNS[kind](path, {"images": images[:count]})
    assert sorted(found) == ["codes", "relaxed_codes"]
    assert found["codes"].dtype == np.uint8
    assert found["relaxed_codes"].dtype == np.float32
    np.testing.assert_array_equal(found["codes"], model.encode(images[:count]))
    np.testing.assert_allclose(
        found["relaxed_codes"], model.predict(images[:count], verbose=0), atol=1e-4
    )


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("bits", [1, 9])
def test_codes_of_odd_length_are_padded_as_in_keras(tmp_path, kind, bits):
    model = keras.Sequential([keras.Input((5,)), HashingLayer(bits)])
    features = np.random.default_rng(0).normal(size=(40, 5)).astype("float32")
    path = EXPORTS[kind](model, tmp_path / f"model{SUFFIXES[kind]}")
    found = RUNS[kind](path, {"images": features})
    assert found["codes"].shape == (40, codes.packed_length(bits))
    np.testing.assert_array_equal(found["codes"], encode(model, features))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("shape", [(2, 16, 17, 3), (2, 8, 8, 3), (2, 16, 16, 1), (16, 16, 3)])
def test_images_of_another_size_are_refused(export, kind, shape):
    *_, path = export("whitenet", kind)
    message = f"`images` must have the shape (n, 16, 16, 3). Received: {shape}"
    with pytest.raises(ValueError, match=re.escape(message)):
        RUNS[kind](path, {"images": np.zeros(shape, "uint8")})


def test_the_runner_of_litert_takes_another_size_than_the_file_declares(export):
    runtime = pytest.importorskip("ai_edge_litert.interpreter", reason=NEEDS.format("litert"))
    *_, path = export("whitenet", "litert")
    images = np.zeros((2, 16, 17, 3), "uint8")
    encode = runtime.Interpreter(str(path)).get_signature_runner("serving_default")
    assert list(encode.get_input_details()["images"]["shape_signature"]) == [-1, 16, 16, 3]
    assert encode(images=images)["codes"].shape == (2, 3)
    interpreter = runtime.Interpreter(str(path))
    index = interpreter.get_input_details()[0]["index"]
    with pytest.raises(RuntimeError, match="resize dimension 2 of tensor 0 with value 16 to 17"):
        interpreter.resize_tensor_input(index, images.shape, strict=True)
    interpreter.resize_tensor_input(index, (2, 16, 16, 3), strict=True)


@pytest.mark.parametrize("kind", FORMATS)
def test_no_images_have_no_codes_in_onnx_and_are_refused_by_litert(export, kind):
    model, images, path = export("convnet", kind)
    if kind == "onnx":
        found = RUNS[kind](path, {"images": images[:0]})
        assert found["codes"].shape == (0, 3)
        assert found["relaxed_codes"].shape == (0, 24)
    else:
        with pytest.raises(ValueError, match="takes at least one image. Received: 0"):
            RUNS[kind](path, {"images": images[:0]})
    with pytest.raises(ValueError, match="must contain at least one image. Received: 0"):
        compare(model, path, images[:0])


class WithConstants(keras.layers.Layer):
    """Holds tensors that are not weights, one more than TensorFlow puts into a graph as it is."""

    def build(self, shape):
        random = np.random.default_rng(0)
        self.scale = keras.ops.convert_to_tensor(random.normal(size=shape[-1]), "float32")
        self.table = keras.ops.convert_to_tensor(random.normal(size=(40, shape[-1])), "float32")

    def call(self, x):
        return x * self.scale + keras.ops.mean(self.table, axis=0)


@pytest.mark.parametrize("kind", FORMATS)
def test_tensors_of_layers_are_in_the_file_and_no_inputs(tmp_path, kind):
    # As in EfficientNetV2B0 of `keras.applications`.
    fixed = keras.layers.Normalization(mean=[0.1, 0.2, 0.3, 0.4, 0.5], variance=[1, 2, 3, 4, 5])
    model = keras.Sequential([keras.Input((5,)), fixed, WithConstants(), HashingLayer(16)])
    features = np.random.default_rng(0).normal(size=(40, 5)).astype("float32")
    path = EXPORTS[kind](model, tmp_path / f"model{SUFFIXES[kind]}")
    found = compare(model, path, features)
    assert found.differing_elsewhere == 0
    assert found.largest_error < agreement.MARGIN


def test_differences_are_counted_by_how_near_to_0_a_relaxed_code_is(make, monkeypatch):
    model, images = make("mlp")
    relaxed = model.predict(images[:50], verbose=0)
    relaxed[0, :3] = 5e-5, -0.5, 0.5

    def keras_gives(*_):
        return relaxed

    monkeypatch.setattr(agreement.encoding, "relaxed_codes", keras_gives)
    turned = relaxed.copy()
    turned[0, :2] *= -1  # one near 0, one far from it
    packed = np.packbits(turned >= 0, axis=1, bitorder="little")
    monkeypatch.setattr(
        agreement, "run_litert", lambda *_: {"codes": packed, "relaxed_codes": turned}
    )
    found = compare(model, "model.tflite", images[:50])
    assert (found.images, found.bits) == (50, 50 * 24)
    assert (found.differing, found.differing_elsewhere) == (2, 1)
    assert found.near_zero == (np.abs(relaxed) <= agreement.MARGIN).sum() >= 1
    assert found.largest_error == pytest.approx(1.0)


@pytest.mark.parametrize(("kind", "policy"), HALF)
def test_a_model_in_half_precision_is_exported_as_its_copy_in_float32(tmp_path, kind, policy):
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3)).astype("uint8")
    models = []
    for name in (policy, "float32"):
        keras.utils.set_random_seed(0)
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(name)
        models.append(HashingModel(build_backbone("mlp", (8, 8, 3), 4), 12, 2))
        keras.config.set_dtype_policy(before)
        models[-1].build((None, 8, 8, 3))
    model, plain = models
    model(images, training=True)
    plain.set_weights(model.get_weights())
    path = EXPORTS[kind](model, tmp_path / f"model{SUFFIXES[kind]}")
    assert compare(plain, path, images).differing_elsewhere == 0
    # The model itself is unchanged, and rounds differently.
    assert model.backbone.layers[-1].compute_dtype == policy.removeprefix("mixed_")
    assert compare(model, path, images).largest_error > 1e-4


@pytest.mark.parametrize("kind", EXPORTS)
def test_another_suffix_is_refused_before_work_starts(make_model, tmp_path, kind):
    if kind == "onnx":
        pytest.importorskip("tf2onnx")
    with pytest.raises(ValueError, match=f"`path` must end in {SUFFIXES[kind]}. Received: "):
        EXPORTS[kind](make_model(), tmp_path / "model.keras")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", FORMATS)
def test_a_model_that_is_not_built_or_has_no_codes_is_refused(tmp_path, kind):
    path = tmp_path / f"model{SUFFIXES[kind]}"
    with pytest.raises(ValueError, match="the model must be built"):
        EXPORTS[kind](HashingModel(keras.Sequential([keras.layers.Flatten()]), 8, 2), path)
    maps = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(3, 3)])
    with pytest.raises(ValueError, match="must be relaxed codes"):
        EXPORTS[kind](maps, path)
    assert list(tmp_path.iterdir()) == []


class WithoutCounterpart(keras.layers.Layer):
    """Uses two ops that neither format has."""

    def call(self, x):
        import tensorflow as tf

        return tf.math.digamma(x) + tf.math.bessel_i0e(x)


@pytest.mark.parametrize("kind", FORMATS)
def test_ops_without_counterpart_are_named_and_nothing_is_written(tmp_path, kind):
    model = keras.Sequential([keras.Input((5,)), WithoutCounterpart(), HashingLayer(8)])
    message = f"could not be converted to {kind}: .*no op for BesselI0e, Digamma. .*SavedModel"
    with pytest.raises(ValueError, match=message):
        EXPORTS[kind](model, tmp_path / "new" / f"model{SUFFIXES[kind]}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", ["tf2onnx", "onnxruntime", "ai_edge_litert"])
def test_a_missing_package_is_named_with_its_extra(make_model, tmp_path, monkeypatch, module):
    for name in (module, f"{module}.interpreter"):
        monkeypatch.setitem(sys.modules, name, None)
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == module else find(name)
    )
    calls = {
        "tf2onnx": lambda: export_onnx(make_model(), tmp_path / "model.onnx"),
        "onnxruntime": lambda: agreement.run_onnx("model.onnx", {}),
        "ai_edge_litert": lambda: agreement.run_litert("model.tflite", {}),
    }
    extra = "litert" if module == "ai_edge_litert" else "onnx"
    with pytest.raises(ImportError, match=rf"needs {module}, .*pip install '.\[{extra}\]'"):
        calls[module]()
