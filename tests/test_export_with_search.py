import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from raw_session import RawSession
from serving_cases import b64, post, served

from tfhash.cli import flags
from tfhash.cli.registry import find
from tfhash.experiments import ImageIndex
from tfhash.experiments.code_files import Origin
from tfhash.experiments.serving.app import App
from tfhash.experiments.serving.service import Service
from tfhash.export import export_saved_model
from tfhash.index import HammingIndex, OtherModelError
from tfhash.models import HashingModel, build_backbone, fingerprint
from tfhash.serving import Client, ServingError


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


@pytest.fixture(scope="module")
def url(model, index):
    """`tfhash serve` of the same model and index, with two images in a batch."""
    service = Service(model, "photos", ImageIndex(index, Origin()), on_error="mask")
    with served(App(service, max_batch=2)) as url:
        yield url


@pytest.fixture(scope="module")
def some_files(model, images):
    """Function from whether each file is one, to files, and codes and classes of their images."""
    pngs = [tf.io.encode_png(image).numpy() for image in images[:5]]
    codes, classes = model.encode(images[:5]), model.classify(images[:5])

    def some(valid):
        files = [png if is_valid else b"no image" for png, is_valid in zip(pngs, valid)]
        return files, codes[: len(valid)], classes[: len(valid)]

    return some


# `test_export_search.py` has all combinations.
@pytest.mark.parametrize(
    ("k", "valid"), [(1, [1] * 5), (7, [1, 0, 1, 1, 0]), (99, [0] * 5)], ids=str
)
def test_a_broken_file_has_no_neighbors_in_a_saved_model_and_on_tfhash_serve(
    session, url, index, some_files, k, valid
):
    valid = np.array(valid, bool)
    files, codes, _ = some_files(valid)
    distances, ids = index.search(codes, k)
    expected = {
        "codes": np.where(valid[:, None], codes, 0),
        "ids": np.where(valid[:, None], ids, -1),
        "distances": np.where(valid[:, None], distances, -1),
        "names": np.where(valid[:, None], index.names_of(ids), ""),
        "valid": valid,
    }
    found = session.run("search_bytes", image_bytes=files, k=k)
    found["names"] = np.vectorize(bytes.decode)(found["names"])
    inputs = {"image_bytes": [b64(file) for file in files], "k": k}
    value = {"signature_name": "search_bytes", "inputs": inputs}
    status, answer = post(f"{url}/v1/models/photos:predict", value)
    assert status == 200
    for outputs in (found, answer["outputs"]):
        assert set(outputs) == set(expected)
        for name, values in expected.items():
            np.testing.assert_array_equal(outputs[name], values, err_msg=name)
    with Client(url, "photos") as client:
        masked = client.search(files, k=k, on_error="mask")
        for name in ("ids", "distances"):
            np.testing.assert_array_equal(getattr(masked, name), expected[name])
        assert [[name or "" for name in row] for row in masked.names] == expected["names"].tolist()
        if not valid.all():
            with pytest.raises(ServingError, match="could not read"):
                client.search(files, k=k)


@pytest.mark.parametrize("valid", [[0, 1, 0], []], ids=str)
def test_a_broken_file_has_no_class_in_a_saved_model_and_on_tfhash_serve(
    session, url, some_files, valid
):
    valid = np.array(valid, bool)
    files, codes, classes = some_files(valid)
    # An array, because an empty list has no type.
    found = session.run("encode_bytes", image_bytes=np.array(files, object))
    _, answer = post(f"{url}/v1/models/photos:predict", {"inputs": [b64(file) for file in files]})
    for outputs in (found, answer["outputs"]):
        assert set(outputs) == {"codes", "relaxed_codes", "class_ids", "valid"}
        np.testing.assert_array_equal(outputs["valid"], valid)
        if len(valid):
            np.testing.assert_array_equal(outputs["codes"], np.where(valid[:, None], codes, 0))
            np.testing.assert_array_equal(outputs["class_ids"], np.where(valid, classes, -1))
            assert (np.array(outputs["relaxed_codes"])[~valid] == 0).all()


def test_tfhash_serve_describes_what_it_masks_as_the_saved_model_does(session, url):
    with Client(url, "photos") as client:
        signatures = client.metadata()["signatures"]
    for name, signature in session.signatures.items():
        if not name.startswith("__"):
            assert set(signatures[name]["outputs"]) == set(signature.outputs)
    assert signatures["search_bytes"]["outputs"]["valid"] == ("bool", (None,))


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_the_rest_example_of_the_card_is_answered_by_the_tfhash_serve_of_the_card(
    version, session, url, images, tmp_path
):
    *_, serve, rest = re.findall(r"```sh\n(.*?)```", (version / "README.md").read_text(), re.DOTALL)
    _, name, *arguments = shlex.split(serve)
    given = flags.parse(flags.define(find(name).GROUPS), arguments)
    assert given == {"model": "RUN", "index": "INDEX", "name": "photos", "on_error": "mask"}
    photo = tf.io.encode_png(images[0]).numpy()
    (tmp_path / "photo.jpg").write_bytes(photo)
    rest = rest.replace("http://127.0.0.1:8501/", f"{url}/")
    printed = subprocess.run(
        ["sh", "-c", rest], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    (row,) = json.loads(printed.stdout)["predictions"]
    found = session.run("search_bytes", image_bytes=[photo], k=10)
    assert row["ids"] == found["ids"][0].tolist()


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
