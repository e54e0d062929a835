import numpy as np
import pytest
import tensorflow as tf
from raw_session import RawSession

from tfhash import codes
from tfhash.export.companions import write_companions
from tfhash.export.database import Database
from tfhash.export.model_card import Facts
from tfhash.export.search import ExactSearch, search_function
from tfhash.models import HashingModel, build_backbone, fingerprint


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    """A model that searches its own images, as a SavedModel with its companions."""
    backbone = build_backbone("mlp", (8, 8, 1), 4)
    model = HashingModel(backbone, 12, 2, class_names=["ant", "bee"])
    model.build((None, 8, 8, 1))
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), "uint8")
    database = Database.of((model.encode(images), None, [f"{i}.png" for i in range(40)]), 12)

    def encode(images):
        return {"codes": codes.pack(model(images)["codes"]), "valid": images[:, 0, 0, 0] >= 0}

    module = tf.Module()
    module.search = ExactSearch(database)
    spec = tf.TensorSpec([None, 8, 8, 1], tf.uint8, "images")
    module.find = search_function(module.search, encode, spec)
    module.used = list(module.find.get_concrete_function().variables)
    directory = tmp_path_factory.mktemp("photos")
    tf.saved_model.save(module, directory, {"search": module.find, "serving_default": module.find})
    facts = Facts.of(model, 12, (8, 8, 1), len(database), report={})
    write_companions(directory, "photos", 3, facts, database)
    return directory, model, images


def test_each_image_finds_itself_first(version):
    directory, model, images = version
    found = RawSession(directory).run("search", images=images, k=40)
    assert set(found) == {"ids", "distances", "names", "codes", "valid"}
    np.testing.assert_array_equal(found["codes"], model.encode(images))
    same = (found["codes"][:, None] == found["codes"][None]).all(axis=2)
    np.testing.assert_array_equal(found["ids"][:, 0], same.argmax(axis=1))
    np.testing.assert_array_equal((found["distances"] == 0).sum(axis=1), same.sum(axis=1))
    assert found["names"][5, 0] == f"{found['ids'][5, 0]}.png".encode()


def test_the_version_holds_names_requests_and_the_card(version):
    directory, model, _ = version
    names = (directory / "assets" / "item_names.txt").read_text().splitlines()
    assert names == [f"{i}\t{i}.png" for i in range(40)]
    assert (directory / "assets" / "class_names.txt").read_text() == "ant\nbee\n"
    card = (directory / "README.md").read_text()
    assert card.startswith("# photos, version 3\n")
    assert fingerprint(model) in card


def test_all_warmup_requests_run(version):
    prediction_log_pb2 = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    directory, _, _ = version
    session, sizes = RawSession(directory), []
    path = directory / "assets.extra" / "tf_serving_warmup_requests"
    for record in tf.data.TFRecordDataset(str(path)):
        request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        found = session.run(request.model_spec.signature_name, **inputs)
        sizes.append((request.model_spec.signature_name, *found["ids"].shape))
    assert sizes == [(name, size, 10) for name in ("search", "serving_default") for size in (1, 32)]
