"""`tfhash serve` refuses what it cannot answer, in words and with the right status."""

import concurrent.futures
import functools
import json
import socket
import threading
import time
import zlib

import numpy as np
import pytest
import requests
from serving_cases import b64, exchange, file_of, files_of_all_formats, photo, post, served

from tfhash.experiments import ImageIndex
from tfhash.experiments.code_files import Origin
from tfhash.experiments.serving import json_format, running
from tfhash.experiments.serving.app import MOST_BYTES, App
from tfhash.experiments.serving.service import Service
from tfhash.index import HammingIndex


@pytest.fixture(scope="module")
def model(make_model):
    return make_model(image_shape=(8, 8, 3))


@pytest.fixture(scope="module")
def files():
    return files_of_all_formats(np.random.default_rng(0))


@pytest.fixture(scope="module")
def service(model):
    index = HammingIndex(12)
    index.add(np.arange(40, dtype="uint8").reshape(20, 2) % 16)
    return Service(model, "photos", ImageIndex(index, Origin()))


@pytest.fixture(scope="module")
def url(service):
    with served(App(service)) as url:
        yield url


@pytest.fixture(scope="module")
def predict(url):
    return lambda value, **headers: post(f"{url}/v1/models/photos:predict", value, **headers)


PNG = b64(file_of(photo(np.random.default_rng(0), (3, 3)), "PNG"))
DOT = [[[[0, 0, 0]]]]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"", "the body must be JSON"),
        (b"{", "the body must be JSON"),
        (b"\xff\xfe\xfa", "the body must be JSON"),
        (b"[" * 100_000, "too deep"),
        (b'{"inputs": %s}' % (b"9" * 5000), "the body must be JSON"),
        (b'{"signature_name": "encode", "inputs": [[[[NaN]]]]}', "NaN is no JSON"),
        ([], "must be a JSON object. Received: a list"),
        ({"instances": [PNG], "signature": "encode"}, "the keys of a request are"),
        ({"instances": [PNG], "signature_name": "nearest"}, "one of encode, encode_bytes"),
        ({"instances": [PNG], "signature_name": ["encode"]}, "`signature_name` must be"),
        ({}, "one of `instances` (row format) and `inputs` (column format). Received: neither"),
        ({"instances": [PNG], "inputs": [PNG]}, "`inputs` (column format). Received: both"),
        ({"instances": []}, "Received: an empty list"),
        ({"instances": PNG}, "`instances` must be a list"),
        ({"instances": [PNG, {"image_bytes": PNG}]}, "all objects of named inputs, or all"),
        ({"instances": [{"images": PNG}]}, "must have `image_bytes`. Received: 'images'"),
        ({"instances": [PNG, "abc"]}, "Received: a string as image 1"),
        ({"instances": [PNG, {"b64": 1}]}, "as image 1"),
        ({"instances": [PNG, {"b64": "%%%%"}]}, "image 1 is no valid base64"),
        ({"instances": [PNG, {"b64": "é"}]}, "image 1 is no valid base64"),
        (
            {"instances": [PNG, b64(b"")]},
            "image 1 is no JPEG, PNG, GIF, BMP or WebP file: received 0 bytes",
        ),
        (
            {"instances": [PNG, b64(b"II*\0abc")]},
            "image 1 is no JPEG, PNG, GIF, BMP or WebP file: received 7 bytes",
        ),
        (
            {"instances": [PNG, b64(b"\xff\xd8\xff")]},
            "image 1 cannot be decoded: received a JPEG file of 3 bytes",
        ),
        ({"inputs": PNG}, "`image_bytes` must be a list"),
        ({"inputs": {}}, "must have `image_bytes`. Received: none"),
        ({"inputs": None}, "`image_bytes` must be a list"),
        ({"signature_name": "encode", "inputs": []}, "Received: shape [0]"),
        ({"signature_name": "encode", "inputs": [[[0]]]}, "Received: shape [1, 1, 1]"),
        ({"signature_name": "encode", "inputs": [DOT]}, "Received: shape [1, 1, 1, 1, 3]"),
        ({"signature_name": "encode", "inputs": [[[[0, 0]]]]}, "shape [1, 1, 1, 2]"),
        ({"signature_name": "encode", "inputs": [[[[]]]]}, "shape [1, 1, 1, 0]"),
        ({"signature_name": "encode", "instances": [DOT[0], DOT[0] * 2]}, "lists of 1 and of 2"),
        ({"signature_name": "encode", "inputs": [[[[0, 0, 0]], 1]]}, "a list beside 1"),
        *(
            ({"signature_name": "encode", "inputs": [[[[0, value, 0]]]]}, f"Received: {said}")
            for value, said in [
                (256, "256"),
                (-1, "-1"),
                (0.5, "0.5"),
                (2.0, "2.0"),
                (1e300, "1e+300"),
                (10**30, "1000000000000000000000000000000"),
                (True, "True"),
                (None, "None"),
                ("a", "'a'"),
                ({"b64": "AAAA"}, "{'b64': 'AAAA'}"),
            ]
        ),
        *(
            ({"signature_name": "search_bytes", "inputs": {"image_bytes": [PNG], "k": k}}, "`k` m")
            for k in (0, -1, 1.5, True, None, "1", 2**31, [1, 1], [], [0], [[1]], {})
        ),
        (
            {"signature_name": "search_bytes", "inputs": {"image_bytes": [PNG] * 2, "k": [1, 2]}},
            "the same for all images",
        ),
        ({"signature_name": "search_bytes", "inputs": [PNG]}, "an object with `image_bytes` and"),
        ({"signature_name": "search_bytes", "instances": [PNG]}, "an object with `image_bytes`"),
        ({"instances": [PNG] * 1025}, "at most 1,024 images. Received: 1,025"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_what_is_malformed_is_refused_in_words(predict, value, message):
    status, answer = predict(value)
    assert (status, list(answer)) == (400, ["error"])
    assert message in answer["error"]
    assert "{{" not in answer["error"]  # no nodes of graphs


@pytest.mark.parametrize("content_type", ["application/json", "text/plain; charset=utf-8", ""])
def test_json_needs_no_content_type_but_files_are_refused(predict, files, content_type):
    value = {"instances": [b64(files["png"])]}
    assert predict(value, content_type=content_type)[0] == 200
    status, answer = predict(files["png"], content_type="image/png")
    assert (status, answer["error"][:22]) == (415, "the body must be JSON,")
    assert predict(value, content_encoding="gzip")[0] == 415


@pytest.mark.parametrize("name", ["jpeg", "png", "gif", "bmp", "webp"])
def test_a_file_that_is_cut_off_has_no_code_that_looks_right(predict, files, name):
    contents = files[name]
    for length in {1, 3, 8, 20, 40, len(contents) // 2}:
        status, answer = predict({"instances": [PNG, b64(contents[:length])]})
        assert status == 400, length
        assert answer["error"].startswith("image 1")


def test_an_image_of_too_many_pixels_is_refused(predict, files):
    png = bytearray(files["png"])
    for side in (10_001, 2**31 - 1):
        png[16:24] = side.to_bytes(4, "big") * 2
        png[29:33] = zlib.crc32(png[12:29]).to_bytes(4, "big")
        status, answer = predict({"instances": [b64(bytes(png))]})
        assert (status, answer["error"][:31]) == (400, "image 0 has too many pixels, mo")


def test_a_bad_image_after_the_first_batch_has_its_number_in_the_request(predict):
    status, answer = predict({"instances": [*[PNG] * 35, b64(b"no image"), PNG]})
    assert (status, answer["error"][:12]) == (400, "image 35 is ")


def test_no_images_have_no_codes(predict):
    _, answer = predict({"inputs": []})
    assert answer["outputs"] == {"codes": [], "relaxed_codes": [], "class_ids": []}
    inputs = {"image_bytes": [], "k": 3}
    _, answer = predict({"inputs": inputs, "signature_name": "search_bytes"})
    assert answer["outputs"] == {"ids": [], "distances": [], "names": [], "codes": []}


def test_without_an_index_nothing_is_searched(model, files):
    with served(App(Service(model, "photos"))) as url:
        address = f"{url}/v1/models/photos:predict"
        value = {"signature_name": "search_bytes", "inputs": {"image_bytes": [], "k": 1}}
        status, answer = post(address, value)
        assert status == 400
        assert "--index" in answer["error"]
        assert post(address, {"instances": [b64(files["png"])]})[0] == 200


def test_items_without_names_and_an_empty_index_are_searched(model, files):
    index = HammingIndex(12)
    service = Service(model, "photos", ImageIndex(index, Origin()))
    value = {"signature_name": "search_bytes", "instances": [{"image_bytes": PNG, "k": 2}]}
    with served(App(service)) as url:
        address = f"{url}/v1/models/photos:predict"
        _, answer = post(address, value)
        assert answer["predictions"][0]["ids"] == []
        index.add(np.zeros((1, 2), "uint8"), ids=[2**62])
        index.add(np.zeros((1, 2), "uint8"), ids=[2**62 + 1], names=["\udce9.png"])
        _, answer = post(address, value)
        assert answer["predictions"][0]["ids"] == [2**62, 2**62 + 1]
        assert answer["predictions"][0]["names"] == ["", "\udce9.png"]


def test_an_answer_that_would_not_fit_is_refused(predict, service, monkeypatch):
    monkeypatch.setattr("tfhash.experiments.serving.service.MOST_FOUND", 21)
    inputs = {"image_bytes": [PNG] * 3, "k": 7}
    assert predict({"signature_name": "search_bytes", "inputs": inputs})[0] == 200
    inputs["k"] = 8
    status, answer = predict({"signature_name": "search_bytes", "inputs": inputs})
    assert (status, "24 items. Send fewer images" in answer["error"]) == (400, True)


def test_a_body_that_is_too_large_is_refused(service):
    with served(App(service, most_bytes=1000)) as url:
        address = f"{url}/v1/models/photos:predict"
        assert post(address, {"instances": [PNG]})[0] == 200
        status, answer = post(address, b"x" * 1001)
        assert (status, "at most 1,000 bytes" in answer["error"]) == (413, True)
        # Without an announced length, too.
        head = "POST /v1/models/photos:predict HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        finish = exchange(url, f"{head}Transfer-Encoding: chunked\r\n\r\n")
        answer = finish(b"400\r\n" + b"x" * 1024 + b"\r\n0\r\n\r\n")
        assert answer.startswith("HTTP/1.1 413")


@pytest.mark.parametrize(
    "element", [b"{}", b'"a"', b"[]", b'{"b64":""}'], ids=["objects", "strings", "lists", "files"]
)
def test_json_that_would_take_far_more_memory_than_its_bytes_is_refused(
    predict, monkeypatch, element
):
    monkeypatch.setitem(json_format._MOST_OF, "[", 5000)
    monkeypatch.setattr(json_format, "_parse", lambda body: pytest.fail("it was parsed"))
    body = b'{"signature_name":"encode","inputs":[%s]}' % b",".join([element] * 8000)
    status, answer = predict(body)
    assert (status, "1,024 images" in answer["error"]) == (413, True)


@pytest.mark.parametrize("is_row", [True, False])
@pytest.mark.parametrize("signature", ["search", "search_bytes"])
def test_the_most_images_are_not_taken_for_too_much(signature, is_row):
    name, image = {"search": ("images", DOT[0]), "search_bytes": ("image_bytes", PNG)}[signature]
    count = json_format.MOST_IMAGES
    value = {"instances": [{name: image, "k": 1}] * count}
    if not is_row:
        value = {"inputs": {name: [image] * count, "k": [1] * count}}
    body = json.dumps({"signature_name": signature, **value}).encode()
    assert len(json_format.read(body, json_format.SEARCH)) == count


def test_the_most_pixels_that_fit_are_not_taken_for_too_much():
    # Nothing is shorter than black. Not parsed, which would take a gigabyte.
    image = json.dumps([[[0, 0, 0]] * 32] * 32, separators=(",", ":")).encode()
    count = MOST_BYTES // (len(image) + 1)
    assert count * image.count(b"[") < json_format.MOST_LISTS
    gray = json.dumps([[[255]] * 224] * 224).encode()
    assert 190 * gray.count(b"[") < json_format.MOST_LISTS


def test_one_request_is_read_at_a_time(service, monkeypatch):
    read, lock, overlaps = service.read, threading.Lock(), []

    def watched(body):
        overlaps.append(not lock.acquire(blocking=False))
        time.sleep(0.05)
        if not overlaps[-1]:
            lock.release()
        return read(body)

    monkeypatch.setattr(service, "read", watched)
    with served(App(service)) as url, concurrent.futures.ThreadPoolExecutor(4) as threads:
        ask = functools.partial(post, f"{url}/v1/models/photos:predict")
        assert [status for status, _ in threads.map(ask, [{"instances": [PNG]}] * 4)] == [200] * 4
    assert overlaps == [False] * 4


@pytest.mark.parametrize("limit", [{"most_requests": 1}, {"most_bytes_at_once": 1500}])
def test_requests_beyond_what_the_server_takes_are_sent_away_to_come_later(service, limit):
    body = json.dumps({"instances": [PNG]}).encode().ljust(1000)
    head = "POST /v1/models/photos:predict HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    head += f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    with served(App(service, **limit)) as url:
        finish = exchange(url, head, body[:-1])
        # Until the first one has arrived, which is not known here, the second may be answered.
        for _ in range(1000):
            answer = exchange(url, head, body)()
            if not answer.startswith("HTTP/1.1 200"):
                break
        assert answer.startswith("HTTP/1.1 503")
        assert "retry-after: 1" in answer.lower()
        assert "again later" in answer
        assert finish(body[-1:]).startswith("HTTP/1.1 200")
        assert exchange(url, head, body)().startswith("HTTP/1.1 200")


def test_a_fault_of_the_server_shows_no_code_to_the_client(model, monkeypatch, capsys):
    service = Service(model, "photos")
    monkeypatch.setattr(service, "encode", lambda images: 1 / 0)
    with served(App(service)) as url:
        status, answer = post(f"{url}/v1/models/photos:predict", {"instances": [PNG]})
    assert (status, answer) == (500, {"error": "the server failed (ZeroDivisionError)"})
    assert capsys.readouterr().err == "tfhash serve: error: ZeroDivisionError: division by zero\n"


@pytest.mark.parametrize(
    ("host", "is_local", "status"),
    [
        ("localhost:8501", True, 200),
        ("127.0.0.1", True, 200),
        ("[::1]:8501", True, 200),
        ("photos.example", True, 403),
        ("10.0.0.1", True, 403),
        ("photos.example", False, 200),
    ],
)
def test_a_local_server_answers_to_local_names_alone(service, host, is_local, status):
    with served(App(service, is_local=is_local)) as url:
        address = f"{url}/v1/models/photos:predict"
        assert post(address, {"instances": [PNG]}, host=host)[0] == status
        health = requests.get(f"{url}/healthz", headers={"host": host}, timeout=60)
        assert health.status_code == 200


@pytest.mark.parametrize(
    ("origin", "is_local", "status"),
    [
        ("http://localhost:3000", True, 200),
        ("http://127.0.0.1", True, 200),
        ("http://[::1]:3000", True, 200),
        ("https://photos.example", True, 403),
        ("http://localhost.photos.example", True, 403),
        ("null", True, 403),
        ("http://[", True, 403),
        ("", True, 403),
        ("https://photos.example", False, 200),
    ],
)
def test_a_local_server_answers_to_no_web_page_of_elsewhere(service, origin, is_local, status):
    with served(App(service, is_local=is_local)) as url:
        address = f"{url}/v1/models/photos"
        value = {"instances": [PNG]}
        sent = post(f"{address}:predict", value, origin=origin, content_type="text/plain")
        assert sent[0] == status


def test_a_socket_is_known_to_be_tcp():
    # Otherwise asyncio lets each answer wait for the last one's receipt.
    with running.listen("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP
