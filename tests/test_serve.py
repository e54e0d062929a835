"""`tfhash serve` answers as TensorFlow Serving does, with the codes of Keras and what search finds."""

import concurrent.futures
import json
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import requests
from commands import error_of
from PIL import Image
from serving_cases import b64, exchange, file_of, files_of_all_formats, post, served

from tfhash.cli.serve import _welcome
from tfhash.data import decode_and_resize
from tfhash.data.images import resize_to
from tfhash.experiments import ImageIndex, index_images, searching
from tfhash.experiments.code_files import Origin
from tfhash.experiments.serving import running
from tfhash.experiments.serving.app import App
from tfhash.experiments.serving.service import Service
from tfhash.serving import Client, ServingError

SHAPE = (8, 8, 3)


@pytest.fixture(scope="module")
def model(make_model):
    return make_model(image_shape=SHAPE)


@pytest.fixture(scope="module")
def model_path(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "photos.keras"
    model.save(path)
    return path


@pytest.fixture(scope="module")
def files():
    return files_of_all_formats(np.random.default_rng(0))


@pytest.fixture(scope="module")
def folder(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for name, contents in files.items():
        (folder / f"{name}.{name.split()[-1]}").write_bytes(contents)
    return folder


@pytest.fixture(scope="module")
def index_path(model, model_path, folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("index") / "photos.index"
    index_images(folder, model, path, model_path=str(model_path))
    return path


@pytest.fixture(scope="module")
def service(model, index_path):
    return Service(model, "photos", ImageIndex.load(index_path))


@pytest.fixture(scope="module")
def url(service):
    with served(App(service)) as url:
        yield url


@pytest.fixture(scope="module")
def predict(url):
    return lambda value, **headers: post(f"{url}/v1/models/photos:predict", value, **headers)


@pytest.fixture
def expected(model, files):
    """The codes of the files."""
    return model.encode(np.stack([decode_and_resize(each, SHAPE) for each in files.values()]))


def codes_of(rows):
    return np.array([row["codes"] for row in rows], np.uint8)


def test_files_have_the_codes_of_keras_in_rows_and_columns(predict, files, expected):
    sent = [b64(contents) for contents in files.values()]
    for value in (
        {"instances": sent},
        {"instances": [{"image_bytes": each} for each in sent], "signature_name": "encode_bytes"},
    ):
        status, answer = predict(value)
        assert status == 200
        np.testing.assert_array_equal(codes_of(answer["predictions"]), expected)
    for inputs in (sent, {"image_bytes": sent}):
        status, answer = predict({"inputs": inputs, "signature_name": "serving_default"})
        assert status == 200
        np.testing.assert_array_equal(np.array(answer["outputs"]["codes"], np.uint8), expected)


def test_relaxed_codes_and_classes_are_those_of_keras(predict, model, files):
    _, answer = predict({"inputs": [b64(contents) for contents in files.values()]})
    images = np.stack([decode_and_resize(each, SHAPE) for each in files.values()])
    outputs = answer["outputs"]
    np.testing.assert_allclose(outputs["relaxed_codes"], model.predict(images), atol=1e-6)
    assert outputs["class_ids"] == model.classify(images).tolist()


@pytest.mark.parametrize("size", [(8, 8, 3), (5, 17, 3), (30, 8, 1), (1, 1, 3), (300, 2, 1)])
def test_pixels_of_any_size_have_the_codes_of_keras(predict, model, rng, size):
    images = rng.integers(0, 256, (3, *size)).astype("uint8")
    expected = model.encode(np.stack([resize_to(image, SHAPE) for image in images]))
    for rows in (images.tolist(), [{"images": image} for image in images.tolist()]):
        _, answer = predict({"instances": rows, "signature_name": "encode"})
        np.testing.assert_array_equal(codes_of(answer["predictions"]), expected)
    for columns in (images.tolist(), {"images": images.tolist()}):
        _, answer = predict({"inputs": columns, "signature_name": "encode"})
        np.testing.assert_array_equal(answer["outputs"]["codes"], expected)


def test_more_images_than_a_batch_holds_have_the_codes_of_keras(predict, model, rng):
    images = rng.integers(0, 256, (70, *SHAPE)).astype("uint8")
    _, answer = predict({"inputs": images.tolist(), "signature_name": "encode"})
    np.testing.assert_array_equal(answer["outputs"]["codes"], model.encode(images))


@pytest.fixture(scope="module")
def found(folder, index_path, model_path):
    """What `tfhash search` finds for each image: distances, ids and names."""
    index = ImageIndex.load(index_path)
    queries = searching.queries_of_images(sorted(folder.iterdir()), index, model_path)
    answers = searching.search(index, queries, k=99).answers
    return [[(each.distance, each.id, each.name) for each in answer.items] for answer in answers]


@pytest.mark.parametrize("k", [1, 4, 99])
def test_neighbors_are_those_of_tfhash_search(predict, folder, found, k):
    contents = [path.read_bytes() for path in sorted(folder.iterdir())]
    sent = [b64(each) for each in contents]
    expected = [items[:k] for items in found]
    for each in (k, [k] * len(sent)):
        columns = {"image_bytes": sent, "k": each}
        _, answer = predict({"inputs": columns, "signature_name": "search_bytes"})
        outputs = answer["outputs"]
        rows = zip(outputs["distances"], outputs["ids"], outputs["names"])
        assert [list(zip(*row)) for row in rows] == expected
    rows = [{"image_bytes": each, "k": k} for each in sent]
    _, answer = predict({"instances": rows, "signature_name": "search_bytes"})
    for name, column in outputs.items():
        assert [row[name] for row in answer["predictions"]] == column
    pixels = [decode_and_resize(each, SHAPE).numpy().tolist() for each in contents]
    _, answer = predict({"inputs": {"images": pixels, "k": k}, "signature_name": "search"})
    assert answer["outputs"] == outputs


def test_the_client_sends_files_bytes_and_arrays(url, folder, model, files, expected, rng):
    image = rng.integers(0, 256, (9, 30, 3)).astype("uint8")
    with Client(url, "photos", version=1, batch_size=4) as client:
        client.wait_until_ready(30)
        names = [f"{name}.{name.split()[-1]}" for name in files]
        codes = client.encode([*(folder / name for name in names), *files.values(), image])
        np.testing.assert_array_equal(codes[: len(files)], expected)
        np.testing.assert_array_equal(codes[len(files) : -1], expected)
        np.testing.assert_array_equal(codes[-1:], model.encode(resize_to(image, SHAPE)[None]))
        assert client.search([folder / names[0]], k=1).distances.tolist() == [[0]]
        assert client.encode([]).shape == (0, 2)
        metadata = client.metadata()["signatures"]
        assert metadata["encode"]["inputs"] == {"images": ("uint8", (None, None, None, 3))}
        assert metadata["search_bytes"]["outputs"]["names"] == ("string", (None, None))
        with pytest.raises(ServingError, match=r"image 1 is no .* \(image 1 is images\[1\]\)"):
            client.encode([files["png"], b"no image"])
    with (
        Client(url, "photos", version=2) as client,
        pytest.raises(ServingError, match="answered 404: there is no version '2' of 'photos'"),
    ):
        client.encode([files["png"]])


def test_status_and_versions_are_as_in_tensorflow_serving(url, predict, files):
    with Client(url, "photos") as client:
        client.wait_until_ready(0)
    value = {"instances": [b64(files["png"])]}
    status, answer = post(f"{url}/v1/models/photos/versions/1:predict", value)
    assert (status, answer) == predict(value)
    for path in ("other", "photos/versions/2", "photos/versions/x", "photos/labels/stable"):
        for method in ("", ":predict"):
            status, answer = post(f"{url}/v1/models/{path}{method}", value)
            assert status in (404, 405)
            assert answer["error"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "photos:predict", "POST"),
        ("HEAD", "photos:predict", "POST"),
        ("PUT", "photos:predict", "POST"),
        ("GET", "photos/versions/1:predict", "POST"),
        ("POST", "photos", "GET, HEAD"),
        ("POST", "photos/versions/1/metadata", "GET, HEAD"),
    ],
)
def test_another_method_is_refused_with_those_that_are_allowed(url, method, path, allowed):
    answer = requests.request(method, f"{url}/v1/models/{path}", timeout=60)
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == set(allowed.split(", "))
    if method != "HEAD":
        assert f"Received: {method}" in answer.json()["error"]


def test_another_name_is_answered_with_the_name_that_is_served(url):
    status, answer = post(f"{url}/v1/models/other:predict", {"instances": []})
    assert (status, answer["error"]) == (404, "no model 'other'. This server has 'photos'")


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_the_line_to_try_sends_a_photo_that_no_argument_holds(service, url, tmp_path, rng):
    pixels = rng.integers(0, 256, (330, 330, 3)).astype("uint8")
    contents = file_of(Image.fromarray(pixels), "PNG")
    assert len(contents) > 300_000
    (tmp_path / "photo.jpg").write_bytes(contents)
    *_, line = _welcome(service, url)
    command = ["sh", "-c", line.removeprefix("try: ")]
    printed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    (row,) = json.loads(printed.stdout)["predictions"]
    with Client(url, "photos") as client:
        np.testing.assert_array_equal(codes_of([row]), client.encode([contents]))
        np.testing.assert_array_equal([row["ids"]], client.search([contents], k=10).ids)


def test_the_health_route_answers(url):
    answer = requests.get(f"{url}/healthz", timeout=60)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_concurrent_requests_get_their_own_codes(service, model, rng):
    images = rng.integers(0, 256, (64, *SHAPE)).astype("uint8")
    expected = model.encode(images)
    encode, sizes = service.encode, []

    def watched(batch):
        sizes.append(len(batch))
        return encode(batch)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(service, "encode", watched)
        app = App(service, max_batch=8, batch_timeout=0.05)
    with served(app) as url, Client(url, "photos", batch_size=3) as client:

        def ask(i):
            count = 1 + i % 5
            return np.array_equal(client.encode(images[i : i + count]), expected[i : i + count])

        with concurrent.futures.ThreadPoolExecutor(16) as threads:
            assert all(threads.map(ask, range(60)))
    assert 3 < max(sizes) <= 8


def test_a_taken_port_and_a_foreign_address_are_said(tmp_path, capsys):
    (tmp_path / "m.keras").write_text("")  # a port is taken before a model is loaded
    model = f"--model={tmp_path / 'm.keras'}"
    with running.listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        error = error_of(capsys, "serve", model, f"--port={port}")
        assert f"cannot listen on 127.0.0.1, port {port}: Address already in use" in error
        assert "Give another --port" in error
    assert "cannot listen on 192.0.2.1" in error_of(capsys, "serve", model, "--host=192.0.2.1")


def test_an_index_whose_model_has_no_name_for_an_address_is_refused_before_it_is_loaded(
    index_path, tmp_path, capsys
):
    index = ImageIndex.load(index_path)
    for model_path, said in [
        ("my photos.keras", "from my photos.keras. Give --name"),
        (None, "--model"),
    ]:
        ImageIndex(index.index, Origin(model_path=model_path)).save(tmp_path / "photos.index")
        error = error_of(capsys, "serve", f"--index={tmp_path / 'photos.index'}", "--port=0")
        assert said in error


def test_the_model_of_another_index_is_refused(index_path, make_model, tmp_path, capsys):
    make_model(image_shape=SHAPE, seed=1).save(tmp_path / "other.keras")
    arguments = [f"--model={tmp_path / 'other.keras'}", f"--index={index_path}", "--port=0"]
    assert "is another model than that of the index" in error_of(capsys, "serve", *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --model, or --index"),
        (["--model=m", "--port=65536"], "--port=65536"),
        (["--model=m", "--name=a/b"], "--name must consist of letters, digits"),
        (["--index=i", "--name="], "name=''"),
        (["--model=my photos"], "name='my photos', from my photos. Give --name"),
        (["--model=runs/my photos.keras"], "Give --name"),
        (["--model=m", "--max_batch=0"], "--max_batch=0"),
        (["--model=m", "--batch_timeout_ms=-1"], "--batch_timeout_ms=-1"),
    ],
)
def test_wrong_usage_of_serve_says_what_is_wrong(capsys, arguments, message):
    assert message in error_of(capsys, "serve", *arguments, status=2)


def test_models_that_cannot_be_served_are_refused(model, make_model):
    with pytest.raises(ValueError, match=r"`name` must consist of letters.*name='a/b'"):
        Service(model, "a/b")
    broken = make_model(image_shape=SHAPE)
    broken.set_weights([weights * np.nan for weights in broken.get_weights()])
    with pytest.raises(ValueError, match="relaxed codes must lie in"):
        Service(broken, "photos")


def test_the_command_serves_until_it_is_told_to_stop_and_finishes_what_it_began(
    index_path, folder, files, expected
):
    command = [sys.executable, "-m", "tfhash", "serve", f"--index={index_path}", "--port=0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            first = process.stdout.readline()
            (url,) = re.findall(r"http://127.0.0.1:\d+", first)
            assert f"serving photos, codes of 12 bits, at {url}/v1/models/photos" in first
            with Client(url, "photos") as client:
                client.wait_until_ready(60)
                np.testing.assert_array_equal(client.encode(list(files.values())), expected)
                found = client.search([folder / "png.png"], k=1)
                assert found.distances.tolist() == [[0]]
            body = json.dumps({"instances": [b64(files["png"])]}).encode()
            head = "POST /v1/models/photos:predict HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            finish = exchange(url, f"{head}Content-Length: {len(body)}\r\n\r\n", body[:9])
            assert post(f"{url}/v1/models/photos:predict", body)[0] == 200
            process.send_signal(signal.SIGTERM)
            answer = finish(body[9:])
            assert answer.startswith("HTTP/1.1 200")
            assert '"codes"' in answer
            printed, errors = process.stdout.read(), process.stderr.read()
            process.wait(60)
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, "Loading the model\n")
    assert printed.splitlines()[0] == f"searching {len(files)} items"
    assert printed.splitlines()[-1] == "stopped"
