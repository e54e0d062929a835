import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tfhash import files
from tfhash.encoding import encode
from tfhash.export import export_saved_model
from tfhash.layers import HashingLayer
from tfhash.models import HashingModel, build_backbone


def serve(directory):
    return tf.saved_model.load(directory).signatures["encode"]


@pytest.mark.parametrize("backbone", ["mlp", "convnet", "resnet"])
def test_the_saved_model_gives_the_codes_of_keras(make_model, striped, tmp_path, backbone):
    model = make_model(bits=12, backbone=backbone)
    model.fit(*striped, verbose=0)
    served = serve(export_saved_model(model, tmp_path))
    for count in (1, 64):
        images = striped[0][:count]
        found = served(images=tf.constant(images))["codes"].numpy()
        np.testing.assert_array_equal(found, model.encode(images))


def test_the_signature_is_images_to_packed_codes(make_model, tmp_path):
    served = serve(export_saved_model(make_model(bits=9), tmp_path))
    (images,) = served.structured_input_signature[1].values()
    assert images.name == "images"
    assert images.dtype == tf.uint8
    assert images.shape.as_list() == [None, None, None, 1]
    assert served.structured_outputs["codes"].dtype == tf.uint8
    assert served.structured_outputs["codes"].shape.as_list() == [None, 2]


def test_versions_count_up_and_are_never_replaced(make_model, tmp_path):
    model = make_model()
    assert export_saved_model(model, tmp_path).name == "1"
    assert export_saved_model(model, tmp_path).name == "2"
    assert export_saved_model(model, tmp_path, version=7).name == "7"
    with pytest.raises(FileExistsError, match="version 7 exists"):
        export_saved_model(model, tmp_path, version=7)
    with pytest.raises(ValueError, match="`version` must be an integer >= 1"):
        export_saved_model(model, tmp_path, version=0)


def test_each_weight_is_exported_once_and_no_optimizer(make_model, striped, tmp_path):
    model = make_model()
    model.fit(*striped, verbose=0)
    directory = export_saved_model(model, tmp_path)
    stored = tf.train.list_variables(str(directory / "variables" / "variables"))
    count = sum(np.prod(shape) for name, shape in stored if "_CHECKPOINTABLE" not in name)
    assert count == model.count_params()


def test_only_stock_ops_are_exported(make_model, tmp_path):
    directory = export_saved_model(make_model(), tmp_path)
    saved = saved_model_pb2.SavedModel.FromString((directory / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    nodes = [*graph.node, *(n for function in graph.library.function for n in function.node_def)]
    used = {node.op for node in nodes}
    functions = {function.signature.name for function in graph.library.function}
    assert {"MatMul", "DecodePng"} <= used
    assert used - functions <= set(tf.raw_ops.__dict__)


def test_a_failed_export_leaves_nothing_behind(make_model, tmp_path, monkeypatch):
    def full_disk(model, directory, *arguments, **options):
        tf.io.gfile.makedirs(directory)
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", full_disk)
    with pytest.raises(OSError, match="could not write .*/1: No space left on device"):
        export_saved_model(make_model(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_version_appears_when_it_is_whole_and_what_killed_exports_left_is_removed(
    make_model, tmp_path, monkeypatch
):
    program = (
        "import os, sys; from tfhash import files\n"
        "write = files.atomic_write(sys.argv[1])\n"
        "(write.__enter__() / 'variables').mkdir(parents=True)\n"
        "os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path / "1"])
    assert list(tmp_path.glob(".partial-*-1"))
    save, seen = tf.saved_model.save, []

    def watched(*arguments, **options):
        save(*arguments, **options)
        seen.extend(path.name for path in tmp_path.iterdir() if path.name[0] != ".")

    monkeypatch.setattr(tf.saved_model, "save", watched)
    with files.atomic_write(tmp_path / "7") as running:
        running.mkdir()
        directory = export_saved_model(make_model(), tmp_path)
        assert running.exists()
    assert seen == []
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {directory.name, "7", "model.config", "batching.config"}


def test_a_model_that_is_not_built_is_refused(tmp_path):
    model = HashingModel(keras.Sequential([keras.layers.Flatten()]), 8, 2)
    with pytest.raises(ValueError, match="the model must be built"):
        export_saved_model(model, tmp_path)


def test_class_names_are_kept_in_the_saved_model_and_the_config(striped, tmp_path):
    names = ["rows", "columns $ {of} stripes"]
    model = HashingModel(build_backbone("mlp", (8, 8, 1), 4), 12, 2, class_names=names)
    model.build((None, 8, 8, 1))
    directory = export_saved_model(model, tmp_path / "saved")
    assert (directory / "assets" / "class_names.txt").read_text().splitlines() == names
    model.save(tmp_path / "model.keras")
    assert keras.saving.load_model(tmp_path / "model.keras").class_names == names


@pytest.mark.parametrize("names", [["a"], ["a", "a"], ["a", "b", "c"]])
def test_class_names_that_do_not_fit_the_classes_are_refused(names):
    with pytest.raises(ValueError, match="`class_names` must be 2 distinct names"):
        HashingModel(build_backbone("mlp", (8, 8, 1), 4), 12, 2, class_names=names)


@pytest.mark.parametrize("names", ["ab", [1, 2], ["a", ""], ["a", "b\nc"], ["a", None]])
def test_class_names_that_are_not_strings_of_one_line_are_refused(names):
    with pytest.raises(ValueError, match="`class_names` must be a list of strings"):
        HashingModel(build_backbone("mlp", (8, 8, 1), 4), 12, 2, class_names=names)


def test_outputs_that_are_no_codes_are_not_exported(make_model, tmp_path):
    maps = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(3, 3)])
    for model, output, message in (
        (maps, None, "must be relaxed codes"),
        (make_model(), "logits", "one of codes. Received: output='logits'"),
    ):
        with pytest.raises(ValueError, match=message):
            export_saved_model(model, tmp_path, output=output)
    assert list(tmp_path.iterdir()) == []


def test_any_model_that_ends_in_codes_can_be_exported(tmp_path):
    inputs = keras.Input((7,))
    outputs = {"head": HashingLayer(bits=12)(inputs), "scores": keras.layers.Dense(3)(inputs)}
    model = keras.Model(inputs, outputs)
    features = np.random.default_rng(0).normal(size=(20, 7)).astype("float32")
    served = serve(export_saved_model(model, tmp_path, output="head"))
    np.testing.assert_array_equal(
        served(images=tf.constant(features))["codes"].numpy(),
        encode(model, features, output="head"),
    )
