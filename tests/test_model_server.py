"""A real TensorFlow Serving, where TENSORFLOW_MODEL_SERVER names its program."""

import os
import pathlib
import re
import subprocess

import numpy as np
import pytest
from served_files import make_files

from tfhash.data.images import decode_and_resize
from tfhash.export import export_saved_model
from tfhash.index import HammingIndex
from tfhash.serving import Client, ServingError

SHAPE = (8, 8, 3)


@pytest.fixture(scope="module")
def program():
    if not os.environ.get("TENSORFLOW_MODEL_SERVER"):
        pytest.skip("TENSORFLOW_MODEL_SERVER names no tensorflow_model_server")
    return os.environ["TENSORFLOW_MODEL_SERVER"]


@pytest.fixture(scope="module")
def case(program, make_model, tmp_path_factory):
    """The model, contents of files, their codes, and the directory of the versions."""
    model = make_model(image_shape=SHAPE)
    contents = list(make_files().values())
    images = np.stack([decode_and_resize(each, SHAPE) for each in contents])
    codes = model.encode(images)
    directory = tmp_path_factory.mktemp("served") / "photos"
    export_saved_model(model, directory, database=(codes, None, None))
    return model, contents, codes, directory


@pytest.fixture(scope="module")
def addresses(program, case):
    """The addresses of a running server: of REST and of gRPC."""
    command = [program, "--rest_api_port=0", "--port=0", "--enable_batching"]
    command += [f"--model_config_file={case[3] / 'model.config'}"]
    command += [f"--batching_parameters_file={case[3] / 'batching.config'}"]
    log = case[3].parent / "log"
    with open(log, "wb") as file, subprocess.Popen(command, stderr=file) as server:
        try:
            yield [
                address_in(log, server, name) for name in ("HTTP/REST API at", "gRPC ModelServer")
            ]
        finally:
            server.terminate()


def address_in(log, server, name):
    """The address that the server logs once it listens."""
    while server.poll() is None:
        found = re.search(name + r".*?:(\d+)", pathlib.Path(log).read_text(errors="replace"))
        if found:
            return f"{'http' if 'REST' in name else 'grpc'}://127.0.0.1:{found[1]}"
    raise AssertionError(pathlib.Path(log).read_text(errors="replace"))


@pytest.fixture(params=["REST", "gRPC"])
def client(request, addresses):
    with Client(addresses[request.param == "gRPC"], "photos") as client:
        client.wait_until_ready(60)
        yield client


def test_it_gives_the_codes_of_keras(client, case):
    _, contents, codes, _ = case
    np.testing.assert_array_equal(client.encode(contents), codes)


def test_it_finds_what_an_index_finds(client, case):
    _, contents, codes, _ = case
    index = HammingIndex(12)
    index.add(codes)
    found, expected = client.search(contents, k=5), index.search(codes, 5)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.distances, expected.distances)


def test_it_names_a_file_that_is_no_image(client, case):
    with pytest.raises(ServingError, match="image 1 is no JPEG"):
        client.encode([case[1][0], b"hello"])
    np.testing.assert_array_equal(client.encode(case[1][:1]), case[2][:1])
