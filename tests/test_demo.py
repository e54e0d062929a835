"""`tfhash demo` answers as search does, shows indexed files alone, and says what it cannot do."""

import io
import os
import re
import signal
import sys
import threading
import time
import zlib

import numpy as np
import pytest
import requests
from commands import error_of
from demo_cases import (
    COPIES,
    PHOTOS,
    SHAPE,
    app_of,
    asking,
    jpeg_pixels,
    write_index,
    write_photos,
)
from serving_cases import file_of, files_of_all_formats, photo

from tfhash import experiments
from tfhash.cli import main
from tfhash.data import decode_and_resize
from tfhash.experiments import ImageIndex, searching
from tfhash.experiments.code_files import Origin
from tfhash.experiments.demo_page import answers
from tfhash.experiments.demo_page.app import _STATIC
from tfhash.experiments.serving import running
from tfhash.index import HammingIndex, duplicates


@pytest.fixture(scope="module")
def model(make_model):
    return make_model(image_shape=SHAPE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("demo") / "photos")


@pytest.fixture(scope="module")
def index_path(folder, model):
    return write_index(folder, model, folder.parent / "photos.index")


@pytest.fixture(scope="module")
def index(index_path):
    return ImageIndex.load(index_path)


@pytest.fixture(scope="module")
def ask(index, model):
    with asking(app_of(index, model)) as ask:
        yield ask


@pytest.fixture
def own(tmp_path, model):
    """Folder and index of one test, which may change them."""
    folder = write_photos(tmp_path / "photos")
    return folder, write_index(folder, model, tmp_path / "photos.index")


def id_of(index, name):
    return index.index.ids.tolist()[index.index.names.index(name)]


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
    expected = sorted(duplicates.groups(codes, 12, radius), key=lambda group: -len(group.members))
    answer = ask(f"/api/groups?radius={radius}").json()
    assert answer["groups"] == len(expected) > 0
    assert answer["images"] == sum(len(group.members) for group in expected)
    assert answer["of"] == PHOTOS + COPIES
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


def test_the_largest_groups_are_shown_and_all_are_counted(tmp_path, model, monkeypatch):
    monkeypatch.setattr(answers, "MOST_GROUPS", 2)
    monkeypatch.setattr(answers, "MOST_OF_GROUP", 3)
    index = HammingIndex(12)
    index.add(np.repeat(np.arange(4, dtype="uint8"), [2, 4, 1, 3])[:, None] * [1, 0])
    with asking(app_of(ImageIndex(index, Origin()), model, tmp_path)) as ask:
        answer = ask("/api/groups?radius=0").json()
    assert (answer["groups"], answer["images"]) == (3, 9)
    assert [(each["size"], len(each["items"])) for each in answer["shown"]] == [(4, 3), (3, 3)]


def test_examples_are_spread_over_the_index(ask, index):
    about = ask("/api/about").json()
    names = [each["name"] for each in about["examples"]]
    assert (len(names), names[0], names[-1]) == (12, "copy 0.png", "trips/11.png")
    assert (about["images"], about["bits"], about["problem"]) == (PHOTOS + COPIES, 12, "")


def test_an_empty_index_has_a_page(tmp_path, model):
    empty = ImageIndex(HammingIndex(12), Origin())
    png = file_of(photo(np.random.default_rng(0)), "PNG")
    with asking(app_of(empty, model, tmp_path)) as ask:
        assert ask("/").status_code == 200
        assert ask("/api/about").json()["examples"] == []
        code = ask("/api/codes", png).json()["code"]
        assert ask(f"/api/neighbors?code={code}&k=5&radius=12").json()["items"] == []
        assert ask("/api/groups?radius=12").json()["groups"] == 0


def test_thumbnails_are_small_jpegs_of_indexed_images(ask, index):
    for item in index.index.ids.tolist():
        answer = ask(f"/thumbnails/{item}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
        assert jpeg_pixels(io.BytesIO(answer.content)) == ("JPEG", (320, 320))


@pytest.mark.parametrize(
    "path",
    [
        "99", "-1", "9223372036854775807", "9223372036854775808", "99999999999999999999999", "1e0",
        "٣", "0x0", "", "..", "../demo.js", "..%2f..%2fetc%2fpasswd", "%2fetc%2fpasswd",
        "copy 0.png", "trips/00.png", "trips%2f00.png", "0%00", "0/../../..",
    ],
)  # fmt: skip
def test_nothing_but_ids_of_the_index_leads_to_a_picture(ask, path):
    for start in ("/thumbnails/", "/api/codes/"):
        answer = ask(f"{start}{path}")
        # A path with two points may become one of the page before it is sent.
        assert answer.status_code in (404, 405) or answer.url.endswith(("/", "/demo.js"))
        assert answer.headers["content-type"] != "image/jpeg"


def test_links_are_not_followed_unless_they_lead_to_what_was_indexed(own, tmp_path, model):
    folder, path = own
    outside = tmp_path / "outside"
    outside.mkdir()
    first, second = folder / "copy 0.png", folder / "copy 1.png"
    secret = outside / "secret.png"
    secret.write_bytes(file_of(photo(np.random.default_rng(7), (30, 20)), "PNG"))
    moved = outside / "moved.png"
    second.rename(moved)  # keeps size and time
    first.unlink()
    first.symlink_to(secret)
    second.symlink_to(moved)
    (folder / "trips").rename(outside / "trips")
    (folder / "trips").symlink_to(outside / "trips")
    index = ImageIndex.load(path)
    names = ["copy 0.png", "copy 1.png", "copy 2.png", "trips/03.png"]
    for follow_links, statuses in [(False, [404, 404, 200, 404]), (True, [404, 200, 200, 200])]:
        with asking(app_of(index, model, folder, follow_links)) as ask:
            answers = [ask(f"/thumbnails/{id_of(index, name)}") for name in names]
            about = ask("/api/about").json()
        assert [answer.status_code for answer in answers] == statuses
        states = {each["name"]: each["state"] for each in about["examples"]}
        assert states["copy 0.png"] == ("changed" if follow_links else "link")


def test_a_folder_that_is_a_link_itself_is_opened(own, tmp_path, model):
    folder, path = own
    (tmp_path / "link").symlink_to(folder)
    with asking(app_of(path, model, tmp_path / "link")) as ask:
        assert ask("/thumbnails/0").status_code == 200


def test_names_that_lead_out_of_the_folder_are_missing(own, tmp_path, model):
    folder, _ = own
    secret = tmp_path / "secret.png"
    secret.write_bytes((folder / "copy 0.png").read_bytes())
    names = ["../secret.png", "trips/../../secret.png", str(secret), "", ".", "trips", "copy 0.png"]
    index = HammingIndex(12)
    index.add(np.zeros((len(names), 2), "uint8"), names=names)
    index.add(np.zeros((1, 2), "uint8"))  # without a name
    with asking(app_of(ImageIndex(index, Origin()), model, folder)) as ask:
        statuses = [ask(f"/thumbnails/{item}").status_code for item in range(len(names) + 1)]
        unavailable = ask("/api/neighbors?code=0000&k=20&radius=0").json()["unavailable"]
    assert statuses == [404] * (len(names) - 1) + [200, 404]
    assert unavailable == {"missing": len(names)}


def test_files_that_are_gone_or_changed_are_counted_and_not_shown(own, model):
    folder, path = own
    index = ImageIndex.load(path)
    with asking(app_of(index, model)) as ask:
        before = ask(f"/thumbnails/{id_of(index, 'copy 0.png')}")
        (folder / "copy 0.png").unlink()
        (folder / "copy 1.png").unlink()
        os.mkfifo(folder / "copy 1.png")
        (folder / "copy 2.png").write_bytes(b"another one")
        os.utime(folder / "trips" / "01.png")  # copies of a folder have times of their own
        code = index.index.codes[0].tobytes().hex()
        found = ask(f"/api/neighbors?code={code}&k=15&radius=12").json()
        groups = ask("/api/groups?radius=0").json()
        answers = [ask(f"/thumbnails/{item['id']}") for item in found["items"]]
    assert before.status_code == 200
    assert found["unavailable"] == groups["unavailable"] == {"changed": 1, "missing": 2}
    states = {item["name"]: item["state"] for item in found["items"]}
    assert [states[f"copy {i}.png"] for i in range(3)] == ["missing", "missing", "changed"]
    shown = {item["name"]: answer.status_code for item, answer in zip(found["items"], answers)}
    assert {name for name, status in shown.items() if status == 404} == {
        f"copy {i}.png" for i in range(3)
    }
    assert shown["trips/01.png"] == 200


def broken_files():
    png = file_of(photo(np.random.default_rng(0)), "PNG")
    large = bytearray(png)
    large[16:24] = (20_000).to_bytes(4, "big") * 2
    large[29:33] = zlib.crc32(large[12:29]).to_bytes(4, "big")
    tiff = file_of(photo(np.random.default_rng(0)), "TIFF")
    return {
        "text": (b"hello, world", "is no JPEG, PNG, GIF, BMP or WebP file: received 12 bytes"),
        "empty": (b"", "received 0 bytes"),
        "cut off": (png[:60], "cannot be decoded: received a PNG file of 60 bytes"),
        "large": (
            bytes(large),
            "too many pixels, more than 100000000: received a PNG file of 20000",
        ),
        "cut tiff": (tiff[:40], "the file cannot be"),
        "page": (b"<html><script>alert(1)</script>", "starts with"),
    }


@pytest.mark.parametrize("has_model", [True, False])
@pytest.mark.parametrize("kind", broken_files())
def test_a_broken_file_is_refused_in_words_and_the_server_goes_on(
    ask, index, folder, kind, has_model
):
    contents, message = broken_files()[kind]
    good = (folder / "copy 0.png").read_bytes()
    if has_model:
        answers = ask("/api/codes", contents), ask("/api/codes", good)
    else:
        with asking(app_of(index)) as ask_without:
            answers = ask_without("/api/codes", contents), ask_without("/api/codes", good)
    assert [answer.status_code for answer in answers] == [400, 200]
    error = answers[0].json()["error"]
    assert message.replace("starts with", "which start with <html") in error
    assert error.startswith("the file ")


def test_a_file_that_is_too_large_is_refused(index, model):
    with asking(app_of(index, model, most_bytes=1000)) as ask:
        answer = ask("/api/codes", b"x" * 1001)
        assert (answer.status_code, "at most 1,000 bytes" in answer.json()["error"]) == (413, True)
        assert ask("/api/about").json()["most_bytes"] == 1000


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


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/api/neighbors?k=1&radius=0", "`code` must be given"),
        ("/api/neighbors?code=0000&radius=0", "`k` must be given"),
        ("/api/neighbors?code=00&k=1&radius=0", "`code` must be a code of 12 bits, 2 bytes"),
        ("/api/neighbors?code=00ff&k=1&radius=0", "`code` must be a code of 12 bits"),
        ("/api/neighbors?code=xy00&k=1&radius=0", "`code` must be a code of 12 bits"),
        ("/api/neighbors?code=0000&k=0&radius=0", "`k` must be from 1 to 100. Received: 0"),
        ("/api/neighbors?code=0000&k=101&radius=0", "Received: 101"),
        ("/api/neighbors?code=0000&k=1.5&radius=0", "an integer >= 0. Received: '1.5'"),
        ("/api/neighbors?code=0000&k=1&radius=13", "`radius` must be from 0 to 12. Received: 13"),
        ("/api/groups?radius=-1", "an integer >= 0. Received: '-1'"),
        ("/api/groups?radius=13", "`radius` must be from 0 to 12"),
        ("/api/groups", "`radius` must be given"),
    ],
)
def test_values_out_of_range_are_refused_in_words(ask, path, message):
    answer = ask(path)
    assert answer.status_code == 400
    assert message in answer.json()["error"]


@pytest.mark.parametrize("path", ["/", "/demo.js", "/api/about", "/thumbnails/0", "/api/codes"])
def test_a_local_demo_answers_to_local_names_and_pages_alone(ask, path):
    body = b"x" if path == "/api/codes" else None
    for headers in ({"host": "photos.example"}, {"origin": "https://photos.example"}):
        assert ask(path, body, **headers).status_code == 403
    for headers in ({"host": "localhost"}, {"origin": "http://127.0.0.1:8502"}):
        assert ask(path, body, **headers).status_code in (200, 400)


def test_a_demo_for_others_answers_to_any_name(index, model):
    with asking(app_of(index, model, is_local=False)) as ask:
        assert ask("/", host="photos.example").status_code == 200


def test_the_page_names_no_other_address_and_lets_no_other_page_show_its_pictures(ask):
    known = "http://www.w3.org/2000/svg"  # the name of a format, not loaded
    for file in _STATIC.iterdir():
        assert re.findall(r"(?:https?:)?//[\w.]+/[\w./]*", file.read_text("utf-8")) in ([], [known])
        answer = ask(f"/{file.name}".replace("/index.html", "/"))
        assert answer.content == file.read_bytes()
    for path in ("/", "/thumbnails/0", "/thumbnails/99", "/nothing"):
        headers = ask(path).headers
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["content-security-policy"].startswith("default-src 'none'")


def test_the_python_function_serves_until_it_is_closed(index_path, folder):
    with experiments.demo(index_path) as demo:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", demo.url)
        contents = (folder / "copy 0.png").read_bytes()
        assert requests.post(f"{demo.url}/api/codes", data=contents, timeout=60).ok
        assert demo.notes == ()
    demo.close()
    with pytest.raises(requests.ConnectionError):
        requests.get(demo.url, timeout=60)


def test_the_command_says_what_to_open_and_ends_when_it_is_interrupted(index_path, capsys):
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
    assert main(["demo", f"--index={index_path}", f"--port={port}"]) == 0
    thread.join()
    assert statuses == [200]
    assert capsys.readouterr().out == f"Open {url}\nstopped\n"


def test_a_model_that_is_gone_is_said_and_another_one_refused(own, make_model, tmp_path, capsys):
    _, path = own
    path.with_suffix(".keras").rename(tmp_path / "moved.keras")
    with experiments.demo(path) as demo:
        assert demo.notes[0].startswith(f"there is no model {path.with_suffix('.keras')} any more")
        assert requests.get(f"{demo.url}/api/about", timeout=60).json()["problem"] == demo.notes[0]
    with experiments.demo(path, model=tmp_path / "moved.keras") as demo:
        assert demo.notes == ()
    make_model(image_shape=SHAPE, seed=1).save(tmp_path / "other.keras")
    arguments = [f"--index={path}", f"--model={tmp_path / 'other.keras'}", "--port=0"]
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
    index = HammingIndex(12)
    index.add(np.zeros((1, 2), "uint8"))
    ImageIndex(index, Origin()).save(tmp_path / "codes.index")
    error = error_of(capsys, "demo", f"--index={tmp_path / 'codes.index'}", "--port=0")
    assert "does not say where its images are. Give --images" in error


def test_a_missing_extra_is_named(index_path, monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "tfhash.experiments.demo_page.app")
    monkeypatch.setitem(sys.modules, "starlette.applications", None)
    assert "pip install 'tfhash[demo]'" in error_of(capsys, "demo", f"--index={index_path}")
