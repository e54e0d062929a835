import base64
import contextlib
import dataclasses
import http.server
import io
import json
import pathlib
import re
import shutil
import subprocess
import threading

import numpy as np
import pytest
import tensorflow as tf
from grpc_cases import grpc_server

from tfhash.export import examples
from tfhash.export.database import Database
from tfhash.export.model_card import Facts, model_card
from tfhash.export.search import ExactSearch
from tfhash.export.signature_defs import Signature, read_signatures

RESULTS = pathlib.Path(__file__).parents[1] / "benchmarks" / "results"
NAME = "my photos"
FACTS = Facts(
    bits=16,
    backbone="mlp",
    parameters=1234,
    fingerprint="0123abcd",
    image_shape=(2, 1, 1),
    class_names=("ant", "be|e"),
    items=3,
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A SavedModel whose codes are the two pixels of an image, and a photo.jpg."""
    directory = tmp_path_factory.mktemp("served")
    stored = np.array([[0, 0], [255, 255], [255, 254]], "uint8")
    module = tf.Module()
    module.database = ExactSearch(Database.of((stored, None, ["a", "b", "c"]), bits=16))

    def encode(images):
        return {"codes": tf.reshape(images, [-1, 2])}

    def decode(image_bytes):
        return tf.map_fn(
            lambda file: tf.io.decode_jpeg(file, 1)[:2, :1],
            image_bytes,
            fn_output_signature=tf.uint8,
        )

    def search(image_bytes, k):
        codes = encode(decode(image_bytes))["codes"]
        return {**module.database.nearest(codes, k), "codes": codes}

    images = tf.TensorSpec([None, 2, 1, 1], tf.uint8, "images")
    files = tf.TensorSpec([None], tf.string, "image_bytes")
    k = tf.TensorSpec(None, tf.int32, "k")
    module.encode = tf.function(encode, [images])
    module.encode_bytes = tf.function(lambda image_bytes: encode(decode(image_bytes)), [files])
    module.search_bytes = tf.function(search, [files, k])
    signatures = {
        "encode": module.encode,
        "serving_default": module.encode_bytes,
        "search_bytes": module.search_bytes,
    }
    tf.saved_model.save(module, directory, signatures)
    photo = tf.io.encode_jpeg(tf.fill([30, 20, 3], tf.constant(255, tf.uint8)))
    (directory / examples.PHOTO).write_bytes(photo.numpy())
    return directory, read_signatures(directory)


@pytest.fixture(scope="module")
def grpc_port(saved):
    pytest.importorskip("tensorflow_serving.apis.predict_pb2")
    with grpc_server(saved[0], NAME) as port:
        yield port


@pytest.fixture(scope="module")
def card(saved):
    return model_card(NAME, 7, saved[1], FACTS)


def blocks(card, language):
    return re.findall(rf"```{language}\n(.*?)```", card, re.DOTALL)


def without(signatures, *names):
    return {key: value for key, value in signatures.items() if key not in names}


@contextlib.contextmanager
def received_posts():
    """An HTTP server that notes what it is sent; yields its port and a list of paths and bodies."""
    received = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, json.loads(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever).start()
    try:
        yield server.server_port, received
    finally:
        server.shutdown()
        server.server_close()


def run_in(directory, program, monkeypatch):
    monkeypatch.chdir(directory)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(program, "example", "exec"), {})
    return dict(line.split(" ", 1) for line in printed.getvalue().splitlines())


@pytest.mark.parametrize(
    ("name", "inputs", "outputs", "command"),
    [
        ("photos", ["image_bytes"], ["class_ids"], "tfhash serve --model=RUN --name=photos"),
        (
            "photos",
            ["image_bytes", "k"],
            ["class_ids", "valid"],
            "tfhash serve --model=RUN --index=INDEX --name=photos --on_error=mask",
        ),
        ("my photos", ["image_bytes"], ["class_ids"], ""),  # which tfhash serve refuses
        ("photos", ["image_bytes"], ["codes"], ""),  # no HashingModel
        ("photos", ["features"], ["class_ids"], ""),
    ],
)
def test_a_card_names_the_tfhash_serve_that_serves_the_model(name, inputs, outputs, command):
    specs = [{key: tf.TensorSpec([None]) for key in keys} for keys in (inputs, outputs)]
    signatures = {"serving_default": Signature(*specs)}
    assert examples.serve_example(name, signatures) == command
    card = model_card(name, 7, signatures, FACTS)
    assert ("tfhash serve" in card) == bool(command)


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.parametrize("is_search", [True, False])
def test_the_rest_example_sends_the_photo(saved, is_search):
    directory, signatures = saved
    signatures = signatures if is_search else without(signatures, "search_bytes")
    *_, shell = blocks(model_card(NAME, 7, signatures, FACTS), "sh")
    with received_posts() as (port, received):
        shell = shell.replace(":8501/", f":{port}/")
        subprocess.run(["sh", "-c", shell], cwd=directory, check=True)
    photo = (directory / examples.PHOTO).read_bytes()
    expected = examples.rest_request(NAME, signatures, base64.b64encode(photo).decode())
    assert received == [expected]
    assert expected[0] == "/v1/models/my%20photos:predict"
    k = {"k": 10} if is_search else {}
    assert list(expected[1]["instances"][0]) == ["image_bytes", *k]


@pytest.mark.parametrize("is_search", [True, False])
def test_the_grpc_example_prints_what_the_model_finds(saved, grpc_port, monkeypatch, is_search):
    directory, signatures = saved
    signatures = signatures if is_search else without(signatures, "search_bytes")
    (program,) = blocks(model_card(NAME, 7, signatures, FACTS), "python")
    printed = run_in(directory, program.replace(":8500", f":{grpc_port}"), monkeypatch)
    found = {"codes": "[[255, 255]]"}
    if is_search:
        found |= {"ids": "[[1, 2, 0]]", "distances": "[[0, 1, 16]]"}
        found |= {"names": "[[b'b', b'c', b'a']]"}
    assert printed == found


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_examples_of_a_model_that_takes_no_files_send_zeros(saved, grpc_port, monkeypatch):
    directory, signatures = saved
    signatures = {"serving_default": signatures["encode"]}
    card = model_card(NAME, 7, signatures, dataclasses.replace(FACTS, image_shape=None))
    *_, shell = blocks(card, "sh")
    with received_posts() as (port, received):
        subprocess.run(["sh", "-c", shell.replace(":8501/", f":{port}/")], check=True)
    path, body = examples.rest_request(NAME, signatures, "")
    assert body["instances"] == [{"images": [[[0]], [[0]]]}]
    assert received == [(path, body)]
    (program,) = blocks(card, "python")
    program = program.replace('"serving_default"', '"encode"')
    printed = run_in(directory, program.replace(":8500", f":{grpc_port}"), monkeypatch)
    assert printed == {"codes": "[[0, 0]]"}


def test_signatures_are_told_with_types_and_shapes(card):
    rows = [line for line in card.splitlines() if line.startswith(("| input", "| output"))]
    assert [row.split(" | ")[:4] for row in rows] == [
        ["| input", "`images`", "uint8", "[n, 2, 1, 1]"],
        ["| output", "`codes`", "uint8", "[n, 2]"],
        ["| input", "`image_bytes`", "string", "[n]"],
        ["| input", "`k`", "int32", "scalar or [n]"],
        ["| output", "`codes`", "uint8", "[n, 2]"],
        ["| output", "`distances`", "int32", "[n, any]"],
        ["| output", "`ids`", "int64", "[n, any]"],
        ["| output", "`names`", "string", "[n, any]"],
        ["| input", "`image_bytes`", "string", "[n]"],
        ["| output", "`codes`", "uint8", "[n, 2]"],
    ]


def test_the_model_is_told_with_its_fingerprint_and_classes(card):
    assert card.startswith("# my photos, version 7\n")
    for row in (
        "| bits | 16 |",
        "| images (height, width, channels) | 2 x 1 x 1 |",
        "| weights | 1,234 |",
        "| classes | 2: ant, be\\|e |",
        "| items to search | 3 |",
        "| fingerprint | `0123abcd` |",
    ):
        assert f"{row}\n" in card


def test_figures_are_those_of_the_report(saved):
    report = json.loads((RESULTS / "digits-12.json").read_text())["seeds"]["0"]
    report["warnings"] = ["Few queries."]
    card = model_card(NAME, 7, saved[1], dataclasses.replace(FACTS, report=report))
    protocol, metrics = report["protocol"], report["metrics"]
    assert f"{protocol['queries']:,} queries against {protocol['database_items']:,} items" in card
    among_queries = report.get("unseen_items", {}).get("metrics", {}).get("map")
    second = "-" if among_queries is None else f"{among_queries:.4f}"
    assert f"| `map` | {metrics['map']:.4f} | {second} |" in card
    assert "Warning: Few queries." in card


def test_a_model_without_a_report_says_so(card):
    assert "Not known: the model was exported without the report of a training." in card


@pytest.mark.parametrize(
    ("output", "fact"), [("class_ids", "Fine-tuning changes the backbone"), ("codes", None)]
)
def test_what_class_ids_mean_is_told_where_there_are_some(saved, output, fact):
    signature = saved[1]["encode"]
    signature = dataclasses.replace(signature, outputs={output: tf.TensorSpec([None])})
    card = model_card(NAME, 7, {"serving_default": signature}, FACTS)
    assert ("Fine-tuning changes the backbone" in card) == (fact is not None)


@pytest.mark.parametrize(
    ("outputs", "told"),
    [
        (["codes"], None),
        (["codes", "valid"], ["codes", "relaxed_codes"]),
        (["class_ids", "valid"], ["codes", "relaxed_codes", "class_ids"]),
        (
            ["ids", "distances", "names", "valid"],
            ["codes", "relaxed_codes", "ids", "distances", "names"],
        ),
    ],
    ids=str,
)
def test_what_a_masked_file_has_is_told_where_files_are_masked(saved, outputs, told):
    specs = {name: tf.TensorSpec([None]) for name in outputs}
    signature = dataclasses.replace(saved[1]["encode"], outputs=specs)
    card = model_card(NAME, 7, {"serving_default": signature}, FACTS)
    notes = [line for line in card.splitlines() if line.startswith("- A file that cannot be read")]
    assert [re.findall(r"`(\w+)`", note) for note in notes] == (
        [] if told is None else [["valid", *told, "valid"]]
    )


@pytest.mark.parametrize(("shape", "fit"), [((224, 224, 3), "27"), ((32, 32, 3), "1,365")])
def test_the_number_of_images_that_a_message_holds_is_told(saved, shape, fit):
    card = model_card(NAME, 7, saved[1], dataclasses.replace(FACTS, image_shape=shape))
    assert f"and {fit} of {shape[0]} x {shape[1]} fit" in card
