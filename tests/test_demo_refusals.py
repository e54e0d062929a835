"""`tfhash demo` shows indexed files alone, and refuses in words what it cannot answer."""

import contextlib
import http.client
import io
import json
import os
import re
import zlib

import numpy as np
import pytest
from demo_cases import app_of, asking, id_of, write_index, write_photos
from PIL import Image
from serving_cases import file_of, photo

from tfhash.experiments import ImageIndex
from tfhash.experiments.code_files import Origin
from tfhash.experiments.demo_page.app import _STATIC
from tfhash.index import HammingIndex


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("demo") / "photos")


@pytest.fixture(scope="module")
def index(folder):
    return ImageIndex.load(write_index(folder, folder.parent / "photos.index"))


@pytest.fixture(scope="module")
def ask(index):
    with asking(app_of(index)) as ask:
        yield ask


@pytest.fixture
def own(tmp_path):
    """Folder and index of one test, which may change them."""
    folder = write_photos(tmp_path / "photos")
    return folder, ImageIndex.load(write_index(folder, tmp_path / "photos.index"))


def test_thumbnails_are_small_jpegs_of_indexed_images(ask, index):
    for item in index.index.ids.tolist():
        answer = ask(f"/thumbnails/{item}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
        with Image.open(io.BytesIO(answer.content)) as image:
            assert (image.format, image.size) == ("JPEG", (320, 320))


@pytest.mark.parametrize(
    "path",
    [
        "99", "-1", "9223372036854775807", "9223372036854775808", "99999999999999999999999", "1e0",
        "%D9%A3", "0x0", "", ".", "..", "../demo.js", "../../../../etc/passwd", "..%2f..%2fetc%2fpasswd",
        "%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd", "copy%200.png", "trips/00.png",
        "trips%2f00.png", "0%00", "0/../../..", "0/",
    ],
)  # fmt: skip
@pytest.mark.parametrize("start", ["/thumbnails/", "/api/codes/"])
def test_nothing_but_ids_of_the_index_leads_to_an_image(ask, start, path):
    # Sent as it is: other clients resolve two points themselves.
    connection = http.client.HTTPConnection(ask.url.removeprefix("http://"), timeout=60)
    with contextlib.closing(connection):
        connection.request("GET", start + path)
        answer = connection.getresponse()
        assert answer.status == 404
        assert list(json.loads(answer.read())) == ["error"]


def test_links_are_not_followed_unless_they_lead_to_what_was_indexed(own, tmp_path):
    folder, index = own
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
    names = ["copy 0.png", "copy 1.png", "copy 2.png", "trips/03.png"]
    for follow_links, statuses in [(False, [404, 404, 200, 404]), (True, [404, 200, 200, 200])]:
        with asking(app_of(index, follow_links=follow_links)) as ask:
            answers = [ask(f"/thumbnails/{id_of(index, name)}") for name in names]
            about = ask("/api/about").json()
        assert [answer.status_code for answer in answers] == statuses
        states = {each["name"]: each["state"] for each in about["examples"]}
        assert states["copy 0.png"] == ("changed" if follow_links else "link")


def test_a_folder_that_is_a_link_itself_is_opened(own, tmp_path):
    folder, index = own
    (tmp_path / "link").symlink_to(folder)
    with asking(app_of(index, folder=tmp_path / "link")) as ask:
        assert ask("/thumbnails/0").status_code == 200


def test_names_that_lead_out_of_the_folder_are_missing(own, tmp_path):
    folder, _ = own
    secret = tmp_path / "secret.png"
    secret.write_bytes((folder / "copy 0.png").read_bytes())
    odd = os.fsdecode(b"caf\xe9.png")  # no valid UTF-8
    (folder / odd).write_bytes(secret.read_bytes())
    names = ["../secret.png", "trips/../../secret.png", str(secret), "", ".", "trips", "a\0b", odd]
    index = HammingIndex(12)
    index.add(np.zeros((len(names), 2), "uint8"), names=names)
    index.add(np.zeros((1, 2), "uint8"))  # without a name
    with asking(app_of(ImageIndex(index, Origin()), folder=folder)) as ask:
        statuses = [ask(f"/thumbnails/{item}").status_code for item in range(len(names) + 1)]
        unavailable = ask("/api/neighbors?code=0000&k=20&radius=0").json()["unavailable"]
    assert statuses == [404] * (len(names) - 1) + [200, 404]
    assert unavailable == {"missing": len(names)}


def test_files_that_are_gone_or_changed_are_counted_and_not_shown(own):
    folder, index = own
    with asking(app_of(index)) as ask:
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
        "text": (
            b"hello, world",
            "is no JPEG, PNG, GIF, BMP, WebP, TIFF, AVIF, JPEG 2000, PNM or HEIC file: received 12 bytes",
        ),
        "empty": (b"", "received 0 bytes"),
        "cut off": (png[:60], "cannot be decoded: received a PNG file of 60 bytes"),
        "large": (
            bytes(large),
            "too many pixels, more than 100000000: received a PNG file of 20000",
        ),
        "cut tiff": (tiff[:40], "the file cannot be"),
        "page": (b"<html><script>alert(1)</script>", "which start with <html"),
    }


@pytest.mark.parametrize("kind", broken_files())
def test_a_broken_file_is_refused_in_words_and_the_server_goes_on(ask, folder, kind):
    contents, message = broken_files()[kind]
    answer = ask("/api/codes", contents)
    assert answer.status_code == 400
    assert message in answer.json()["error"]
    assert answer.json()["error"].startswith("the file ")
    assert ask("/api/codes", (folder / "copy 0.png").read_bytes()).status_code == 200


def test_a_file_that_is_too_large_is_refused(index):
    with asking(app_of(index, most_bytes=1000)) as ask:
        answer = ask("/api/codes", b"x" * 1001)
        assert (answer.status_code, "at most 1,000 bytes" in answer.json()["error"]) == (413, True)
        assert ask("/api/about").json()["most_bytes"] == 1000


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
    foreign = {"sec_fetch_site": "cross-site"}
    for headers in ({"host": "photos.example"}, {"origin": "https://photos.example"}, foreign):
        assert ask(path, body, **headers).status_code == 403
    link = foreign | {"sec_fetch_mode": "navigate"}
    for headers in ({"host": "localhost"}, {"origin": "http://127.0.0.1:8502"}, link):
        assert ask(path, body, **headers).status_code in (200, 400)


def test_a_demo_for_others_answers_to_any_name(index):
    with asking(app_of(index, is_local=False)) as ask:
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
