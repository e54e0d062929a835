"""`tfhash search --asymmetric` ranks by the expected Hamming distance of the relaxed query."""

import csv
import io
import json

import numpy as np
import pytest
from commands import error_of

from tfhash import codes as code_layout
from tfhash import data
from tfhash.cli import main
from tfhash.experiments import ImageIndex, RunDirectory, index_images, search_picture, searching

pytestmark = pytest.mark.usefixtures("models_are_loaded_once")


@pytest.fixture
def index(photos, run_directory, tmp_path):
    """Path of an index of the photos."""
    path = tmp_path / "photos.index"
    model = RunDirectory.of_model(run_directory).load_model()
    index_images(photos, model, path, model_path=run_directory)
    return path


def test_an_image_is_searched_by_its_relaxed_code_in_every_format(
    index, photos, run_directory, tmp_path, capsys, monkeypatch
):
    query = photos / "dark" / "3.png"
    model = RunDirectory.of_model(run_directory).load_model()
    images = data.ImageFiles("", [str(query)])
    relaxed = model.predict(images.read(images.names, model.image_shape).images([0]), verbose=0)
    loaded = ImageIndex.load(index)
    codes, ids = loaded.index.items()
    signs = 2.0 * np.unpackbits(codes, axis=1, count=9, bitorder="little") - 1
    distances = (9 - signs @ relaxed[0].astype("float64")) / 2
    order = np.lexsort((ids, distances.astype("float32")))[:5]
    expected = [
        (f"{distances[i]:.2f}", name) for i, name in zip(order, loaded.names_of(ids[order]))
    ]
    command = ["search", f"--index={index}", f"--image={query}", "-k=5", "--asymmetric"]
    capsys.readouterr()

    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "the 5 nearest of 24 images, codes of 9 bits, by expected Hamming distance"
    assert [tuple(line.split()) for line in lines[4:9]] == expected

    assert main([*command, "--format=csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["distance"], row["name"]) for row in rows] == expected

    captions = []
    plot = search_picture.plots.plot_neighbors
    monkeypatch.setattr(
        search_picture.plots,
        "plot_neighbors",
        lambda *given: captions.extend(given[3][0]) or plot(*given),
    )
    picture = tmp_path / "found.png"
    assert main([*command, "--format=json", f"--picture={picture}"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["asymmetric"]
    items = found["queries"][0]["items"]
    assert [(f"{item['distance']:.2f}", item["name"]) for item in items] == expected
    assert captions == [distance for distance, _ in expected][: len(captions)]
    assert picture.exists()


def test_images_that_are_as_near_as_the_last_one_are_noted(index, photos):
    """Copies have equal expected distances."""
    loaded = ImageIndex.load(index)
    queries = searching.queries_of_images([photos / "dark" / "3.png"], loaded)
    np.testing.assert_array_equal(queries.codes, np.asarray(code_layout.pack(queries.relaxed)))
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
