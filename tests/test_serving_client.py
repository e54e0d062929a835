"""`tfhash.serving.Client` gives what a server answers, and says in words why it does not."""

import json
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest
import stand_in_servers
from stand_in_servers import GrpcServer, RestServer, running, stand_in_code

from tfhash.serving import Client, ServingError


@pytest.fixture
def rest():
    with running(RestServer()) as server:
        yield server


@pytest.fixture(params=["rest", "grpc"])
def server(request):
    with running(RestServer() if request.param == "rest" else GrpcServer()) as server:
        yield server


@pytest.fixture
def client(server):
    with Client(server.url, "photos", timeout=20) as client:
        yield client


@pytest.fixture
def paths(tmp_path):
    found = [tmp_path / f"{i}.png" for i in range(5)]
    for i, path in enumerate(found):
        path.write_bytes(bytes([i]) * 9)
    return found


def codes_of(images):
    return np.array([stand_in_code(image) for image in images], np.uint8)


def test_the_client_imports_neither_keras_nor_tensorflow():
    program = (
        "import sys, tfhash.serving; tfhash.serving.Client('http://127.0.0.1:1', 'photos'); "
        "print([name for name in ('tensorflow', 'keras', 'jax', 'grpc') if name in sys.modules])"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert finished.stdout == "[]\n"


def test_files_bytes_and_arrays_come_back_in_their_order(server, client, paths, rng):
    small, large = (
        rng.integers(0, 256, (3, *size, 3)).astype("uint8") for size in [(2, 2), (4, 3)]
    )
    mixed = [small[0], paths[0], large[0], b"abc", str(paths[1]), small[1], large[1]]
    contents = [small[0], b"\0" * 9, large[0], b"abc", b"\1" * 9, small[1], large[1]]
    np.testing.assert_array_equal(client.encode(mixed), codes_of(contents))
    # One request for files, and one for each size of arrays.
    assert sorted(server.asked) == [
        ("/v1/models/photos:predict", "encode", 2),
        ("/v1/models/photos:predict", "encode", 2),
        ("/v1/models/photos:predict", "encode_bytes", 3),
    ]
    codes = client.encode(large)
    assert codes.dtype == np.uint8
    np.testing.assert_array_equal(codes, codes_of(large))


def test_many_images_are_sent_in_batches_of_a_number_and_of_a_size(server, paths, monkeypatch):
    with Client(server.url, "photos", version=3, batch_size=2) as client:
        codes = client.encode(paths)
        np.testing.assert_array_equal(codes, codes_of([bytes([i]) * 9 for i in range(5)]))
        path = "/v1/models/photos/versions/3:predict"
        assert server.asked == [(path, "encode_bytes", count) for count in (2, 2, 1)]
        server.asked.clear()
        monkeypatch.setattr("tfhash.serving.images.MOST_BYTES", 17)
        np.testing.assert_array_equal(client.encode(paths), codes)
        assert [count for _, _, count in server.asked] == [1] * 5


@pytest.mark.parametrize("k", [1, 3])
def test_a_search_gives_distances_ids_and_names(client, k):
    found = client.search([b"a", b"b", np.zeros((2, 2, 1), "uint8")], k=k)
    assert [array.shape for array in found] == [(3, k)] * 3
    assert [array.dtype for array in found] == [np.int32, np.int64, object]
    firsts = codes_of([b"a", b"b", bytes(4)])[:, 0].tolist()
    assert found.ids.tolist() == [[first + i for i in range(k)] for first in firsts]
    # An item without a name has none, as in `HammingIndex.names_of`.
    assert found.names.tolist() == [["é.png", None, "b.png"][:k]] * 3


def test_a_server_that_answers_with_the_k_of_other_clients_gives_no_more_than_asked(
    client, monkeypatch
):
    outputs = stand_in_servers.stand_in_outputs
    monkeypatch.setattr(
        stand_in_servers,
        "stand_in_outputs",
        lambda signature, images, k: outputs(signature, images, np.full(len(images), 3)),
    )
    found = client.search([b"a", b"b"], k=2)
    assert [array.shape for array in found] == [(2, 2)] * 3


def test_no_images_have_no_codes_and_no_neighbors(client, server):
    if isinstance(server, RestServer):
        sides = [{"size": "-1"}, {"size": "2"}]
        codes = {"dtype": "DT_UINT8", "tensor_shape": {"dim": sides, "unknown_rank": False}}
        encode = {"inputs": {}, "outputs": {"codes": codes}}
        metadata = {"signature_def": {"signature_def": {"encode": encode}}}
        server.body = json.dumps({"model_spec": {"version": "3"}, "metadata": metadata}).encode()
    assert client.encode([]).shape == (0, 2)
    assert client.metadata()["version"] == 3
    assert client.metadata()["signatures"]["encode"]["outputs"] == {"codes": ("uint8", (None, 2))}
    assert client.search([], k=3).ids.shape == (0, 0)


@pytest.mark.parametrize("errors", [[503], [429, 503], ["cut"], ["cut", 503, "cut"]])
def test_rest_tries_again_where_a_server_is_busy_or_gone(rest, errors):
    rest.errors += errors
    rest.headers = {"Retry-After": "0"}
    with Client(rest.url, "photos", retries=3) as client:
        np.testing.assert_array_equal(client.encode([b"a"]), codes_of([b"a"]))
    assert rest.errors == []
    assert len(rest.asked) == len(errors) + 1


def test_grpc_tries_again_where_a_server_is_unavailable():
    with running(GrpcServer()) as server, Client(server.url, "photos", retries=2) as client:
        server.errors += ["UNAVAILABLE", "UNAVAILABLE"]
        np.testing.assert_array_equal(client.encode([b"a"]), codes_of([b"a"]))
        server.errors += ["UNAVAILABLE"] * 3
        with pytest.raises(ServingError, match="UNAVAILABLE: error UNAVAILABLE. It is busy"):
            client.encode([b"a"])
        assert len(server.asked) == 6


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 413, 500, 501, 502, 504])
def test_rest_does_not_repeat_what_was_refused(rest, status):
    rest.errors += [status, 200]
    rest.headers = {"Retry-After": "0"}
    with (
        Client(rest.url, "photos") as client,
        pytest.raises(
            ServingError, match=f"{rest.url} answered {status}: error {status}"
        ) as raised,
    ):
        client.encode([b"a"])
    assert (raised.value.status, raised.value.server_message) == (status, f"error {status}")
    assert len(rest.asked) == 1


@pytest.mark.parametrize(
    "name", ["INVALID_ARGUMENT", "NOT_FOUND", "INTERNAL", "RESOURCE_EXHAUSTED"]
)
def test_grpc_does_not_repeat_what_was_refused(name):
    with running(GrpcServer()) as server, Client(server.url, "photos") as client:
        server.errors += [name]
        with pytest.raises(ServingError, match=f"answered {name}: error {name}") as raised:
            client.encode([b"a"])
        assert (raised.value.status, raised.value.server_message) == (name, f"error {name}")
        assert len(server.asked) == 1


def test_retries_end_with_what_the_server_said(rest):
    rest.errors += [503] * 3
    with (
        Client(rest.url, "photos", retries=2) as client,
        pytest.raises(ServingError, match="answered 503: error 503. It is busy or not ready"),
    ):
        client.encode([b"a"])
    assert (rest.errors, len(rest.asked)) == ([], 3)


@pytest.mark.parametrize(
    ("asked", "waits"), [("1", [1, 1]), ("3600", [10, 10]), (None, [0.2])], ids=str
)
def test_waits_grow_and_a_server_may_ask_for_longer_ones(rest, monkeypatch, asked, waits):
    slept = []
    monkeypatch.setattr("urllib3.util.retry.time.sleep", slept.append)
    rest.errors += [503, 503]
    rest.headers = {} if asked is None else {"Retry-After": asked}
    with Client(rest.url, "photos", retries=2) as client:
        client.encode([b"a"])
    # The first retry comes at once unless the server asks for more. Chance adds up to 0.1.
    assert len(slept) == len(waits)
    assert all(wait <= seconds <= wait + 0.1 for wait, seconds in zip(waits, slept))


def test_a_request_that_takes_too_long_is_given_up_and_not_repeated(server):
    server.errors += ["slow"]
    with (
        Client(server.url, "photos", timeout=0.2) as client,
        pytest.raises(ServingError, match=r"gave no answer within 0.2 seconds. Pass a longer"),
    ):
        client.encode([b"a"])
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("error", "message", "tries"),
    [
        (TimeoutError("timed out"), "gave no answer within 20 seconds", 1),
        (OSError("no route to host"), "no server answers at http://photos.example: ", 2),
    ],
    ids=["silent", "refused"],
)
def test_a_host_that_is_silent_is_asked_once_and_one_that_refuses_again(
    monkeypatch, error, message, tries
):
    asked = []

    def connect(*arguments, **options):
        asked.append(arguments)
        raise error

    monkeypatch.setattr("urllib3.util.connection.create_connection", connect)
    monkeypatch.setenv("no_proxy", "*")
    with (
        Client("http://photos.example", "photos", timeout=20, retries=1) as client,
        pytest.raises(ServingError, match=message),
    ):
        client.encode([b"a"])
    assert len(asked) == tries


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_missing_server_is_said(scheme):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        url = f"{scheme}://127.0.0.1:{taken.getsockname()[1]}"
        with Client(url, "photos", retries=1) as client:
            with pytest.raises(ServingError, match=f"no server answers at {url}: ") as raised:
                client.encode([b"a"])
            assert raised.value.status is None
            with pytest.raises(ServingError, match="not ready after 0.1 seconds: no server"):
                client.wait_until_ready(0.1)


def test_waiting_ends_when_the_model_is_ready(server, client):
    server.errors += [404, 503] if isinstance(server, RestServer) else ["NOT_FOUND", "UNAVAILABLE"]
    client.wait_until_ready(30)
    assert server.errors == []


def test_a_file_that_does_not_exist_is_named_before_anything_is_sent(server, paths, tmp_path):
    with Client(server.url, "photos", batch_size=1) as client:
        gone = tmp_path / "gone.jpg"
        with pytest.raises(FileNotFoundError, match=f"there is no image {gone}. Nothing was sent"):
            client.encode([*paths, gone])
        with pytest.raises(ValueError, match=f"must be a file. Received: {tmp_path}"):
            client.search([*paths, tmp_path])
    assert server.asked == []


def test_the_image_that_a_server_numbers_is_named(rest, paths):
    rest.errors += [200, 400]
    rest.body = (
        b'{"error": "assertion failed: [image] [1] [is no PNG]", "outputs": {"codes": [[1],[2]]}}'
    )
    with (
        Client(rest.url, "photos", batch_size=2) as client,
        pytest.raises(ServingError, match=rf"image 1 is {paths[3]}\)"),
    ):
        client.encode(paths)


def test_images_that_the_model_masked_are_named(rest, paths):
    rest.body = b'{"outputs": {"codes": [[1],[0]], "valid": [true, false]}}'
    with (
        Client(rest.url, "photos") as client,
        pytest.raises(ServingError, match=f"could not read 1 of 2 images: {paths[1]}"),
    ):
        client.encode(paths[:2])


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"[]", b"{}", b'{"outputs": [[1, 2]]}', b'{"outputs": {"ids": [[1, 2]]}}']
    + [
        b'{"outputs": {"codes": %s}}' % codes
        for codes in (b"[[1, 256]]", b"[[-1]]", b'[["a"]]', b"[1]", b"[[1], [2]]", b"[[1.5]]", b"9")
    ],
)
def test_an_answer_that_is_none_is_said(rest, body):
    rest.body = body
    with (
        Client(rest.url, "photos") as client,
        pytest.raises(ServingError, match="gave an answer that cannot be used"),
    ):
        client.encode([b"a"])


def test_names_that_are_no_valid_utf_8_keep_their_bytes(rest):
    rest.body = b'{"outputs": {"ids": [[1]], "distances": [[0]], "names": [["\xe9.png"]]}}'
    with Client(rest.url, "photos") as client:
        assert client.search([b"a"], k=1).names.tolist() == [["\udce9.png"]]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ("a.jpg", "must be a list, or an array. Received: one str"),
        (b"abc", "Received: one bytes"),
        (pathlib.Path("a.jpg"), "must be a list"),
        (np.zeros((8, 8, 3), "uint8"), r"For one image pass image\[None\]"),
        (np.zeros((2, 8, 8, 3)), r"Received: float64 \[8, 8, 3\] as image 0"),
        ([np.zeros((8, 8), "uint8")], r"Received: uint8 \[8, 8\] as image 0"),
        ([np.zeros((8, 8, 4), "uint8")], r"uint8 \[height, width, 1 or 3\]"),
        ([np.zeros((0, 8, 3), "uint8")], "uint8"),
        ([b"a", 5], "Received: 5 as image 1"),
        ([None], "Received: None as image 0"),
    ],
)
def test_what_is_no_image_is_refused_before_anything_is_sent(rest, images, message):
    with Client(rest.url, "photos") as client, pytest.raises(ValueError, match=message):
        client.encode(images)
    assert rest.asked == []


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("127.0.0.1:8501", {}, "`url` must be http://HOST:PORT"),
        ("ftp://127.0.0.1", {}, "`url` must be"),
        ("grpc://", {}, "`url` must be"),
        (None, {}, "`url` must be"),
        ("http://a", {"version": 0}, "`version` must be an integer >= 1"),
        ("http://a", {"retries": -1}, "`retries` must be"),
        ("grpc://a", {"retries": 5}, "at most 4 with grpc://"),
        ("http://a", {"batch_size": 0}, "`batch_size` must be"),
        ("http://a", {"batch_size": 2.0}, "`batch_size` must be"),
        ("http://a", {"timeout": 0}, "`timeout` must be seconds > 0"),
        ("http://a", {"timeout": float("nan")}, "`timeout` must be"),
        ("http://a", {"model_name": ""}, "`model_name` must be"),
    ],
)
def test_arguments_that_cannot_work_are_refused(url, options, message):
    with pytest.raises(ValueError, match=message):
        Client(url, **{"model_name": "photos", **options})


@pytest.mark.parametrize("k", [0, -1, 1.0, True, 2**31, "1"])
def test_k_must_be_a_positive_integer(rest, k):
    with Client(rest.url, "photos") as client, pytest.raises(ValueError, match="`k` must be"):
        client.search([b"a"], k=k)


def test_a_search_fails_or_masks_what_cannot_be_read(rest, paths):
    outputs = {"ids": [[7], [-1]], "distances": [[3], [-1]], "names": [["a.png"], [""]]}
    rest.body = json.dumps({"outputs": {**outputs, "valid": [True, False]}}).encode()
    with Client(rest.url, "photos") as client:
        with pytest.raises(ServingError, match=f"could not read 1 of 2 images: {paths[1]}"):
            client.search(paths[:2], k=1)
        found = client.search(paths[:2], k=1, on_error="mask")
        with pytest.raises(ValueError, match="`on_error` must be one of .*'skip'"):
            client.search(paths[:2], on_error="skip")
    assert [array.tolist() for array in found] == [
        [[3], [-1]],
        [[7], [-1]],
        [["a.png"], [None]],
    ]


def test_without_grpc_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "grpc", None)
    monkeypatch.delitem(sys.modules, "tfhash.serving.grpc_transport", raising=False)
    with pytest.raises(ImportError, match=r"pip install '.\[serving\]'"):
        Client("grpc://127.0.0.1:1", "photos")
