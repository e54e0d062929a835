"""Folders of images: what is read, how it is divided, and what is printed."""

import os
import shutil
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfhash import data
from tfhash.data import formats, sources
from tfhash.errors import translated


def put(root, name, rng, fmt=None, mode="RGB", **options):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(rng.integers(0, 256, (9, 7, 4), dtype="uint8")).convert(mode)
    image.save(path, fmt, **options)
    return path


@pytest.fixture
def photos(tmp_path, rng):
    root = tmp_path / "photos"
    for name in ("ant", "bee"):
        for i in range(10):
            put(root, f"{name}/{i}.png", rng)
    return root


@pytest.fixture
def official(tmp_path, rng):
    """Official parts of two classes."""

    def make(train="train", validation="val", queries="test"):
        root = tmp_path / "pets"
        for part, count in ((train, 8), (validation, 2), (queries, 3)):
            for name in ("cat", "dog") if part else ():
                for i in range(count):
                    put(root, f"{part}/{name}/{i}.png", rng)
        return root

    return make


def load(root, **arguments):
    return data.load(root, image_size=8, **arguments)


def from_folders(split):
    return {name.split("/")[0] for name in split.names}


@pytest.mark.parametrize(
    ("train", "validation", "queries"),
    [("train", "val", "test"), ("Training", "VALID", "Testing"), ("TRAIN", "dev", "test")],
)
def test_official_parts_are_taken_in_their_usual_spellings(official, train, validation, queries):
    splits = load(official(train, validation, queries))
    assert splits.classes == ["cat", "dog"]
    parts = (splits.train, splits.validation, splits.queries)
    assert [from_folders(part) for part in parts] == [{train}, {validation}, {queries}]
    assert [len(part) for part in parts] == [16, 4, 6]
    assert len(splits.database) == 20
    assert "official split" in str(splits.summary)


def test_a_missing_validation_part_is_drawn_from_training(official):
    splits = load(official(validation=""), validation_fraction=0.3)
    assert from_folders(splits.validation) == from_folders(splits.train) == {"train"}
    assert from_folders(splits.queries) == {"test"}
    assert "validation are drawn from train/" in str(splits.summary)


def test_a_missing_test_part_is_drawn_from_training(official):
    splits = load(official(queries=""), query_fraction=0.3)
    assert from_folders(splits.queries) == from_folders(splits.train) == {"train"}
    assert from_folders(splits.validation) == {"val"}


def test_a_training_folder_alone_is_divided_as_a_folder_of_classes(official):
    splits = load(official(validation="", queries=""), query_fraction=0.3, validation_fraction=0.3)
    assert splits.classes == ["cat", "dog"]
    assert len(splits.database) + len(splits.queries) == 16


def test_a_test_folder_without_classes_is_left_out_by_name(official, rng):
    root = official(queries="")
    put(root, "test/1.png", rng)
    splits = load(root, query_fraction=0.3)
    assert splits.classes == ["cat", "dog"]
    assert "outside the class folders of the official split: test/1.png" in str(splits.summary)


def test_classes_that_are_called_train_and_test_stay_classes(tmp_path, rng):
    for name in ("train", "test", "car"):
        for i in range(9):
            put(tmp_path, f"toys/{name}/{i}.png", rng)
    assert load(tmp_path / "toys").classes == ["car", "test", "train"]


def test_a_class_that_only_the_test_part_has_is_refused(official, rng):
    root = official()
    put(root, "test/Cat/1.png", rng)
    with pytest.raises(ValueError, match="classes of train/ alone. Received: Cat"):
        load(root)


def test_a_class_that_the_test_part_lacks_is_noted(official, rng):
    root = official()
    for i in range(3):
        put(root, f"train/eel/{i}.png", rng)
    assert "test/ has no images of 1 classes: eel" in str(load(root).summary)


def test_two_folders_for_one_part_are_refused(official, rng):
    root = official()
    put(root, "validation/cat/1.png", rng)
    with pytest.raises(ValueError, match="one folder for validation. Received: val, validation"):
        load(root)


def test_copies_across_official_parts_are_counted_and_named(official):
    root = official()
    shutil.copy(root / "train/cat/0.png", root / "test/cat/copy.png")
    assert "1 queries are copies" in str(load(root).summary)
    assert "test/cat/copy.png" in str(load(root).summary)


def test_loose_images_beside_class_folders_are_named(photos, rng):
    put(photos, "loose.png", rng)
    splits = load(photos)
    assert "left out 1, next to the class folders: loose.png" in str(splits.summary)
    assert len(splits.database) + len(splits.queries) == 20


def test_nothing_is_said_where_everything_was_taken(photos):
    assert str(load(photos).summary) == ""
    assert str(data.load_images(photos, (8, 8, 3))[1]) == ""


def test_training_and_encoding_find_the_same_images(photos, tmp_path, rng):
    put(tmp_path, "disk/a.jfif", rng, "JPEG")
    (photos / "ant" / "more").symlink_to(tmp_path / "disk")
    splits, (flat, _) = load(photos), data.load_images(photos, (8, 8, 3))
    assert sorted([*splits.database.names, *splits.queries.names]) == flat.names
    assert "ant/more/a.jfif" in flat.names


@pytest.mark.parametrize("extension", ["jfif", "jpe", "pjpeg", "JPG"])
def test_other_extensions_of_jpeg_are_read(photos, rng, extension):
    put(photos, f"ant/photo.{extension}", rng, "JPEG")
    assert f"ant/photo.{extension}" in data.load_images(photos, (8, 8, 3))[0].names


@pytest.mark.parametrize(
    ("name", "mode"),
    [("a.tif", "RGB"), ("a.tiff", "RGBA"), ("a.tif", "L"), ("a.tif", "CMYK"), ("a.avif", "RGB"),
     ("a.ppm", "RGB"), ("a.jp2", "RGB"), ("a.tga", "RGBA")],
)  # fmt: skip
def test_formats_that_tensorflow_does_not_read_go_through_pillow(tmp_path, rng, name, mode):
    path = put(tmp_path, name, rng, mode=mode)
    split, summary = data.load_images(tmp_path, (9, 7, 3))
    image = Image.open(path).convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    expected = Image.alpha_composite(white, image).convert("RGB")
    assert np.abs(split.images()[0].astype(int) - np.asarray(expected)).max() <= 1
    assert "through Pillow" in str(summary)


def test_webp_goes_through_pillow_where_tensorflow_does_not_read_it(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(formats, "tensorflow_reads_webp", lambda: False)
    path = put(tmp_path, "a.webp", rng, mode="RGB")
    frames = [Image.new("RGB", (7, 9), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "moving.webp", save_all=True, append_images=frames[1:])
    split, summary = data.load_images(tmp_path, (9, 7, 3), skip_broken=True)
    assert split.names == ["a.webp"]
    np.testing.assert_array_equal(split.images()[0], np.asarray(Image.open(path)))
    assert "through Pillow" in str(summary)
    assert "an animated file; save one picture of it" in str(summary)


def test_a_tiff_is_turned_upright(tmp_path, rng):
    tags = Image.Exif()
    tags[274] = 6
    stored = Image.fromarray(rng.integers(0, 256, (9, 7, 3), dtype="uint8"))
    stored.save(tmp_path / "a.tif", exif=tags)
    split, _ = data.load_images(tmp_path, (7, 9, 3))
    upright = stored.transpose(Image.Transpose.ROTATE_270)
    np.testing.assert_array_equal(split.images()[0], np.asarray(upright))


def test_16_bit_tiffs_are_scaled(tmp_path, rng):
    deep = rng.integers(0, 65536, (9, 7), dtype="uint16")
    Image.fromarray(deep).save(tmp_path / "a.tif")
    split, _ = data.load_images(tmp_path, (9, 7, 1))
    np.testing.assert_array_equal(split.images()[0, ..., 0], np.round(deep / 257))


def test_a_jpeg_that_is_called_heic_is_read_as_jpeg(tmp_path, rng):
    put(tmp_path, "photo.heic", rng, "JPEG")
    split, summary = data.load_images(tmp_path, (9, 7, 3))
    assert summary.taken == {"JPEG": 1}
    assert len(split.images()) == 1


def test_heic_without_pillow_heif_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    formats._can_read_heic.cache_clear()
    with pytest.raises(ValueError, match="photo.heic: HEIC needs pillow-heif. Run `pip install"):
        data.load_images(tmp_path, (9, 7, 3))
    formats._can_read_heic.cache_clear()


@pytest.mark.parametrize("mode", ["F", "I"])
def test_pixels_without_a_known_range_are_broken(tmp_path, mode):
    Image.fromarray(np.ones((4, 4), "float32" if mode == "F" else "int32")).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="a.tif: pixels of 32 bits"):
        data.load_images(tmp_path, (9, 7, 3))


def test_what_a_wrongly_named_file_really_holds_is_said(tmp_path, rng):
    put(tmp_path, "photo.jpg", rng, "AVIF")
    with pytest.raises(ValueError, match="photo.jpg: .*One of JPEG.* It holds AVIF"):
        data.load_images(tmp_path, (9, 7, 3))


def test_nearly_black_16_bit_images_are_noted(tmp_path, rng):
    for name, limit in (("dim.png", 4096), ("black.png", 1), ("bright.png", 65536)):
        Image.fromarray(rng.integers(0, limit, (9, 7), dtype="uint16")).save(tmp_path / name)
    _, summary = data.load_images(tmp_path, (9, 7, 3))
    (note,) = summary.notes
    assert note.startswith("1 16-bit images use 12 bits or less")
    assert note.endswith("dim.png")


def test_dangling_links_are_an_error_unless_skipped(photos):
    (photos / "ant" / "gone.png").symlink_to("nowhere")
    with pytest.raises(ValueError, match="1 of 21 image files .* ant/gone.png: a link to nowhere"):
        load(photos)
    assert len(load(photos, skip_broken=True).summary.broken) == 1


@pytest.mark.parametrize("is_removed", [True, False])
@pytest.mark.parametrize("is_kept", [True, False])
def test_a_file_that_changes_after_the_scan_is_named(photos, rng, monkeypatch, is_removed, is_kept):
    if not is_kept:
        monkeypatch.setattr(sources, "MEMORY_BYTES", 0)
    split = load(photos).database
    path = photos / split.names[-1]
    path.unlink()
    if not is_removed:
        put(photos, split.names[-1], rng)
    with pytest.raises(OSError if is_removed else ValueError, match=str(path)), translated():
        list(split.batches(4))
    with pytest.raises(OSError if is_removed else ValueError, match=str(path)):
        split.images()


def test_names_that_are_no_utf_8_are_read(photos, rng):
    name = os.fsdecode(b"ant/caf\xe9.png")
    put(photos, name, rng)
    split, _ = data.load_images(photos, (9, 7, 3))
    assert name in split.names
    assert len(split.images()) == 21
    assert len(load(photos).fingerprint()) == 64


def test_decoding_runs_in_a_pipeline_of_one_thread(photos, monkeypatch):
    monkeypatch.setattr(sources, "MEMORY_BYTES", 0)
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    split = load(photos).database
    batches = split.batches(4).with_options(options)
    np.testing.assert_array_equal(np.concatenate([i for i, _ in batches]), split.images())
