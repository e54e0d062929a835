"""Decoded images on disk: decoded once, the same pixels, and never half an image."""

import errno
import os
import shutil
import types

import numpy as np
import pytest
from PIL import Image

from tfhash import data
from tfhash.data import disk_cache, scan
from tfhash.data.sources import FileSource

SHAPE = (8, 8, 3)


@pytest.fixture
def photos(tmp_path, rng):
    """Two classes of five images; `b/copy.png` is a copy."""
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(5):
            pixels = rng.integers(0, 256, (9 + i, 12, 3), "uint8")
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
    shutil.copy(tmp_path / "photos/b/0.png", tmp_path / "photos/b/copy.png")
    return tmp_path / "photos"


@pytest.fixture
def load(photos, tmp_path):
    return lambda **given: data.load(
        photos, image_size=8, **{"cache_dir": tmp_path / "cache", **given}
    )


@pytest.fixture
def watched(monkeypatch):
    """Names of the files that are examined, and of those that are decoded."""
    found = {"examined": [], "decoded": []}
    examine, decode = scan.examine, FileSource.decoded

    def watch_examine(root, names):
        found["examined"] += names
        return examine(root, names)

    def watch_decode(source, indices, image_shape):
        found["decoded"] += [source.names[i] for i in indices]
        return decode(source, indices, image_shape)

    monkeypatch.setattr(scan, "examine", watch_examine)
    monkeypatch.setattr(FileSource, "decoded", watch_decode)
    return found


def images_of(splits):
    return {
        name: image
        for split in (splits.database, splits.queries)
        for name, image in zip(split.names, split.images())
    }


def assert_same_images(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])


def test_images_from_the_disk_are_those_without_it(load):
    plain = load(cache_dir=None)
    for _ in range(2):
        splits = load()
        assert_same_images(images_of(splits), images_of(plain))
        augmentation = data.Augmentation(crop=0.5, flip=True)
        for a, b in zip(
            splits.train.shuffled_batches(3, 0, augmentation=augmentation).take(4),
            plain.train.shuffled_batches(3, 0, augmentation=augmentation).take(4),
        ):
            np.testing.assert_array_equal(a[0], b[0])
            np.testing.assert_array_equal(a[1], b[1])


def test_a_second_run_neither_examines_nor_decodes(load, watched, monkeypatch):
    first = images_of(load())
    assert len(watched["examined"]) == 11
    assert len(watched["decoded"]) == 10  # the copy has the image of the other
    monkeypatch.setattr(FileSource, "_contents", None)
    watched["examined"].clear(), watched["decoded"].clear()
    assert_same_images(images_of(load()), first)
    assert watched == {"examined": [], "decoded": []}


def test_what_has_changed_is_read_again_and_nothing_else(load, photos, watched, rng):
    images_of(load())
    watched["examined"].clear(), watched["decoded"].clear()
    Image.fromarray(rng.integers(0, 256, (12, 9, 3), "uint8")).save(photos / "a/1.png")
    os.utime(photos / "a/2.png", (1, 1))
    (photos / "a/3.png").rename(photos / "a/renamed.png")
    (photos / "a/4.png").unlink()
    splits = load()
    found = images_of(splits)
    assert sorted(watched["examined"]) == ["a/1.png", "a/2.png", "a/renamed.png"]
    assert watched["decoded"] == ["a/1.png"]
    assert_same_images(found, images_of(load(cache_dir=None)))


@pytest.mark.parametrize("lost", ["digests", "pixels", "more"])
def test_what_a_killed_process_was_writing_is_written_again(load, watched, tmp_path, lost):
    expected = images_of(load())
    (pixels,), (digests,) = ((tmp_path / "cache").glob(f"*.{s}") for s in ("uint8", "digests"))
    row = int(np.prod(SHAPE))
    kept = {
        "digests": (10 * row, 7 * 32 + 11),
        "pixels": (8 * row - 5, 320),
        "more": (13 * row + 7, 320),
    }
    for path, size in zip((pixels, digests), kept[lost]):
        os.truncate(path, size)
    watched["decoded"].clear()
    assert_same_images(images_of(load()), expected)
    assert len(watched["decoded"]) == {"digests": 3, "pixels": 3, "more": 0}[lost]


def test_a_damaged_list_of_files_is_made_again(load, watched, tmp_path):
    expected = images_of(load())
    (listed,) = (tmp_path / "cache").glob("files-*.json")
    listed.write_text("{")
    assert_same_images(images_of(load()), expected)
    assert len(watched["examined"]) == 22


def test_too_full_a_disk_is_told_before_images_are_decoded(load, watched, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(free=100))
    splits = load()
    with pytest.raises(OSError, match=r"take 0.00 GB, and the disk of `cache_dir` .* has 0.00 GB"):
        splits.database.images()
    assert not watched["decoded"]


def test_a_disk_that_becomes_full_keeps_what_was_written(load, watched, monkeypatch):
    written, fsync = [], os.fsync

    def fill(number):
        written.append(number)
        if len(written) == 3:  # the pixels of the second chunk
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(number)

    splits = load()
    expected = images_of(load(cache_dir=None))
    monkeypatch.setattr(disk_cache, "CHUNK", 3)
    monkeypatch.setattr(os, "fsync", fill)
    with pytest.raises(
        OSError, match="No space left on device. Its 3 images .* are kept. Make room"
    ):
        splits.database.images()
    monkeypatch.setattr(os, "fsync", fsync)
    watched["decoded"].clear()
    assert_same_images(images_of(load()), expected)
    assert len(watched["decoded"]) == 10 - 3


def test_a_folder_that_cannot_be_written_to_is_refused(load, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="`cache_dir` must be a folder that can be written to"):
        load(cache_dir=tmp_path / "file" / "cache")


def test_datasets_other_than_folders_are_refused(tmp_path):
    with pytest.raises(ValueError, match="`cache_dir` is for images in a folder"):
        data.load("digits", cache_dir=tmp_path)
