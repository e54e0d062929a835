"""Signatures of the SavedModel: the codes of training for any image file, and clear errors."""

import contextlib
import struct
import zlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from served_files import RawSession, huge, make_files, picture, saved

from tfhash import data
from tfhash.data.guarded import decode_batch
from tfhash.data.images import decode_and_resize, resize_to
from tfhash.encoding import encode
from tfhash.export import export_saved_model
from tfhash.layers import HashingLayer
from tfhash.models import HashingModel, build_backbone

SHAPE = (8, 8, 3)
GOOD = saved(picture(9, 7).convert("RGB"), "PNG")


@pytest.fixture(scope="module")
def files():
    return make_files()


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    model = HashingModel(build_backbone("convnet", SHAPE, 4), 12, 3, class_names=["a", "b", "c"])
    model.build((None, *SHAPE))
    return model


@pytest.fixture(scope="module")
def served(model, tmp_path_factory):
    return RawSession(export_saved_model(model, tmp_path_factory.mktemp("served")))


@pytest.fixture(scope="module")
def masked(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("masked")
    return RawSession(export_saved_model(model, path, on_error="mask"))


@contextlib.contextmanager
def refused(*expected):
    """The block fails as INVALID_ARGUMENT, with all these parts in its message."""
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        yield
    for part in expected:
        assert part in str(caught.value)


def test_files_give_the_codes_of_the_images_that_training_reads(
    model, served, masked, files, tmp_path
):
    for name, contents in files.items():
        (tmp_path / name).write_bytes(contents)
    split, _ = data.load_images(tmp_path, SHAPE)
    assert sorted(split.names) == sorted(files)
    images = np.stack(list(split.images()))
    expected = model.encode(images)
    assert len(np.unique(expected, axis=0)) > 5
    contents = [files[name] for name in split.names]
    for found in (served.of_bytes(contents), masked.of_bytes(contents)):
        np.testing.assert_array_equal(found["codes"], expected)
        np.testing.assert_array_equal(found["class_ids"], model.classify(images))
        assert np.abs(found["relaxed_codes"] - model.predict(images, verbose=0)).max() < 1e-5
        assert found.get("valid", np.array(True)).all()


def test_images_of_any_size_are_resized_as_in_training(model, served):
    for height, width in ((8, 8), (31, 50), (1, 9), (300, 7)):
        images = np.stack([picture(height, width, i).convert("RGB") for i in range(3)])
        expected = model.encode(np.stack([resize_to(tf.constant(i), SHAPE) for i in images]))
        np.testing.assert_array_equal(served("encode", images)["codes"], expected)


def test_signatures_name_types_shapes_and_bits(served, masked):
    encode_bytes = served.signatures["encode_bytes"]
    assert served.signatures["serving_default"].outputs.keys() == encode_bytes.outputs.keys()
    shapes = {
        name: [side.size for side in output.tensor_shape.dim]
        for name, output in masked.signatures["serving_default"].outputs.items()
    }
    wanted = {"codes": [-1, 2], "relaxed_codes": [-1, 12], "class_ids": [-1], "valid": [-1]}
    assert shapes == wanted
    assert set(encode_bytes.outputs) == set(wanted) - {"valid"}


@pytest.mark.parametrize("shape", [(2, 8, 8), (8, 8, 3), (), (2, 4, 16, 1), (1, 8, 8, 4), (1, 0, 8, 3), (6,)])  # fmt: skip
def test_images_of_another_rank_or_channels_are_refused(served, shape):
    with refused("images"):
        served("encode", np.zeros(shape, "uint8"))


@pytest.mark.parametrize("dtype", ["float32", "int64", "object"])
def test_images_of_another_type_are_refused(served, dtype):
    images = np.full((1, *SHAPE), b"" if dtype == "object" else 0, dtype)
    with refused("uint8"):
        served("encode", images)


def test_files_of_another_rank_are_refused(served, masked):
    for session in (served, masked):
        for contents in (np.array(GOOD, object), np.array([[GOOD]], object)):
            with refused("shape"):
                session("serving_default", contents)


@pytest.mark.parametrize("sides", [(8, 8), (0, 0), (5, 30)])
def test_an_empty_batch_has_no_codes(served, masked, sides):
    images = np.zeros((0, *sides, 3), "uint8")
    for found in (
        served("encode", images),
        served.of_bytes([]),
        masked.of_bytes([]),
        masked("encode", images),
    ):
        assert found["codes"].shape == (0, 2)
        assert found["relaxed_codes"].shape == (0, 12)


# What hides the sizes that a decoder finds.
PHOTO = saved(picture(9, 7).convert("RGB"), "JPEG")
CHUNK = b"\0\0\0\x08abCd" + bytes([0, 0, 0, 1] * 2)
CHUNK += struct.pack(">I", zlib.crc32(CHUNK[4:]))

BAD = {
    "no image": (b"<html>gone\xff", "received 11 bytes, which start with <html>gone."),
    "empty": (b"", "received 0 bytes"),
    "TIFF": (saved(picture(9, 7), "TIFF"), "is no JPEG, PNG, GIF, BMP or WebP file"),
    "a restart before the sizes": (PHOTO[:2] + b"\xff\xd0" + PHOTO[2:], "received a JPEG file of"),
    "a chunk before the sizes": (GOOD[:8] + CHUNK + GOOD[8:], "received a PNG file of"),
    "start of a PNG": (GOOD[:8], "cannot be decoded: received a PNG file of 8 bytes"),
    "run lengths": (b"BM" + bytes(12) + b"\x28\0\0\0\2\0\0\0\2\0\0\0\1\0\x08\0\1\0\0\0" + bytes(60), "BMP"),
    **{
        f"half a {fmt}": ((whole := saved(picture(9, 7).convert("RGB"), fmt))[: len(whole) // 2], f"received a {'WebP' if fmt == 'WEBP' else fmt} file of")
        for fmt in ("JPEG", "PNG", "BMP", "WEBP")
    },
    **{
        f"huge {fmt}": (huge(fmt), f"more than 100000000: received a {fmt} file of 15000 x 15000")
        for fmt in ("JPEG", "PNG", "GIF", "BMP", "WebP")
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_named_by_its_number_or_masked(model, served, masked, kind):
    contents, message = BAD[kind]
    batch = [GOOD, GOOD, contents, GOOD, contents]
    with refused("image 2 ", message, "2 of 5 images are bad"):
        served.of_bytes(batch)
    found = masked.of_bytes(batch)
    valid = np.array([True, True, False, True, False])
    np.testing.assert_array_equal(found["valid"], valid)
    code = model.encode(decode_and_resize(GOOD, SHAPE)[None].numpy())
    np.testing.assert_array_equal(found["codes"], np.where(valid[:, None], code, 0))
    assert (found["relaxed_codes"][~valid] == 0).all()
    assert (found["class_ids"][~valid] == -1).all()


def test_the_bound_on_pixels_is_exact():
    def valid(size, most):
        contents = saved(picture(*size).convert("RGB"), "PNG")
        return bool(decode_batch([contents], SHAPE, max_pixels=most)[1])

    assert valid((8, 9), 72)
    assert not valid((8, 9), 71)


def damaged(files, count):
    """Truncated files, and ones with bits flipped."""
    rng = np.random.default_rng(0)
    names = [name for name in files if name != "large.jpg"]
    for i in range(count):
        contents = bytearray(files[names[i % len(names)]])
        if i % 3:
            for at in rng.integers(0, len(contents), 1 + i % 5):
                contents[at] ^= 1 << rng.integers(8)
        if i % 3 != 1:
            contents = contents[: rng.integers(len(contents) + 1)]
        yield bytes(contents)


def test_damaged_files_are_decoded_as_in_training_or_named(served, files):
    contents = list(damaged(files, 300))
    images, valid = (found.numpy() for found in decode_batch(contents, SHAPE))
    assert 20 < valid.sum() < 280
    for number, file in enumerate(contents):
        if valid[number]:
            np.testing.assert_array_equal(images[number], decode_and_resize(file, SHAPE))
        else:
            assert not images[number].any()
    bad = np.flatnonzero(~valid)
    for i in bad[:40]:
        with refused("image 1 "):
            served.of_bytes([GOOD, contents[i]])
    # The session is unharmed.
    assert served.of_bytes([GOOD])["codes"].shape == (1, 2)


def test_a_sequential_model_reads_files_and_refuses_other_shapes(tmp_path):
    inputs = keras.Input(SHAPE)
    layers = [keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), HashingLayer(bits=12)]
    model = keras.Sequential([inputs, *layers])
    session = RawSession(export_saved_model(model, tmp_path))
    images = np.stack([decode_and_resize(GOOD, SHAPE), np.full(SHAPE, 90)]).astype("float32")
    expected = encode(model, images)
    np.testing.assert_array_equal(session("encode", images)["codes"], expected)
    np.testing.assert_array_equal(session.of_bytes([GOOD])["codes"], expected[:1])
    assert set(session.signatures["encode"].outputs) == {"codes", "relaxed_codes"}
    for shape in ((1, 4, 16, 3), (1, 16, 4, 3), (2, 8, 8), (192,), (1, 8, 8, 1), (1, 192)):
        with refused("images"):
            session("encode", np.zeros(shape, "float32"))
    with refused("finite"):
        session("encode", np.full((1, *SHAPE), np.nan, "float32"))


@pytest.mark.parametrize("scaling", [None, keras.layers.Rescaling(2.0, -1.0)])
def test_a_model_of_images_scaled_in_an_unknown_way_reads_no_files(tmp_path, scaling):
    layers = [keras.layers.Flatten(), HashingLayer(bits=12)]
    model = keras.Sequential([keras.Input(SHAPE), *([scaling] if scaling else []), *layers])
    with pytest.warns(UserWarning, match="no signature `encode_bytes`"):
        session = RawSession(export_saved_model(model, tmp_path))
    assert "encode_bytes" not in session.signatures
    images = np.random.default_rng(0).random((3, *SHAPE), "float32")
    found = session("serving_default", images)["codes"]
    np.testing.assert_array_equal(found, encode(model, images))
    with pytest.raises(ValueError, match="begin with keras.layers.Rescaling"):
        export_saved_model(model, tmp_path, on_error="mask")


def test_a_model_of_features_has_one_signature(tmp_path):
    model = keras.Sequential([keras.Input((7,)), HashingLayer(bits=12)])
    session = RawSession(export_saved_model(model, tmp_path))
    assert "encode_bytes" not in session.signatures
    assert session("serving_default", np.zeros((0, 7), "float32"))["codes"].shape == (0, 2)
    with refused("images"):
        session("encode", np.zeros((7, 1), "float32"))
    with pytest.raises(ValueError, match="`on_error='mask'` is for models that can read files"):
        export_saved_model(model, tmp_path, on_error="mask")


@pytest.mark.parametrize("argument", [{"on_error": "skip"}, {"max_pixels": 0}, {"max_pixels": 0.5}])
def test_arguments_out_of_range_are_refused(model, tmp_path, argument):
    with pytest.raises(ValueError, match=f"`{next(iter(argument))}` must be"):
        export_saved_model(model, tmp_path, **argument)
    assert list(tmp_path.iterdir()) == []


def test_what_keras_exports_is_named_relaxed_codes(model, tmp_path):
    model.export(tmp_path / "keras", verbose=False)
    images = np.stack([picture(8, 8, i).convert("RGB") for i in range(3)])
    loaded = tf.saved_model.load(tmp_path / "keras")
    found = loaded.serve(images.astype("float32"))
    assert set(found) == {"relaxed_codes", "logits"}
    np.testing.assert_allclose(found["relaxed_codes"], model.predict(images, verbose=0), atol=1e-5)
