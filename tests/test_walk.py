"""The walk through a folder: everything is taken, or left out with a reason."""

import errno
import os

import pytest

from tfhash.data import Summary, walk
from tfhash.data.summary import LeftOut
from tfhash.data.walk import walk as walk_folder


@pytest.fixture
def photos(tmp_path):
    root = tmp_path / "photos"
    put(root, "ant/a.jpg", "ant/b.PNG", "bee/deep/er/c.jfif")
    return root


def put(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def reasons(found):
    return {item.name: item.reason for item in found.left_out}


def test_images_are_found_at_any_depth_in_the_order_of_their_paths(photos):
    put(photos, "ant-1/z.gif", "ant.bmp")
    found = walk_folder(photos)
    assert found.files == [
        "ant/a.jpg", "ant/b.PNG", "ant-1/z.gif", "ant.bmp", "bee/deep/er/c.jfif",
    ]  # fmt: skip
    assert found.folders == ["ant", "ant-1", "bee", "bee/deep", "bee/deep/er"]
    assert found.left_out == []


def test_links_to_files_and_folders_are_followed_at_any_depth(photos, tmp_path):
    put(tmp_path, "disk/far.webp", "disk/more/near.tif")
    (photos / "bee" / "disk").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "more" / "linked").symlink_to(photos / "ant")
    (photos / "cat.jpg").symlink_to(tmp_path / "disk" / "far.webp")
    assert set(walk_folder(photos).files) == {
        "ant/a.jpg", "ant/b.PNG", "bee/deep/er/c.jfif", "cat.jpg",
        "bee/disk/far.webp", "bee/disk/more/near.tif",
        "bee/disk/more/linked/a.jpg", "bee/disk/more/linked/b.PNG",
    }  # fmt: skip


@pytest.mark.parametrize("target", [".", "..", "bee", "bee/deep"])
def test_a_link_to_a_folder_that_contains_it_ends_there(photos, target):
    link = photos / "bee" / "deep" / "again"
    link.symlink_to(photos / target)
    found = walk_folder(photos)
    assert len(found.files) == 3
    assert reasons(found) == {"bee/deep/again/": "a link to a folder that contains it"}


def test_folders_that_link_to_each_other_end_and_show_their_pictures_under_both_names(photos):
    (photos / "ant" / "other").symlink_to(photos / "bee")
    (photos / "bee" / "other").symlink_to(photos / "ant")
    found = walk_folder(photos)
    assert {"ant/other/deep/er/c.jfif", "bee/other/a.jpg"} < set(found.files)
    assert set(reasons(found)) == {"ant/other/other/", "bee/other/other/"}


def test_the_folder_itself_may_be_a_link(photos, tmp_path):
    (tmp_path / "link").symlink_to(photos)
    assert walk_folder(tmp_path / "link").files == walk_folder(photos).files


@pytest.mark.parametrize("name", ["gone.jpg", "gone"])
def test_a_dangling_link_is_broken(photos, name):
    (photos / "bee" / name).symlink_to("nowhere.jpg")
    (left_out,) = walk_folder(photos).left_out
    assert left_out.name == f"bee/{name}"
    assert left_out.is_broken
    assert "a link to nowhere.jpg (No such file" in left_out.reason


def test_a_link_to_itself_is_broken(photos):
    (photos / "self.jpg").symlink_to("self.jpg")
    (left_out,) = walk_folder(photos).left_out
    assert left_out.is_broken


def test_a_folder_that_is_closed_to_the_reader_is_broken(photos, monkeypatch):
    def scandir(path, scandir=os.scandir):
        if path.endswith("deep"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(walk.os, "scandir", scandir)
    found = walk_folder(photos)
    assert found.files == ["ant/a.jpg", "ant/b.PNG"]
    assert found.left_out == [LeftOut("bee/deep/", "Permission denied", True)]


def test_what_is_no_image_is_left_out_by_kind(photos):
    put(photos, ".hidden.jpg", ".git/x.png", "ant/notes.TXT", "ant/README", "bee/logo.svg")
    os.mkfifo(photos / "pipe.jpg")
    found = walk_folder(photos)
    assert not any(item.is_broken for item in found.left_out)
    assert reasons(found) == {
        ".git": "hidden",
        ".hidden.jpg": "hidden",
        "ant/README": "not an image (no extension)",
        "ant/notes.TXT": "not an image (.txt)",
        "bee/logo.svg": "a format that is not read (.svg)",
        "pipe.jpg": "neither a file nor a folder",
    }


def test_names_that_are_no_utf_8_are_found_and_can_be_printed(photos):
    name = os.fsdecode(b"caf\xe9")
    put(photos, f"ant/{name}.jpg", f"ant/{name}.txt")
    found = walk_folder(photos)
    assert f"ant/{name}.jpg" in found.files
    text = str(Summary({"JPEG": 1}, found.left_out))
    assert "ant/caf\\xe9.txt" in text
    text.encode("utf-8")


def test_a_summary_says_nothing_where_everything_was_taken():
    assert str(Summary({"JPEG": 3})) == ""


def test_a_summary_counts_every_reason_and_names_the_first_files():
    left_out = [LeftOut(f"{i}.txt", "not an image (.txt)") for i in range(9)]
    left_out += [LeftOut(f"{i}.jpg", "the file is empty", True) for i in range(30)]
    summary = Summary({"JPEG": 1200, "TIFF": 34}, left_out, ["a note"])
    assert str(summary).splitlines()[:3] == [
        "took 1,234 images: 1,200 JPEG, 34 TIFF",
        "left out 30 broken files:",
        "  0.jpg: the file is empty",
    ]
    assert str(summary).splitlines()[-3:] == [
        "  and 10 more",
        "left out 9, not an image (.txt): 0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 4 more",
        "note: a note",
    ]
    assert len(summary.broken) == 30
