import pytest
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)

from tfhash.export.configs import batching_config, model_config, model_name, write_configs


def batching_parameters():
    """The class of TensorFlow Serving, which its Python package lacks."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="session_bundle_config.proto",
        package="tensorflow.serving",
        syntax="proto3",
        dependency=["google/protobuf/wrappers.proto"],
    )
    message = file.message_type.add(name="BatchingParameters")
    for number, name in enumerate(
        ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads"), 1
    ):
        message.field.add(
            name=name,
            number=number,
            label=field.LABEL_OPTIONAL,
            type=field.TYPE_MESSAGE,
            type_name=".google.protobuf.Int64Value",
        )
    message.field.add(
        name="allowed_batch_sizes", number=6, label=field.LABEL_REPEATED, type=field.TYPE_INT64
    )
    message.field.add(
        name="pad_variable_length_inputs",
        number=7,
        label=field.LABEL_OPTIONAL,
        type=field.TYPE_BOOL,
    )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    found = pool.FindMessageTypeByName("tensorflow.serving.BatchingParameters")
    return message_factory.GetMessageClass(found)


@pytest.mark.parametrize("name", ["photos", 'quoted "photos"', "Fotos für alle", "back\\slash {0}"])
def test_the_model_config_names_the_directory(tmp_path, name):
    config_pb2 = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
    config = text_format.Parse(model_config(tmp_path / name), config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert model.name == name
    assert model.base_path == str(tmp_path / name)
    assert model.model_platform == "tensorflow"


def test_a_relative_path_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert model_config("photos") == model_config(tmp_path / "photos")
    assert model_name("photos/") == "photos"


@pytest.mark.parametrize("path", ["/", "a:b"])
def test_a_directory_whose_name_no_address_can_hold_is_refused(path):
    with pytest.raises(ValueError, match="name of the directory is the name of the model"):
        model_name(path)


@pytest.mark.parametrize("sizes", [(1,), (1, 2, 4, 8, 16, 32)])
def test_the_batching_config_ends_in_the_largest_batch(sizes):
    found = text_format.Parse(batching_config(sizes), batching_parameters()())
    assert list(found.allowed_batch_sizes) == list(sizes)
    assert found.max_batch_size.value == sizes[-1]
    assert found.batch_timeout_micros.value > 0
    assert not found.pad_variable_length_inputs
    assert not found.HasField("num_batch_threads")


def test_configs_are_written_once_and_what_was_changed_is_kept(tmp_path):
    write_configs(tmp_path)
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert written == {"model.config": model_config(tmp_path), "batching.config": batching_config()}
    write_configs(tmp_path)
    (tmp_path / "batching.config").write_text("max_batch_size { value: 1 }")
    with pytest.warns(UserWarning, match="kept .*batching.config, which holds something else"):
        write_configs(tmp_path)
    assert (tmp_path / "batching.config").read_text() == "max_batch_size { value: 1 }"
