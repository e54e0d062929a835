"""`tfhash search --asymmetric` ranks by the expected Hamming distance of the relaxed query."""

import csv
import io
import json
import os

import numpy as np
import pytest
from commands import error_of
from PIL import Image

from tfhash.cli import main
from tfhash.experiments import (
    ImageIndex,
    RunDirectory,
    index_images,
    search_picture,
    search_results,
    searching,
)

pytestmark = pytest.mark.usefixtures("models_are_loaded_once")


@pytest.fixture(scope="module")
def index(trained, tmp_path_factory):
    """Path of an index of 20 photos."""
    folder = tmp_path_factory.mktemp("photos")
    pixels = np.random.default_rng(0).integers(0, 256, (20, 8, 8), "uint8")
    for name, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{name}.png")
    path = tmp_path_factory.mktemp("index") / "photos.index"
    model = RunDirectory.of_model(trained[0]).load_model()
    index_images(folder, model, path, model_path=trained[0])
    return path


@pytest.fixture(scope="module")
def query(index):
    """Path of a photo of the index."""
    return os.path.join(ImageIndex.load(index).origin.folder, "3.png")


@pytest.fixture(scope="module")
def queries(index, query):
    return searching.queries_of_images([query], ImageIndex.load(index))


@pytest.fixture
def expected(index, queries):
    """The five nearest: distances in words, and names."""
    loaded = ImageIndex.load(index).index
    codes, ids = loaded.items()
    signs = 2.0 * np.unpackbits(codes, axis=1, count=9, bitorder="little") - 1
    distances = (9 - signs @ queries.relaxed[0].astype("float64")) / 2
    order = np.lexsort((ids, distances.astype("float32")))[:5]
    return [(f"{distances[i]:.2f}", name) for i, name in zip(order, loaded.names_of(ids[order]))]


def test_the_command_ranks_images_and_draws_them_by_expected_distance(
    index, query, expected, tmp_path, capsys, monkeypatch
):
    captions = []
    plot = search_picture.plots.plot_neighbors
    monkeypatch.setattr(
        search_picture.plots,
        "plot_neighbors",
        lambda *given: captions.extend(given[3][0]) or plot(*given),
    )
    command = ["search", f"--index={index}", f"--image={query}", "-k=5", "--asymmetric"]
    capsys.readouterr()
    assert main([*command, "--format=csv", f"--picture={tmp_path / 'found.png'}"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["distance"], row["name"]) for row in rows] == expected
    assert captions == [distance for distance, _ in expected[: len(captions)]]
    assert (tmp_path / "found.png").exists()


def test_distances_have_two_decimals_in_tables_and_json(index, queries, expected, tmp_path):
    found = searching.search(ImageIndex.load(index), queries, k=5, asymmetric=True)
    lines = search_results.table(found)
    assert lines[0] == "the 5 nearest of 20 images, codes of 9 bits, by expected Hamming distance"
    assert [tuple(line.split()) for line in lines[4:9]] == expected
    search_results.write(found, "json", tmp_path / "found.json")
    written = json.loads((tmp_path / "found.json").read_text())
    assert written["asymmetric"]
    items = written["queries"][0]["items"]
    assert [(item["distance"], item["name"]) for item in items] == [
        (float(distance), name) for distance, name in expected
    ]


def test_relaxed_queries_have_the_codes_that_the_model_gives(trained, queries, query):
    model = RunDirectory.of_model(trained[0]).load_model()
    pixels = np.asarray(Image.open(query))[None]
    np.testing.assert_allclose(queries.relaxed, model.predict(pixels, verbose=0), atol=1e-6)
    np.testing.assert_array_equal(queries.codes, model.encode(pixels))


def test_images_that_are_as_near_as_the_last_one_are_noted(index, queries):
    """Copies have equal expected distances."""
    loaded = ImageIndex.load(index)
    loaded.index.add(np.repeat(queries.codes, 3, axis=0), names=["a", "b", "c"])
    (answer,) = searching.search(loaded, queries, k=2, asymmetric=True).answers
    first, second = answer.items
    assert first.distance == second.distance > 0
    assert f"more images are at distance {first.distance:.2f}, as the last one" in answer.note


def test_what_has_no_relaxed_code_is_refused(index, capsys):
    loaded = ImageIndex.load(index)
    queries = searching.Queries(loaded.index.codes[:1], ["a"])
    with pytest.raises(ValueError, match="needs queries that are images"):
        searching.search(loaded, queries, asymmetric=True)
    both = searching.Queries(queries.codes, ["a"], relaxed=np.zeros((1, 9), "float32"))
    with pytest.raises(ValueError, match="Leave out `radius`"):
        searching.search(loaded, both, radius=2, asymmetric=True)
    for arguments, message in (
        (["--codes=a.npz"], "--asymmetric needs --image: packed codes do not say"),
        (["--image=a.png", "--radius=2"], "--asymmetric and --radius exclude each other. Give --k"),
    ):
        command = "search", "--index=i", *arguments, "--asymmetric"
        assert message in error_of(capsys, *command, status=2)
