import numpy as np
import pytest
import tensorflow as tf

from tfhash.export.signature_defs import Signature, read_signatures
from tfhash.export.warmup import write_warmup

K = tf.TensorSpec(None, tf.int32, "k")
IMAGES = tf.TensorSpec([None, None, None, 3], tf.uint8, "images")
IMAGE_BYTES = tf.TensorSpec([None], tf.string, "image_bytes")
FEATURES = tf.TensorSpec([None, 7], tf.float32, "features")


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """What TensorFlow Serving reads, by its own classes."""
    prediction_log_pb2 = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    inputs = {
        "encode": [IMAGES],
        "search": [IMAGES, K],
        "serving_default": [IMAGE_BYTES],
        "features": [FEATURES],
    }
    signatures = {
        name: Signature({spec.name: spec for spec in specs}, {}) for name, specs in inputs.items()
    }
    directory = tmp_path_factory.mktemp("photos")
    path = write_warmup(directory, signatures, "photos", (1, 300), image_shape=(16, 24, 3))
    assert path == directory / "assets.extra" / "tf_serving_warmup_requests"
    return [
        prediction_log_pb2.PredictionLog.FromString(record.numpy())
        for record in tf.data.TFRecordDataset(str(path))
    ]


def test_each_signature_is_asked_for_once_at_each_batch_size(logs):
    asked = []
    for log in logs:
        assert log.WhichOneof("log_type") == "predict_log"
        request = log.predict_log.request
        assert request.model_spec.name == "photos"
        sizes = {tf.make_ndarray(tensor).shape[0] for tensor in request.inputs.values()}
        asked.append((request.model_spec.signature_name, sorted(request.inputs), sizes))
    assert asked == [
        (name, inputs, {size})
        for name, inputs in (
            ("encode", ["images"]),
            ("search", ["images", "k"]),
            ("serving_default", ["image_bytes"]),
            ("features", ["features"]),
        )
        for size in (1, 300)
    ]


def test_examples_have_the_types_and_shapes_of_the_inputs(logs):
    requests = [log.predict_log.request for log in logs]
    inputs = {
        name: tf.make_ndarray(tensor)
        for request in requests[::2]
        for name, tensor in request.inputs.items()
    }
    assert {name: (value.dtype, value.shape) for name, value in inputs.items()} == {
        "images": (np.uint8, (1, 16, 24, 3)),
        "k": (np.int32, (1,)),
        "image_bytes": (object, (1,)),
        "features": (np.float32, (1, 7)),
    }
    assert tf.io.decode_image(inputs["image_bytes"][0]).shape == (16, 24, 3)


def test_nothing_unknown_is_in_a_record(logs):
    for log in logs:
        assert type(log).FromString(log.SerializeToString()) == log
        copy = type(log)()
        copy.CopyFrom(log)
        copy.DiscardUnknownFields()
        assert copy == log


def test_a_large_batch_of_images_takes_few_bytes(logs):
    sizes = {log.predict_log.request.model_spec.signature_name: log.ByteSize() for log in logs}
    assert sizes["encode"] < 100


def test_signatures_are_read_from_the_file(tmp_path):
    module = tf.Module()
    module.serve = tf.function(
        lambda x, k: {"y": 2 * x, "a": tf.reduce_max(k)},
        [tf.TensorSpec([None, 3], name="x"), K],
    )
    tf.saved_model.save(module, tmp_path, {"twice": module.serve, "serving_default": module.serve})
    signatures = read_signatures(tmp_path)
    assert list(signatures) == ["serving_default", "twice"]
    expected = {"k": K, "x": tf.TensorSpec([None, 3], tf.float32, "x")}
    assert signatures["twice"].inputs == expected
    assert list(signatures["twice"].outputs) == ["a", "y"]
    assert signatures["twice"].outputs["a"].shape.rank == 0
