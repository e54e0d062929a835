"""`tfhash demo` answers as search does, with a model and without, from Python and the command line."""

import os
import re
import signal
import sys
import threading
import time

import numpy as np
import pytest
import requests
from commands import error_of
from demo_cases import BITS, COPIES, PHOTOS, SHAPE, app_of, asking, id_of, write_index, write_photos
from serving_cases import file_of, files_of_all_formats, photo

from tfhash import experiments
from tfhash.cli import main
from tfhash.data import decode_and_resize
from tfhash.experiments import ImageIndex, searching
from tfhash.experiments.code_files import Origin
from tfhash.experiments.demo_page import answers
from tfhash.experiments.demo_page.query import ByModel
from tfhash.experiments.serving import running
from tfhash.index import HammingIndex, duplicates


@pytest.fixture(scope="module")
def model(make_model):
    return make_model(image_shape=SHAPE)


@pytest.fixture(scope="module")
def query(model):
    return ByModel(model)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("demo") / "photos")


@pytest.fixture(scope="module")
def index_path(folder, model):
    return write_index(folder, folder.parent / "photos.index", model)


@pytest.fixture(scope="module")
def plain_path(folder):
    """An index that does not say where its model is."""
    return write_index(folder, folder.parent / "plain.index")


@pytest.fixture(scope="module")
def index(index_path):
    return ImageIndex.load(index_path)


@pytest.fixture(scope="module")
def ask(index, query):
    with asking(app_of(index, query)) as ask:
        yield ask


def test_dropped_files_have_the_codes_of_training(ask, model):
    files = files_of_all_formats(np.random.default_rng(1))
    expected = model.encode(np.stack([decode_and_resize(each, SHAPE) for each in files.values()]))
    for contents, code in zip(files.values(), expected):
        assert ask("/api/codes", contents).json() == {"code": code.tobytes().hex()}
    # Formats that TensorFlow does not read.
    tiff = file_of(photo(np.random.default_rng(1)), "TIFF")
    png = file_of(photo(np.random.default_rng(1)), "PNG")
    assert ask("/api/codes", tiff).json() == ask("/api/codes", png).json()


@pytest.mark.parametrize("k", [1, 3, 4, 15, 100])
@pytest.mark.parametrize("radius", [0, 2, 12])
def test_neighbors_are_those_of_search_within_the_radius(ask, index, k, radius):
    row = 4
    code = index.index.codes[row]
    queries = searching.Queries(code[None], [""])
    ((found,), (within,)) = (
        searching.search(index, queries, k=k).answers,
        searching.search(index, queries, radius=radius).answers,
    )
    expected = [(each.distance, str(each.id)) for each in found.items if each.distance <= radius]
    answer = ask(f"/api/neighbors?code={code.tobytes().hex()}&k={k}&radius={radius}").json()
    assert [(each["distance"], each["id"]) for each in answer["items"]] == expected
    assert answer["is_cut"] == (len(within.items) > k)
    assert not answer["cuts_tie"] or within.items[k].distance == within.items[k - 1].distance
    assert answer["unavailable"] == {}


def test_a_list_that_ends_among_equal_distances_says_so(ask, index):
    copies = COPIES + 1
    code = index.index.codes[id_of(index, "copy 0.png")].tobytes().hex()
    cuts = [
        ask(f"/api/neighbors?code={code}&k={k}&radius=0").json()["cuts_tie"]
        for k in (1, copies - 1, copies)
    ]
    assert cuts == [True, True, False]


@pytest.mark.parametrize("radius", [0, 1, 12])
def test_groups_are_those_of_the_join(ask, index, radius):
    codes, ids = index.index.items()
    expected = sorted(duplicates.groups(codes, BITS, radius), key=lambda group: -len(group.members))
    answer = ask(f"/api/groups?radius={radius}").json()
    assert answer["groups"] == len(expected) > 0
    assert answer["images"] == sum(len(group.members) for group in expected)
    assert answer["of"] == PHOTOS + COPIES
    assert bool(answer["note"]) == (answer["images"] > answer["of"] / 2)
    for shown, group in zip(answer["shown"], expected, strict=True):
        assert [int(item["id"]) for item in shown["items"]] == ids[group.members].tolist()
        first = codes[group.members[0]]
        assert [item["distance"] for item in shown["items"]] == [
            int(np.unpackbits(code ^ first).sum()) for code in codes[group.members]
        ]
        assert (shown["size"], shown["nearest"], shown["farthest"]) == (
            len(group.members),
            group.nearest,
            group.farthest,
        )


def test_the_largest_groups_are_shown_and_all_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(answers, "MOST_GROUPS", 2)
    monkeypatch.setattr(answers, "MOST_OF_GROUP", 3)
    index = HammingIndex(8)
    index.add(np.repeat(np.arange(4, dtype="uint8"), [2, 4, 1, 3])[:, None])
    with asking(app_of(ImageIndex(index, Origin()), folder=tmp_path)) as ask:
        answer = ask("/api/groups?radius=0").json()
    assert (answer["groups"], answer["images"]) == (3, 9)
    assert [(each["size"], len(each["items"])) for each in answer["shown"]] == [(4, 3), (3, 3)]


def test_examples_are_spread_over_the_index(ask, index):
    about = ask("/api/about").json()
    names = [each["name"] for each in about["examples"]]
    assert (len(names), names[0], names[-1]) == (12, "copy 0.png", "trips/11.png")
    assert (about["images"], about["bits"], about["problem"]) == (PHOTOS + COPIES, BITS, "")


def test_an_empty_index_has_a_page(tmp_path, query):
    empty = ImageIndex(HammingIndex(BITS), Origin())
    png = file_of(photo(np.random.default_rng(0)), "PNG")
    with asking(app_of(empty, query, tmp_path)) as ask:
        assert ask("/").status_code == 200
        assert ask("/api/about").json()["examples"] == []
        code = ask("/api/codes", png).json()["code"]
        assert ask(f"/api/neighbors?code={code}&k=5&radius=12").json()["items"] == []
        assert ask("/api/groups?radius=12").json()["groups"] == 0


def test_without_a_model_the_indexed_images_alone_are_known(index, folder):
    other = file_of(photo(np.random.default_rng(9), (30, 20)), "PNG")
    with asking(app_of(index)) as ask:
        found = ask("/api/codes", (folder / "trips" / "05.png").read_bytes()).json()
        refused = ask("/api/codes", other)
        problem = ask("/api/about").json()["problem"]
    item = id_of(index, "trips/05.png")
    assert (found["name"], found["id"], found["state"]) == ("trips/05.png", str(item), "ok")
    row = index.index.ids.tolist().index(item)
    assert found["code"] == index.index.codes[row].tobytes().hex()
    assert refused.status_code == 422
    assert "not one of the indexed files, and there is no model" in refused.json()["error"]
    assert problem == "there is no model"


def test_an_index_without_sizes_says_that_files_cannot_be_looked_up(index, folder):
    plain = HammingIndex(BITS)
    plain.add(index.index.codes, index.index.ids, index.index.names)
    with asking(app_of(ImageIndex(plain, index.origin))) as ask:
        refused = ask("/api/codes", (folder / "copy 0.png").read_bytes())
        item = ask(f"/api/codes/{id_of(index, 'copy 0.png')}")
    assert refused.status_code == 422
    assert "does not hold the sizes" in refused.json()["error"]
    assert "Click an image instead; there is no model" in refused.json()["error"]
    assert item.json()["state"] == "ok"


def test_links_cannot_be_followed_without_sizes_and_no_socket_is_left(index, tmp_path, monkeypatch):
    path = tmp_path / "codes.index"
    index = HammingIndex(BITS)
    index.add(np.zeros((1, 2), "uint8"), names=["a.png"])
    ImageIndex(index, Origin("", "", str(tmp_path))).save(path)
    sockets, listen = [], running.listen
    monkeypatch.setattr(
        running, "listen", lambda *where: sockets.append(listen(*where)) or sockets[-1]
    )
    with pytest.raises(ValueError, match="`follow_links` needs an index that holds the sizes"):
        experiments.demo(path, follow_links=True)

    def fail(*arguments):
        raise RuntimeError("no page")

    monkeypatch.setattr("tfhash.experiments.demo_page.app.App", fail)
    with pytest.raises(RuntimeError, match="no page"):
        experiments.demo(path)
    assert [each.fileno() for each in sockets] == [-1, -1]


def test_the_python_function_serves_until_it_is_closed(index_path, folder):
    with experiments.demo(index_path) as demo:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", demo.url)
        contents = (folder / "copy 0.png").read_bytes()
        assert requests.post(f"{demo.url}/api/codes", data=contents, timeout=60).ok
        assert demo.notes == ()
    demo.close()
    with pytest.raises(requests.ConnectionError):
        requests.get(demo.url, timeout=60)


def test_the_command_says_what_to_open_and_ends_when_it_is_interrupted(plain_path, capsys):
    with running.listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    url, statuses = f"http://127.0.0.1:{port}", []

    def interrupt():
        while not statuses:
            try:
                statuses.append(requests.get(url, timeout=60).status_code)
            except requests.ConnectionError:
                time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    assert main(["demo", f"--index={plain_path}", f"--port={port}"]) == 0
    thread.join()
    assert statuses == [200]
    printed = capsys.readouterr()
    assert printed.out == f"Open {url}\nstopped\n"
    loading, note = printed.err.splitlines()
    assert loading == "Loading the index and its model"
    assert note.startswith("note: the index does not say where its model is. Start the demo with")


def test_a_model_that_is_gone_is_said(index_path, index, tmp_path):
    gone = tmp_path / "gone.keras"
    origin = Origin(index.index.model, str(gone), index.origin.folder)
    ImageIndex(ImageIndex.load(index_path).index, origin).save(tmp_path / "photos.index")
    with experiments.demo(tmp_path / "photos.index") as demo:
        assert demo.notes[0].startswith(f"there is no model {gone} any more. Start the demo with")
        assert requests.get(f"{demo.url}/api/about", timeout=60).json()["problem"] == demo.notes[0]
    with pytest.raises(FileNotFoundError, match=r"there is no model .*gone\.keras"):
        experiments.demo(tmp_path / "photos.index", model=gone)


def test_the_model_of_another_index_is_refused(index_path, make_model, tmp_path, capsys):
    make_model(image_shape=SHAPE, seed=1).save(tmp_path / "other.keras")
    arguments = [f"--index={index_path}", f"--model={tmp_path / 'other.keras'}", "--port=0"]
    assert "is another model than that of the index" in error_of(capsys, "demo", *arguments)


def test_what_cannot_work_is_refused_before_the_page_opens(index_path, tmp_path, capsys):
    assert "missing --index" in error_of(capsys, "demo", status=2)
    assert "--port=65536" in error_of(capsys, "demo", "--index=i", "--port=65536", status=2)
    assert "there is no index i" in error_of(capsys, "demo", "--index=i", "--port=0")
    arguments = [f"--index={index_path}", "--images=nowhere", "--port=0"]
    assert "Give --images, where it is now" in error_of(capsys, "demo", *arguments)
    with running.listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        error = error_of(capsys, "demo", f"--index={index_path}", f"--port={port}")
        assert f"port {port}: Address already in use. Give another --port" in error
    index = HammingIndex(BITS)
    index.add(np.zeros((1, 2), "uint8"))
    ImageIndex(index, Origin()).save(tmp_path / "codes.index")
    error = error_of(capsys, "demo", f"--index={tmp_path / 'codes.index'}", "--port=0")
    assert "does not say where its images are. Give --images" in error


def test_a_missing_extra_is_named(index_path, monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "tfhash.experiments.demo_page.app")
    monkeypatch.setitem(sys.modules, "starlette.applications", None)
    assert "pip install '.[demo]'" in error_of(capsys, "demo", f"--index={index_path}")
