"""Networks of `keras.applications` and models in files as backbones."""

import functools
import http.server
import importlib
import pathlib
import shutil
import tempfile
import threading
import urllib.request

import h5py
import keras
import numpy as np
import pytest
from keras import layers, ops

from tfhash import applications
from tfhash.models import HashingModel, build_backbone, pixel_range, pretrained

SHAPE = (32, 32, 3)


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (4, *SHAPE)).astype("uint8")


def module_of(family):
    return importlib.import_module(f"keras.applications.{family}")


def test_every_network_of_keras_applications_is_known_with_its_module():
    networks = {name for name in dir(keras.applications) if name[0].isupper()}
    assert networks <= set(applications.FAMILY_OF)
    for name in networks:
        function = getattr(keras.applications, name)
        assert function.__module__.rsplit(".", 1)[-1] == applications.FAMILY_OF[name]


@pytest.mark.parametrize("family", applications.FAMILIES)
def test_a_network_gets_the_pixels_that_its_module_makes(family, images, tmp_path):
    expected = module_of(family).preprocess_input(images.astype("float32"))
    symbolic = keras.Input(SHAPE)
    mode = applications.FAMILIES[family].mode
    found = pixel_range.preprocess(symbolic, mode)
    assert (found is symbolic) == (mode == "inside")
    if mode == "inside":
        np.testing.assert_array_equal(expected, images)
    else:
        model = keras.Model(symbolic, found)
        np.testing.assert_allclose(model.predict(images, verbose=0), expected, atol=1e-4)
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(
            loaded.predict(images, verbose=0), model.predict(images, verbose=0)
        )


# One network of each mode, by the layer that sees its pixels first.
FIRST_LAYERS = {
    "MobileNetV2": "Conv1",
    "DenseNet121": "conv1_conv",
    "VGG16": "block1_conv1",
    "MobileNetV3Small": "conv",
}


@pytest.mark.parametrize("name", FIRST_LAYERS)
def test_raw_images_reach_the_first_layer_of_a_network_scaled_once(name, images):
    backbone = build_backbone(name, SHAPE)
    assert backbone.output_shape == (None, backbone.output_shape[-1])
    if name == "MobileNetV3Small":
        expected = images / 127.5 - 1
    else:
        preprocess = module_of(applications.FAMILY_OF[name]).preprocess_input
        expected = preprocess(images.astype("float32"))
    seen = keras.Model(backbone.input, backbone.get_layer(FIRST_LAYERS[name]).input)
    # A convolution may pad its input first.
    model = HashingModel(backbone, 9, 2)
    found = ops.convert_to_numpy(seen(model.preprocessing(images)))
    padding = (found.shape[1] - SHAPE[0]) // 2
    inner = found[:, padding : padding + 32, padding : padding + 32]
    np.testing.assert_allclose(inner, expected, atol=1e-4)


def test_gray_images_are_repeated_for_a_network_of_rgb_images(images):
    model = HashingModel(build_backbone("MobileNetV3Small", SHAPE, alpha=0.35), 9, 2)
    gray = images[..., :1]
    model.build((None, 32, 32, 1))
    assert model.image_shape == (32, 32, 1)
    expected = model(np.repeat(gray, 3, axis=-1))["codes"]
    for given in (gray, gray[..., 0]):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(model(given)["codes"]), ops.convert_to_numpy(expected)
        )


def network(*before, channels=3):
    """A small network that begins with these layers."""
    x = pixels = keras.Input((8, 8, channels))
    for layer in before:
        x = layer(x)
    return keras.Model(pixels, layers.Flatten()(layers.Conv2D(2, 3)(x)))


RAW, SCALED = (0.0, 255.0), (-1.0, 1.0)


@pytest.mark.parametrize(
    ("before", "value_range"),
    [
        ([layers.Rescaling(1 / 255)], RAW),
        ([layers.Rescaling(1 / 127.5, -1)], RAW),
        ([layers.Rescaling([1 / 58, 1 / 57, 1 / 57], [-2.1, -2.0, -1.8])], RAW),
        ([layers.Rescaling(1.0, -120.0)], RAW),
        ([layers.Normalization(mean=[120.0] * 3, variance=[3600.0] * 3)], RAW),
        ([keras.Sequential([layers.Rescaling(1 / 255)])], RAW),
        ([network, layers.Reshape((1, 1, -1)), layers.UpSampling2D(4)], SCALED),
        ([], SCALED),
        ([layers.Rescaling(2.0, -1.0)], None),  # made for [0, 1]
        ([layers.Normalization(mean=[0.5] * 3, variance=[0.06] * 3)], None),
        ([lambda pixels: pixels / 255], None),  # arithmetic, of which nothing is known
    ],
)
def test_what_a_backbone_does_first_tells_which_pixels_it_takes(before, value_range):
    before = [layer() if layer is network else layer for layer in before]
    backbone = network(*before)
    if value_range is None:
        with pytest.raises(ValueError, match="only whoever made the backbone knows"):
            HashingModel(backbone, 9, 2)
        HashingModel(backbone, 9, 2, preprocessing=layers.Identity())
    else:
        assert HashingModel(backbone, 9, 2).preprocessing.value_range == value_range


def plain(name, **options):
    return getattr(keras.applications, name)(
        include_top=False, weights=None, pooling="avg", input_shape=SHAPE, **options
    )


@pytest.mark.parametrize(
    ("name", "options", "value_range"),
    [
        ("MobileNetV2", {"alpha": 0.35}, SCALED),
        ("ResNet50V2", {}, SCALED),
        ("EfficientNetB0", {}, RAW),
        ("MobileNetV3Small", {"alpha": 0.35}, RAW),
        ("ConvNeXtTiny", {"depths": [1, 1, 1, 1]}, RAW),
        ("VGG16", {}, "vgg16"),
        ("VGG19", {}, "vgg19"),
        ("ResNet50", {}, "resnet"),
        ("DenseNet121", {}, "densenet"),
        ("MobileNetV3Small", {"alpha": 0.35, "include_preprocessing": False}, "mobilenet_v3"),
        ("EfficientNetV2B0", {"include_preprocessing": False}, "efficientnet_v2"),
    ],
)
def test_a_network_of_keras_applications_gets_its_pixels_or_is_refused(name, options, value_range):
    options = {} if name == "ConvNeXtTiny" else options
    network = plain(name, **options)
    network.name = "mine"  # its layers are known, whatever its name
    if isinstance(value_range, str):
        with pytest.raises(ValueError, match=f"one of keras.applications.{value_range}, without"):
            HashingModel(network, 9, 2)
    else:
        assert HashingModel(network, 9, 2).preprocessing.value_range == value_range


@pytest.mark.parametrize(
    ("name", "image_shape", "given", "message"),
    [
        ("MobileNetV3small", SHAPE, {}, "Did you mean MobileNetV3Small?"),
        ("convent", SHAPE, {}, "Did you mean convnet?"),
        (
            "MobileNetV2",
            (31, 32, 3),
            {},
            "must be 32 or more for MobileNetV2, which was made for 224",
        ),
        ("Xception", (64, 71, 3), {}, "must be 71 or more for Xception"),
        ("MobileNetV2", (32, 32, 4), {}, "takes RGB images"),
        ("MobileNetV2", SHAPE, {"width": 8}, "`width` is for the built-in backbones"),
        ("mlp", SHAPE, {"weights": "imagenet"}, "no ImageNet weights for the built-in"),
        ("mlp", SHAPE, {"alpha": 0.5}, "takes no further arguments"),
        ("mlp", None, {}, "must be .height, width, channels."),
        ("mlp", SHAPE, {"weights": "model.keras"}, "pass a .keras file as `backbone`"),
    ],
)
def test_contradictions_of_name_and_arguments_are_refused(name, image_shape, given, message):
    with pytest.raises(ValueError, match=message):
        build_backbone(name, image_shape, **given)


def test_without_a_shape_the_images_have_the_side_that_the_network_was_made_for():
    assert build_backbone("MobileNetV3Small", alpha=0.35).input_shape == (None, 224, 224, 3)
    assert applications.side_of("EfficientNetB7") == 600


def test_a_global_data_format_does_not_change_a_network():
    keras.config.set_image_data_format("channels_first")
    try:
        backbone = build_backbone("MobileNetV2", SHAPE, alpha=0.35)
        assert keras.config.image_data_format() == "channels_first"
    finally:
        keras.config.set_image_data_format("channels_last")
    assert backbone.input_shape == (None, *SHAPE)


def tiny(path=None, seed=0):
    """A network of `keras.applications` with random weights."""
    keras.utils.set_random_seed(seed)
    return build_backbone("MobileNetV2", SHAPE, weights=path, alpha=0.35)


def test_weights_of_the_plain_network_and_of_the_backbone_are_read_alike(tmp_path):
    saved = plain("MobileNetV2", alpha=0.35)
    saved.save_weights(tmp_path / "plain.weights.h5")
    found = tiny(tmp_path / "plain.weights.h5", seed=1)
    np.testing.assert_equal(found.get_weights(), saved.get_weights())
    found.save_weights(tmp_path / "backbone.weights.h5")
    again = tiny(tmp_path / "backbone.weights.h5", seed=2)
    np.testing.assert_equal(again.get_weights(), saved.get_weights())


def test_files_that_hold_no_weights_of_the_network_are_named(tmp_path):
    missing = tmp_path / "missing.weights.h5"
    with pytest.raises(FileNotFoundError, match="must be an existing file"):
        tiny(missing)
    build_backbone("mlp", (8, 8, 1), width=2).save_weights(tmp_path / "mlp.weights.h5")
    (tmp_path / "text.weights.h5").write_text("no HDF5")
    tiny().save_weights(tmp_path / "broken.weights.h5")
    with h5py.File(tmp_path / "broken.weights.h5", "r+") as file:
        file["layers/conv2d_3/vars/0"][...] = np.nan
    for name in ("mlp", "text", "broken"):
        path = tmp_path / f"{name}.weights.h5"
        with pytest.raises(ValueError, match="does not hold the weights of the backbone 'Mobile"):
            tiny(path)


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A server on this machine in the place of Keras's, an empty cache, and what was asked for."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=tmp_path / "server")

        def log_message(self, form, *arguments):
            asked.append(self.path)

    (tmp_path / "server").mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    module = importlib.import_module("keras.src.applications.mobilenet_v2")
    url = f"http://127.0.0.1:{server.server_port}/"
    monkeypatch.setattr(module, "BASE_WEIGHT_PATH", url)
    get_file = module.file_utils.get_file
    monkeypatch.setattr(
        module.file_utils, "get_file", functools.partial(get_file, cache_dir=tmp_path / "cache")
    )
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    yield tmp_path, url, asked
    server.shutdown()
    server.server_close()


FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_96_no_top.h5"


def test_weights_are_downloaded_once_by_keras_and_their_file_can_be_passed_too(served):
    directory, _, asked = served
    shape = (96, 96, 3)
    source = keras.applications.MobileNetV2(
        include_top=False, weights=None, input_shape=shape, alpha=0.35
    )
    legacy = importlib.import_module("keras.src.legacy.saving.legacy_h5_format")
    with h5py.File(directory / "server" / FILE, "w") as file:
        legacy.save_weights_to_hdf5_group(file, source)
    for _ in range(2):
        found = build_backbone("MobileNetV2", shape, weights="imagenet", alpha=0.35)
        np.testing.assert_equal(found.get_weights(), source.get_weights())
    assert asked == [f"/{FILE}"]
    by_path = build_backbone(
        "MobileNetV2", shape, weights=directory / "cache" / "models" / FILE, alpha=0.35
    )
    np.testing.assert_equal(by_path.get_weights(), source.get_weights())


def test_without_a_network_the_error_names_the_file_its_place_and_the_other_way(served):
    directory, url, _ = served
    shutil.rmtree(directory / "server")
    with pytest.raises(
        OSError, match="could not download the ImageNet weights of Mobile"
    ) as raised:
        build_backbone("MobileNetV2", (96, 96, 3), weights="imagenet", alpha=0.35)
    for part in (url + FILE, f"put {FILE} into {directory / 'cache' / 'models'}", "`weights`"):
        assert part in str(raised.value)


@pytest.mark.parametrize("failure", ["missing", "damaged", "dropped"])
def test_whatever_fails_the_error_names_the_file_that_keras_looks_for(served, monkeypatch, failure):
    directory, url, _ = served
    if failure == "damaged":
        (directory / "server" / "NASNet-mobile-no-top.h5").write_bytes(b"damaged")
    if failure == "dropped":
        monkeypatch.setattr(urllib.request.OpenerDirector, "open", dropped)
    with (
        pytest.raises(OSError, match="put nasnet_mobile_no_top.h5 into "),
        pretrained._download_explained("NASNetMobile"),
    ):
        keras.utils.get_file(
            "nasnet_mobile_no_top.h5",
            url + "NASNet-mobile-no-top.h5",
            file_hash="1ed92395b5b598bdda52abe5c0dbfd63",
            cache_dir=directory / "cache",
        )


def dropped(*arguments, **options):
    raise ConnectionResetError("Connection reset by peer")


@pytest.mark.parametrize("is_writable", [True, False])
def test_the_error_names_the_folder_that_keras_takes(tmp_path, monkeypatch, is_writable):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / ("" if is_writable else "missing")))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    expected = tmp_path / "models" if is_writable else pathlib.Path("/tmp/.keras/models")
    assert pretrained._cache() == expected


def test_an_error_that_is_no_failed_download_passes_unchanged():
    with pytest.raises(ZeroDivisionError), pretrained._download_explained("MobileNetV2"):
        raise ZeroDivisionError


@pytest.fixture
def saved(tmp_path):
    def save(model):
        model.save(tmp_path / "mine.keras")
        return tmp_path / "mine.keras"

    return save


def test_a_saved_model_is_a_backbone_with_its_weights(saved, rng):
    model = network(layers.Rescaling(1 / 255))
    path = saved(model)
    backbone = build_backbone(path, (8, 8, 3))
    pixels = rng.integers(0, 256, (4, 8, 8, 3), "uint8")
    np.testing.assert_array_equal(
        backbone.predict(pixels, verbose=0), model.predict(pixels, verbose=0)
    )
    assert build_backbone(path, (8, 8, 1)).input_shape == (None, 8, 8, 3)  # for gray images


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: keras.Sequential([keras.Input((8,)), layers.Dense(2)]), "the input \\[n, 8\\]"),
        (
            lambda: keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(2, 3)]),
            "the output \\[n, 6, 6, 2\\]",
        ),
        (lambda: HashingModel(network(), 9, 2), "holds a HashingModel"),
        (
            lambda: keras.Sequential([keras.Input((8, 8, 3)), layers.Lambda(lambda x: x[:, 0, 0])]),
            "Lambda layers are refused",
        ),
    ],
)
def test_a_saved_model_that_is_no_backbone_is_refused(saved, make, message):
    model = make()
    if isinstance(model, HashingModel):
        model.build((None, 8, 8, 3))
    path = saved(model)
    with pytest.raises(ValueError, match=message):
        build_backbone(path)


def test_files_and_arguments_that_do_not_suit_a_saved_model_are_refused(saved, tmp_path):
    with pytest.raises(FileNotFoundError, match="must be an existing file"):
        build_backbone(tmp_path / "missing.keras")
    (tmp_path / "text.keras").write_text("no archive")
    with pytest.raises(ValueError, match="cannot be loaded as a Keras model"):
        build_backbone(tmp_path / "text.keras")
    path = saved(network())
    for shape in ((8, 9, 3), (8, 8, 4)):
        with pytest.raises(ValueError, match="images must have the shape"):
            build_backbone(path, shape)
    with pytest.raises(ValueError, match="has its weights and its layers. Received: weights"):
        build_backbone(path, weights="imagenet")
