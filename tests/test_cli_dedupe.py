import base64
import csv
import html
import html.parser
import io
import json
import re
import sys

import numpy as np
import pytest
from commands import error_of
from PIL import Image

from tfhash.cli import main

pytest.importorskip("imagehash")

# As people and attackers name files.
ODD_NAMES = ['it\'s <b>"bold"<b> & $HOME.png', "naïve — 写真.png", "=1+1.png"]


def picture(seed, size=(96, 64)):
    """A smooth picture, as photographs are."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), "uint8")
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def photos(tmp_path):
    """Two groups: copies of picture 1 (odd names, rotated by EXIF), and of a transparent one."""
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    picture(1).save(folder / "a.png")
    for name in ODD_NAMES:
        picture(1).resize((48, 32)).save(folder / name)
    rotated = picture(1).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    rotated.save(folder / "deep" / "rotated.jpg", quality=95, exif=exif)
    transparent = picture(2).convert("RGBA")
    transparent.putalpha(Image.linear_gradient("L").resize(transparent.size))
    transparent.save(folder / "deep" / "transparent.png")
    on_white = Image.new("RGBA", transparent.size, "white")
    on_white.alpha_composite(transparent)
    on_white.convert("RGB").save(folder / "deep" / "on_white.jpg")
    picture(3).save(folder / "alone.png")
    (folder / "notes.txt").write_text("not an image")
    return folder


FIRST_GROUP = sorted([*ODD_NAMES, "a.png", "deep/rotated.jpg"], key=lambda name: name.split("/"))
SECOND_GROUP = ["deep/on_white.jpg", "deep/transparent.png"]


class Sheet(html.parser.HTMLParser):
    """Pictures, captions and everything else of a contact sheet."""

    def __init__(self, text):
        super().__init__()
        self.pictures, self.tags, self.text, self.titles = [], set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.add(tag)
        self.titles += [attributes["title"]] if "title" in attributes else []
        assert not {"href", "onerror", "onload"} & set(attributes)
        if tag == "img":
            start, data = attributes["src"].split(",")
            assert start == "data:image/jpeg;base64"
            self.pictures.append(Image.open(io.BytesIO(base64.b64decode(data))))

    def handle_data(self, data):
        self.text.append(data)


def test_copies_are_found_without_a_model_and_written_in_three_files(photos, tmp_path, capsys):
    output = tmp_path / "found"
    before = sorted((p, p.stat().st_mtime_ns) for p in photos.rglob("*"))
    assert main(["dedupe", f"--images={photos}", f"--output={output}"]) == 0
    printed = capsys.readouterr().out
    assert "2 groups of look-alikes, 7 of 8 images (perceptual hash, within 6 bits)" in printed
    assert "notes.txt" in printed
    # Standard output is no terminal.
    assert not {"\r", "\b", "\x1b"} & set(printed)
    assert sorted((p, p.stat().st_mtime_ns) for p in photos.rglob("*")) == before
    assert sorted(p.name for p in output.iterdir()) == [
        "duplicates.csv", "duplicates.html", "duplicates.json",
    ]  # fmt: skip

    report = json.loads((output / "duplicates.json").read_text("utf-8"))
    names = [[member["name"] for member in group["members"]] for group in report["groups"]]
    assert names == [FIRST_GROUP, SECOND_GROUP]
    assert report["images"] == 8
    assert [item["name"] for item in report["left_out"]] == ["notes.txt"]

    with open(output / "duplicates.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [name for group in names for name in group]
    of_name = {row["name"]: row for row in rows}
    # Turned upright, as a viewer shows it.
    assert (of_name["deep/rotated.jpg"]["width"], of_name["deep/rotated.jpg"]["height"]) == (
        "96", "64",
    )  # fmt: skip
    assert int(of_name["a.png"]["bytes"]) == (photos / "a.png").stat().st_size


def test_the_contact_sheet_shows_pictures_as_a_viewer_does_and_escapes_names(photos, tmp_path):
    path = tmp_path / "sheet.html"
    assert main(["dedupe", f"--images={photos}", f"--output={path}"]) == 0
    text = path.read_text("utf-8")
    sheet = Sheet(text)
    assert set(FIRST_GROUP + SECOND_GROUP) == set(sheet.titles)
    assert not {"script", "link", "b", "a", "iframe"} & sheet.tags
    assert "<b>" not in text
    assert "http:" not in text
    assert "https:" not in text
    shown = dict(zip(sheet.titles, sheet.pictures))
    upright = np.asarray(picture(1), "int16")
    for name in ("a.png", "deep/rotated.jpg"):
        assert shown[name].size == (96, 64)
        assert np.abs(np.asarray(shown[name], "int16") - upright).mean() < 12
    # Transparent pixels show white.
    top = np.asarray(shown["deep/transparent.png"])[0]
    assert (top > 240).all()


def test_the_contact_sheet_tells_copies_of_a_file_from_copies_of_a_picture(photos, tmp_path):
    (photos / "z.png").write_bytes((photos / "a.png").read_bytes())
    path = tmp_path / "sheet.html"
    assert main(["dedupe", f"--images={photos}", f"--output={path}"]) == 0
    captions = re.findall(
        r'<figcaption title="([^"]*)">.*?<small>(.*?)</small>', path.read_text("utf-8"), re.DOTALL
    )
    about = {html.unescape(name): words for name, words in captions}
    assert about.keys() == {*FIRST_GROUP, "z.png", *SECOND_GROUP}
    same = {name for name, words in about.items() if "same file" in words}
    # The three odd names hold one picture, written alike.
    assert same == {*sorted(ODD_NAMES)[1:], "z.png"}
    assert about["z.png"].endswith(", same file as a.png")
    firsts = {name for name, words in about.items() if "first image" in words}
    assert firsts == {sorted(ODD_NAMES)[0], SECOND_GROUP[0]}
    assert all("distance" in about[name] for name in about.keys() - firsts)


def test_large_pictures_become_thumbnails_and_long_groups_are_cut(tmp_path, monkeypatch):
    from tfhash.experiments import contact_sheet

    monkeypatch.setattr(contact_sheet, "MOST_OF_GROUP", 2)
    for i in range(4):
        picture(1, (900, 300 + i)).save(tmp_path / f"{i}.png")
    path = tmp_path / "sheet.html"
    assert main(["dedupe", f"--images={tmp_path}", f"--output={path}"]) == 0
    sheet = Sheet(path.read_text("utf-8"))
    assert [picture.size for picture in sheet.pictures] == [(180, 60)] * 2
    assert "and 2 more" in "".join(sheet.text)
    assert "900 x 300" in "".join(sheet.text)


def test_pictures_of_a_model_are_grouped_by_its_codes(run_directory, make_folder, tmp_path):
    folder, path = make_folder(), tmp_path / "found.json"
    Image.open(folder / "dark" / "3.png").save(folder / "light" / "copy.png")
    command = ["dedupe", f"--images={folder}", f"--model={run_directory}", f"--output={path}"]
    assert main([*command, "--radius=0"]) == 0
    report = json.loads(path.read_text("utf-8"))
    assert (report["bits"], report["radius"]) == (9, 0)
    groups = [{member["name"] for member in group["members"]} for group in report["groups"]]
    assert sum({"dark/3.png", "light/copy.png"} <= names for names in groups) == 1
    assert all(group["farthest"] == 0 for group in report["groups"])
    assert main([*command, "--radius=9", "--overwrite"]) == 0
    (group,) = json.loads(path.read_text("utf-8"))["groups"]
    assert len(group["members"]) == 25


def test_a_broken_file_is_named_and_the_others_are_compared(photos, tmp_path, capsys):
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xffrubbish")
    output = tmp_path / "found"
    assert main(["dedupe", f"--images={photos}", f"--output={output}"]) == 0
    assert "broken.jpg" in capsys.readouterr().out
    report = json.loads((output / "duplicates.json").read_text("utf-8"))
    assert [i["name"] for i in report["left_out"] if i["is_broken"]] == ["broken.jpg"]
    assert "broken.jpg" in (output / "duplicates.html").read_text("utf-8")


@pytest.mark.parametrize("change", ["gone", "changed"])
def test_an_image_that_vanishes_meanwhile_is_named_and_everything_is_written(
    photos, tmp_path, capsys, monkeypatch, change
):
    from tfhash.experiments import dedupe

    find, output = dedupe.find, tmp_path / "found"

    def find_and_lose(*arguments, **options):
        found = find(*arguments, **options)
        if change == "gone":
            (photos / "a.png").unlink()
        else:
            (photos / "a.png").write_bytes(b"no image any more")
        return found

    monkeypatch.setattr(dedupe, "find", find_and_lose)
    assert main(["dedupe", f"--images={photos}", f"--output={output}"]) == 0
    assert "1 image went missing or changed meanwhile: a.png" in capsys.readouterr().out
    groups = json.loads((output / "duplicates.json").read_text("utf-8"))["groups"]
    lost = next(member for member in groups[0]["members"] if member["name"] == "a.png")
    assert (lost["bytes"], lost["width"], lost["height"]) == (None, None, None)
    with open(output / "duplicates.csv", encoding="utf-8", newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert rows["a.png"]["width"] == ""
    assert rows["deep/rotated.jpg"]["width"] == "96"
    sheet = Sheet((output / "duplicates.html").read_text("utf-8"))
    assert "a.png" in sheet.titles
    assert len(sheet.pictures) == len(sheet.titles) - 1
    if change == "gone":
        assert "missing, distance" in "".join(sheet.text)


def test_one_image_has_no_look_alikes(tmp_path, capsys):
    picture(1).save(tmp_path / "one.png")
    path = tmp_path / "found.csv"
    assert main(["dedupe", f"--images={tmp_path}", f"--output={path}"]) == 0
    assert "no look-alikes among 1 image " in capsys.readouterr().out
    assert path.read_text("utf-8").splitlines() == ["group,name,distance,bytes,width,height"]


def test_a_folder_without_images_and_one_that_is_not_there_are_errors(tmp_path, capsys):
    assert "no images below" in error_of(capsys, "dedupe", f"--images={tmp_path}")
    assert "--images must be an existing folder" in error_of(
        capsys, "dedupe", f"--images={tmp_path / 'gone'}"
    )
    (tmp_path / "broken.png").write_bytes(b"")
    assert "none of the 1 image files" in error_of(capsys, "dedupe", f"--images={tmp_path}")


def test_without_imagehash_the_error_says_what_to_install(photos, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "imagehash", None)
    error = error_of(capsys, "dedupe", f"--images={photos}")
    assert "pip install imagehash" in error
    assert "--model" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "missing --images"),
        (["--images=p", "--radius=-1"], "--radius=-1"),
        (["--images=p", "--output=found.txt"], "must be a directory or end in .csv"),
        (["--images=p", "--output=."], "exists. Pass --overwrite"),
    ],
)
def test_wrong_usage_of_dedupe_says_what_is_wrong(capsys, arguments, message):
    assert message in error_of(capsys, "dedupe", *arguments, status=2)
