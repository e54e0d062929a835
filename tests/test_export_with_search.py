import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from raw_session import RawSession

from tfhash.export import export_saved_model
from tfhash.index import HammingIndex, OtherModelError
from tfhash.models import HashingModel, build_backbone, fingerprint


@pytest.fixture(scope="module")
def model():
    backbone = build_backbone("mlp", (8, 8, 1), 4)
    model = HashingModel(backbone, 12, 2, class_names=["ant", "bee"])
    model.build((None, 8, 8, 1))
    return model


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), "uint8")


@pytest.fixture(scope="module")
def index(model, images):
    index = HammingIndex(12, model=fingerprint(model))
    index.add(model.encode(images), names=[f"{i}.png" for i in range(40)])
    return index


@pytest.fixture(scope="module")
def version(model, index, tmp_path_factory):
    """A version of a model that searches."""
    path = tmp_path_factory.mktemp("served") / "photos"
    return export_saved_model(model, path, 3, on_error="mask", database=index)


@pytest.fixture(scope="module")
def session(version):
    return RawSession(version)


@pytest.mark.parametrize("k", [1, 40])
def test_images_and_their_files_find_what_the_index_finds(session, model, index, images, k):
    pngs = [tf.io.encode_png(image).numpy() for image in images]
    codes = model.encode(images)
    expected = index.search(codes, k)
    for name, inputs in (("search", {"images": images}), ("search_bytes", {"image_bytes": pngs})):
        found = session.run(name, k=[k] * 40, **inputs)
        np.testing.assert_array_equal(found["codes"], codes)
        np.testing.assert_array_equal(found["ids"], expected.ids)
        np.testing.assert_array_equal(found["distances"], expected.distances)
        names = [[name.decode() for name in row] for row in found["names"]]
        assert names == index.names_of(expected.ids).tolist()


ON_JAX = """
import sys
import keras
from tfhash.export import export_saved_model
from tfhash.index import HammingIndex
assert keras.backend.backend() == "jax"
model = keras.saving.load_model(sys.argv[1])
export_saved_model(model, sys.argv[3], database=HammingIndex.load(sys.argv[2]))
"""


def test_a_model_exported_on_jax_searches_as_one_exported_on_tensorflow(
    session, model, index, images, tmp_path
):
    pytest.importorskip("jax")
    model.save(tmp_path / "model.keras")
    index.save(tmp_path / "photos.index")
    paths = [tmp_path / name for name in ("model.keras", "photos.index", "served")]
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    subprocess.run([sys.executable, "-c", ON_JAX, *paths], check=True, env=environment)
    on_jax = RawSession(tmp_path / "served" / "1")
    pngs = [tf.io.encode_png(image).numpy() for image in images]
    for name, inputs in (("search", {"images": images}), ("search_bytes", {"image_bytes": pngs})):
        expected = session.run(name, k=40, **inputs)
        for output, value in on_jax.run(name, k=40, **inputs).items():
            np.testing.assert_array_equal(value, expected[output], err_msg=output)


def test_a_file_that_is_no_image_is_marked_in_a_search(session, images):
    files = [b"no image", tf.io.encode_png(images[0]).numpy()]
    assert session.run("search_bytes", image_bytes=files, k=3)["valid"].tolist() == [False, True]


def test_no_image_finds_nothing(session):
    found = session.run("search", images=np.zeros((0, 9, 7, 1), "uint8"), k=3)
    assert found["ids"].shape == found["names"].shape == (0, 3)


def test_the_version_holds_names_requests_and_the_card(version, model):
    names = (version / "assets" / "item_names.txt").read_text().splitlines()
    assert names == [f"{i}\t{i}.png" for i in range(40)]
    assert (version / "assets" / "class_names.txt").read_text() == "ant\nbee\n"
    card = (version / "README.md").read_text()
    assert card.startswith("# photos, version 3\n")
    assert fingerprint(model) in card
    assert "| items to search | 40 |" in card
    assert {path.name for path in version.parent.iterdir()} == {
        "3",
        "model.config",
        "batching.config",
    }


def test_an_index_of_another_model_is_refused_before_anything_is_written(model, tmp_path):
    other = HammingIndex(12, model="another")
    with pytest.raises(OtherModelError, match="come from the model 'another'"):
        export_saved_model(model, tmp_path, database=other)
    with pytest.raises(ValueError, match="must have 12 bits"):
        export_saved_model(model, tmp_path, database=HammingIndex(16))
    assert list(tmp_path.iterdir()) == []


def test_all_warmup_requests_run(version, session):
    prediction_log_pb2 = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    sizes = []
    path = version / "assets.extra" / "tf_serving_warmup_requests"
    for record in tf.data.TFRecordDataset(str(path)):
        request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        found = session.run(request.model_spec.signature_name, **inputs)
        sizes.append((request.model_spec.signature_name, len(found["codes"])))
    names = ["encode", "encode_bytes", "search", "search_bytes", "serving_default"]
    assert sizes == [(name, size) for name in names for size in (1, 32)]
