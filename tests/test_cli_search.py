"""`tfhash search` finds the images of an index that are nearest to a query."""

import csv
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from commands import error_of
from PIL import Image

from tfhash.cli import main
from tfhash.cli.registry import find
from tfhash.experiments import ImageIndex, RunDirectory, search_picture, searching
from tfhash.index import HammingIndex

ODD_NAMES = ['=it\'s "b", $x$.png', "naïve — 写真.png", "two\nlines.png", os.fsdecode(b"\xe9.png")]

pytestmark = pytest.mark.usefixtures("models_are_loaded_once")


@pytest.fixture
def photos(make_folder):
    folder = make_folder()
    for i, name in enumerate(ODD_NAMES):
        Image.new("RGB", (12, 8), (0, 60 * i, 255)).save(folder / name)
    return folder


@pytest.fixture
def index(photos, run_directory, tmp_path, capsys):
    """Path of an index of the photos, without tfhash index, which has tests of its own."""
    from tfhash.experiments import index_images

    model = RunDirectory.of_model(run_directory).load_model()
    path = tmp_path / "photos.index"
    index_images(photos, model, path, model_path=run_directory)
    return path


@pytest.fixture
def codes_index(tmp_path, rng):
    """Path of an index of codes, the codes, and a file with five of them as queries."""
    codes = rng.integers(0, 256, (200, 4), "uint8")
    codes[:23] = codes[0]
    index = HammingIndex(32, model="m")
    index.add(codes, names=[f"{i}.png" for i in range(200)])
    index.save(tmp_path / "codes.index")
    np.savez(tmp_path / "queries.npz", codes=codes[:50:10], bits=32, model="m")
    return tmp_path / "codes.index", codes, tmp_path / "queries.npz"


def search_json(capsys, *arguments):
    capsys.readouterr()
    assert main(["search", *map(str, arguments), "--format=json"]) == 0
    return json.loads(capsys.readouterr().out)


def distances_to(codes, query):
    return np.unpackbits(codes ^ query, axis=1).sum(axis=1)


def test_an_image_finds_itself_and_the_nearest_in_the_order_of_distance_and_id(
    index, photos, capsys
):
    query = photos / "dark" / "3.png"
    found = search_json(capsys, f"--index={index}", f"--image={query}", "-k", "28")
    (answer,) = found["queries"]
    assert (found["images"], found["bits"], found["k"], found["radius"]) == (28, 9, 28, None)
    assert answer["query"] == str(query)
    loaded = ImageIndex.load(index).index
    codes, ids = loaded.items()
    own = codes[loaded.names.index("dark/3.png")]
    expected = sorted(zip(distances_to(codes, own).tolist(), ids.tolist()))
    assert [(item["distance"], item["id"]) for item in answer["items"]] == expected
    names = dict(zip(ids.tolist(), loaded.names))
    assert [item["name"] for item in answer["items"]] == [names[i] for _, i in expected]
    assert set(ODD_NAMES) < set(names.values())


def test_images_are_given_one_by_one_by_commas_or_by_folder(index, photos, capsys):
    first, second = photos / "dark" / "3.png", photos / "light" / "5.png"
    odd = [photos / name for name in ODD_NAMES]
    by_flag = search_json(capsys, f"--index={index}", f"--image={first}", f"--image={second}")
    by_comma = search_json(capsys, f"--index={index}", f"--image={first},{second}")
    assert by_flag == by_comma
    assert [answer["query"] for answer in by_flag["queries"]] == [str(first), str(second)]
    # A name with a comma is a name.
    found = search_json(capsys, f"--index={index}", *(f"--image={path}" for path in odd))
    assert [answer["query"] for answer in found["queries"]] == list(map(str, odd))
    (photos / "dark" / "notes.txt").write_text("not an image")
    of_folder = search_json(capsys, f"--index={index}", f"--image={photos / 'dark'}", "--k=3")
    assert len(of_folder["queries"]) == 12
    assert {len(answer["items"]) for answer in of_folder["queries"]} == {3}


def test_the_table_shows_names_on_one_line_and_says_which_ties_are_cut(codes_index, capsys):
    path, codes, queries = codes_index
    command = ["search", f"--index={path}", f"--codes={queries}"]
    assert main([*command, "-k=10"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "the 10 nearest of 200 images, codes of 32 bits"
    assert lines[1:6] == ["", "0", "  distance  name", "         0  0.png", "         0  1.png"]
    assert "  23 images are at distance 0; 10 shown, in the order of ids" in lines
    assert "Codes that only tell the class" in lines[-1]
    # All 23 fit: nothing is cut, or images at another distance are.
    assert main([*command, "-k=23"]) == 0
    assert "at distance 0" not in capsys.readouterr().out
    ranked = np.sort(distances_to(codes, codes[30]))
    cut = next(k for k in range(2, 50) if ranked[k] == ranked[k - 1])
    assert main([*command, f"--k={cut}"]) == 0
    assert f"more images are at distance {ranked[cut]}, as the" in capsys.readouterr().out


@pytest.mark.parametrize(("distances", "is_tied"), [([0, 2, 2], True), ([0, 0, 2, 2], False)])
def test_a_list_of_which_more_than_half_is_a_cut_tie_is_explained(distances, is_tied):
    items = [searching.Item(distance, "a.png", 0) for distance in distances]
    assert find("search")._is_mostly_tied(searching.Answer("q", items, "cut")) == is_tied
    assert not find("search")._is_mostly_tied(searching.Answer("q", items))


def test_k_beyond_the_index_gives_all_there_is(codes_index, capsys):
    path, _, queries = codes_index
    assert main(["search", f"--index={path}", f"--codes={queries}", f"--k={10**12}"]) == 0
    printed = capsys.readouterr().out
    assert "200 images, which is all there are (1,000,000,000,000 were asked for)" in printed
    assert printed.count(".png") == 5 * 200


@pytest.mark.parametrize("radius", [0, 3, 10, 99])
def test_a_radius_gives_all_within_it(codes_index, capsys, radius):
    path, codes, queries = codes_index
    found = search_json(capsys, f"--index={path}", f"--codes={queries}", f"--radius={radius}")
    assert (found["k"], found["radius"]) == (None, radius)
    for row, answer in zip(range(0, 50, 10), found["queries"]):
        distances = distances_to(codes, codes[row])
        expected = sorted((d, i) for i, d in enumerate(distances.tolist()) if d <= radius)
        assert [(item["distance"], item["id"]) for item in answer["items"]] == expected


def test_nothing_within_the_radius_is_said(codes_index, tmp_path, capsys):
    path, codes, _ = codes_index
    np.save(tmp_path / "query.npy", ~codes[0])
    command = ["search", f"--index={path}", f"--codes={tmp_path / 'query.npy'}"]
    assert main([*command, "--radius=0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["all within 0 bits among 200 images, codes of 32 bits", "", "0", "  no images"]


def test_csv_and_json_hold_the_names_as_they_are(index, photos, tmp_path, capsys):
    command = ["search", f"--index={index}", f"--image={photos}", "--k=28"]
    for suffix in ("csv", "json"):
        assert main([*command, f"--output={tmp_path / f'found.{suffix}'}"]) == 0
    printed = capsys.readouterr().out
    assert "the 28 nearest of 28 images, codes of 9 bits" in printed
    assert f"wrote {tmp_path / 'found.csv'}" in printed
    with open(
        tmp_path / "found.csv", encoding="utf-8", errors="surrogateescape", newline=""
    ) as file:
        rows = list(csv.DictReader(file))
    found = json.loads((tmp_path / "found.json").read_text("utf-8"))
    assert len(rows) == 28 * 28
    assert set(ODD_NAMES) < {row["name"] for row in rows}
    assert [(row["query"], row["name"], int(row["distance"]), int(row["id"])) for row in rows] == [
        (answer["query"], item["name"], item["distance"], item["id"])
        for answer in found["queries"]
        for item in answer["items"]
    ]
    assert [int(row["rank"]) for row in rows] == list(range(1, 29)) * 28


def test_csv_on_standard_output_is_nothing_else(codes_index, capsys):
    path, _, queries = codes_index
    assert main(["search", f"--index={path}", f"--codes={queries}", "--format=csv"]) == 0
    printed = capsys.readouterr()
    rows = list(csv.reader(printed.out.splitlines()))
    assert rows[0] == ["query", "rank", "distance", "name", "id"]
    assert len(rows) == 1 + 5 * 10
    # What is not shown is said beside it.
    assert "23 images are at distance 0; 10 shown" in printed.err


@pytest.mark.parametrize("suffix", ["npz", "npy"])
def test_packed_codes_are_searched_without_tensorflow_and_keras(codes_index, tmp_path, suffix):
    path, codes, queries = codes_index
    if suffix == "npy":
        queries = tmp_path / "queries.npy"
        np.save(queries, codes[:50:10])
    program = (
        "import sys; from tfhash.cli import main; print(main(sys.argv[1:]), "
        "[name for name in ('tensorflow', 'keras', 'jax', 'matplotlib') if name in sys.modules])"
    )
    arguments = ["search", f"--index={path}", f"--codes={queries}", "--k=3"]
    finished = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True
    )
    assert finished.stdout.splitlines()[-1] == "0 []"
    assert "0.png" in finished.stdout


def test_the_picture_shows_queries_and_what_was_found(index, photos, tmp_path, capsys, monkeypatch):
    drawn = []
    plot = search_picture.plots.plot_neighbors

    def watched(*arguments):
        drawn.append(arguments)
        return plot(*arguments)

    monkeypatch.setattr(search_picture.plots, "plot_neighbors", watched)
    picture = tmp_path / "found.png"
    (photos / "light" / "0.png").unlink()
    odd = photos / ODD_NAMES[0]
    command = ["search", f"--index={index}", f"--image={odd}", f"--picture={picture}"]
    assert main([*command, "--k=28"]) == 0
    printed = capsys.readouterr().out
    assert "the picture shows 10 images of a query at most" in printed
    assert Image.open(picture).size[0] > 1000
    ((query,), (found,), relevant, (distances,), (query_names, (names,))) = drawn[0]
    assert relevant is None
    assert query_names == [ODD_NAMES[0]]
    assert len(found) == len(distances) == len(names) == 10
    # On white squares, in the proportions of the file.
    assert query.shape == (160, 160, 3)
    assert (query[0] == 255).all()
    assert query[80, 80].tolist() == [0, 0, 255]
    # A list for a radius is as long as it is, and what is gone is gray.
    capsys.readouterr()
    folder = [f"--image={photos}", f"--picture={picture}", "--radius=1", "--overwrite"]
    assert main(["search", f"--index={index}", *folder]) == 0
    printed = capsys.readouterr().out
    assert "the picture shows 10 of 27 queries" in printed
    names = [name for row in drawn[1][4][1] for name in row]
    pictures = [found for row in drawn[1][1] for found in row]
    assert ("1 images are gray" in printed) == any(picture is None for picture in pictures)
    assert len(names) == len(pictures)


def test_the_picture_finds_images_that_were_moved_when_told_where(index, photos, tmp_path, capsys):
    query = shutil.copy(photos / "dark" / "1.png", tmp_path / "query.png")
    photos.rename(tmp_path / "moved")
    picture = tmp_path / "found.png"
    command = ["search", f"--index={index}", f"--image={query}", f"--picture={picture}"]
    assert f"there is no folder {photos}" in (error := error_of(capsys, *command))
    assert "Give --images" in error
    assert not picture.exists()
    assert main([*command, f"--images={tmp_path / 'moved'}"]) == 0
    assert "gray" not in capsys.readouterr().out
    assert picture.exists()


def test_another_model_is_refused_and_a_moved_one_is_taken(
    index, photos, run_directory, make_model, tmp_path, capsys
):
    query = f"--image={photos / 'dark' / '1.png'}"
    command = ["search", f"--index={index}", query]
    make_model(bits=9, num_classes=10).save(tmp_path / "other.keras")
    other = f"--model={tmp_path / 'other.keras'}"
    assert "is another model than that of the index" in error_of(capsys, *command, other)
    copy = shutil.copy(run_directory / "model.keras", tmp_path / "copy.keras")
    assert main([*command, f"--model={copy}"]) == 0
    loaded = ImageIndex.load(index, with_stamps=True)
    loaded.origin = searching.dataclasses.replace(loaded.origin, model_path="/no/where")
    loaded.save(index)
    assert "there is no model /no/where. Give --model" in error_of(capsys, *command)
    # An index of codes of unknown make is searched by a model of as many bits.
    plain = HammingIndex(9)
    plain.add(loaded.index.codes)
    plain.save(tmp_path / "plain.index")
    command = ["search", f"--index={tmp_path / 'plain.index'}", query]
    assert "does not say where its model is" in error_of(capsys, *command)
    capsys.readouterr()
    assert main([*command, f"--model={copy}"]) == 0
    assert "--model is taken on trust" in capsys.readouterr().out
    make_model(bits=10, num_classes=10).save(tmp_path / "longer.keras")
    longer = f"--model={tmp_path / 'longer.keras'}"
    assert "must make codes of 9 bits" in error_of(capsys, *command, longer)


def test_codes_of_another_model_or_length_are_refused(codes_index, tmp_path, capsys):
    path, codes, queries = codes_index
    command = ["search", f"--index={path}", f"--codes={queries}"]
    np.savez(queries, codes=codes, bits=32, model="n")
    assert "come from another model" in error_of(capsys, *command)
    np.savez(queries, codes=codes, bits=30 + 1, model="m")
    assert "padding bits" in error_of(capsys, *command)
    np.savez(queries, codes=codes[:, :2], bits=16, model="m")
    assert "must have 32 bits" in error_of(capsys, *command)
    np.savez(queries, codes=codes[:, :2])
    assert "of 32 bits must be packed" in error_of(capsys, *command)
    queries.unlink()
    assert f"There is no {queries}" in error_of(capsys, *command)


def test_missing_and_damaged_indexes_are_named(codes_index, tmp_path, capsys):
    path, _, queries = codes_index
    missing = tmp_path / "missing.index"
    error = error_of(capsys, "search", f"--index={missing}", f"--codes={queries}")
    assert f"there is no index {missing}" in error
    assert "is not an index" in error_of(
        capsys, "search", f"--index={queries}", f"--codes={queries}"
    )
    path.write_bytes(path.read_bytes()[:-1])
    assert "is cut off" in error_of(capsys, "search", f"--index={path}", f"--codes={queries}")


@pytest.mark.parametrize("format", ["table", "json", "csv"])
@pytest.mark.parametrize(
    ("kind", "model", "is_known"),
    [("npy", "m", False), ("npz", "m", False), ("npz", "m", True), ("npy", "", False)],
)
def test_codes_of_a_model_that_is_not_known_are_searched_with_a_note(
    tmp_path, capsys, format, kind, model, is_known
):
    index = HammingIndex(8, model=model)
    index.add(np.array([[1], [2]], "uint8"))
    index.save(tmp_path / "index")
    codes, path = np.array([[1]], "uint8"), tmp_path / f"queries.{kind}"
    if kind == "npy":
        np.save(path, codes)
    else:
        np.savez(path, codes=codes, bits=8, **({"model": "m"} if is_known else {}))
    command = ["search", f"--index={tmp_path / 'index'}", f"--codes={path}", f"--format={format}"]
    assert main(command) == 0
    printed = capsys.readouterr()
    # An index without a model has nothing to compare.
    if model and not is_known:
        assert printed.err.startswith(f"{path} does not say which model made its codes")
        assert len(printed.err.splitlines()) == 1
    else:
        assert printed.err == ""
    assert "does not say" not in printed.out


def test_queries_that_are_missing_broken_or_no_images_are_named(index, photos, tmp_path, capsys):
    command = ["search", f"--index={index}"]
    assert "there is no image gone.png" in error_of(capsys, *command, "--image=gone.png")
    (tmp_path / "empty").mkdir()
    assert "no images below" in error_of(capsys, *command, f"--image={tmp_path / 'empty'}")
    broken = photos / "dark" / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    assert f"{broken}: " in error_of(capsys, *command, f"--image={broken}")
    assert "1 of 13 image files" in error_of(capsys, *command, f"--image={photos / 'dark'}")
    assert main([*command, f"--image={photos / 'dark'}", "--skip_broken"]) == 0
    printed = capsys.readouterr().out
    assert "left out 1 broken file" in printed
    assert str(broken) in printed


def test_an_empty_index_has_no_images(tmp_path, capsys):
    HammingIndex(12).save(tmp_path / "empty.index")
    np.save(tmp_path / "query.npy", np.zeros((1, 2), "uint8"))
    command = ["search", f"--index={tmp_path / 'empty.index'}", f"--codes={tmp_path / 'query.npy'}"]
    for limit in ("--k=3", "--radius=3"):
        assert main([*command, limit]) == 0
        assert "no images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "missing --index"),
        (["--index=i"], "give either --image or --codes"),
        (["--index=i", "--image=a", "--codes=c"], "give either --image or --codes"),
        (["--index=i", "--image=a", "--k=0"], "--k=0"),
        (["--index=i", "--image=a", "--radius=-1"], "--radius=-1"),
        (["--index=i", "--image=a", "-k=1", "--radius=1"], "--k and --radius exclude each other"),
        (["--index=i", "--codes=c", "--picture=p.png"], "--picture needs --image"),
        (["--index=i", "--codes=c", "--model=m"], "--model needs --image"),
        (["--index=i", "--image=a", "--images=p"], "--images needs --picture"),
        (["--index=i", "--image=a", "--output=o.txt"], "must end in .csv or .json"),
        (["--index=i", "--image=a", "--output=o.csv", "--format=json"], "does not suit"),
        (["--index=i", "--image=a", "--output=o.csv", "--format=table"], "a table is printed"),
        (["--index=i", "--image=a", "--format=xml"], "--format=xml"),
        (["--index=i", "--image=a", "--picture=p.txt"], "--picture must end in .png"),
    ],
)
def test_wrong_usage_of_search_says_what_is_wrong(capsys, arguments, message):
    assert message in error_of(capsys, "search", *arguments, status=2)


@pytest.mark.parametrize("name", ["output", "picture"])
def test_existing_files_are_kept(tmp_path, capsys, name):
    path = tmp_path / ("found.csv" if name == "output" else "found.png")
    path.write_text("mine")
    arguments = ["--index=i", "--image=a", f"--{name}={path}"]
    assert "exists. Pass --overwrite" in error_of(capsys, "search", *arguments, status=2)
    assert path.read_text() == "mine"


def test_python_searches_too(index, photos):
    loaded = ImageIndex.load(index)
    queries = searching.queries_of_images([photos / "dark" / "3.png"], loaded)
    (answer,) = searching.search(loaded, queries, k=28).answers
    assert (answer.items[0].distance, len(answer.items)) == (0, 28)
    assert photos / "dark" / "3.png" in {
        photos / item.name for item in answer.items if item.distance == 0
    }
