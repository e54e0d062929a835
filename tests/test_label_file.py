"""Label files: what is accepted, and what an error says about which line."""

import os
import re
import unicodedata

import numpy as np
import pytest
from PIL import Image

from tfhash import data
from tfhash.data import label_file
from tfhash.data.summary import LeftOut
from tfhash.data.walk import Walk


@pytest.fixture
def write(tmp_path):
    def write(text, name="labels.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def read(path):
    return [(row.line, row.file, row.labels) for row in label_file.read(path)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("file,label\na.jpg,cat\n", [(2, "a.jpg", ("cat",))]),
        ("file,labels\r\na.jpg,cat|dog\r\n", [(2, "a.jpg", ("cat", "dog"))]),
        ("File, Labels\n a.jpg , cat | big dog \n", [(2, "a.jpg ", ("cat", "big dog"))]),
        ("\ufefffile,label\na.jpg,cat", [(2, "a.jpg", ("cat",))]),
        ('file,label\n\n"a, b.jpg","""cat"""\n', [(3, "a, b.jpg", ('"cat"',))]),
        ('file,label\n"two\nlines.jpg",cat\nb.jpg,dog\n',
         [(2, "two\nlines.jpg", ("cat",)), (4, "b.jpg", ("dog",))]),
        ("file,label\ncafé.jpg,Gebäude\n", [(2, "café.jpg", ("Gebäude",))]),
    ],
)  # fmt: skip
def test_lines_are_read(write, text, expected):
    assert read(write(text)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must start with the header file,label or file,labels on line 1. Received: 'an empty"),
        ("a.jpg,cat\n", "Received: 'a.jpg,cat'. Write it above the first image"),
        ("file;label\na.jpg;cat\n", "Separate the fields by commas, not semicolons"),
        ("file\tlabel\n", "by commas, not tabs"),
        ("file,label,split\n", "Received: 'file,label,split'"),
        ("file,label\n", "must hold a line for each image. Received: none but the header"),
        (b"file,label\na.jpg,cat\ncaf\xe9.jpg,cat\n", "UTF-8. Received: the byte 0xe9 on line 3"),
        ("file,label\n".encode("utf-16"), "must be UTF-8. Received: UTF-16"),
        ("file,label\na.jpg,cat\nb.jpg\n", "line 3: expected two fields, .* Received: 1, b.jpg"),
        ("file,label\na.jpg,cat,dog\n", "line 2: .* Received: 3, a.jpg,cat,dog. .* labels by |"),
        ("file,label\n,cat\n", "line 2: expected a file. Received: none with the labels cat"),
        ("file,label\na.jpg,\n", "line 2: expected labels of a.jpg. Received: none in ''"),
        ("file,label\na.jpg, | \n", "line 2: expected labels of a.jpg. Received: none"),
        ("file,label\na.jpg,cat||dog\n", "line 2: .* Received: an empty one in 'cat||dog'"),
        ("file,label\na.jpg,cat|cat\n", "line 2: expected each label of a.jpg once"),
        ('file,label\na.jpg,"two\nlines"\n', r"line 2: .* on one line.*Received: 'two\\nlines'"),
        ('file,label\na.jpg,cat\n"b.jpg,dog\nc.jpg,cat\n', "line 3, where a quote .* never closed"),
        ('file,label\n"a".jpg,cat\n', "Received: line 2, where text follows a closing quote"),
    ],
)
def test_wrong_files_and_lines_are_refused_with_their_number(write, text, message):
    with pytest.raises(ValueError, match=message.replace("|", r"\|")):
        label_file.read(write(text))


def test_every_wrong_line_is_counted_and_the_first_are_named(write):
    path = write("file,label\n" + "a.jpg,\n" * 12)
    with pytest.raises(ValueError, match="12 lines are wrong") as raised:
        label_file.read(path)
    lines = str(raised.value).splitlines()
    assert lines[0] == f"{path}: 12 lines are wrong"
    assert [line.split(":")[0] for line in lines[1:11]] == [f"  line {n}" for n in range(2, 12)]
    assert lines[11:] == ["  and 2 more"]


def test_a_file_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="must be a CSV file. There is no file .*nowhere"):
        label_file.read(tmp_path / "nowhere.csv")


def match(*names, left_out=(), files=("a.jpg", "sub/b.jpg", "sub/c.jpg", "c.jpg")):
    rows = [label_file.Row(i, name, ("cat",)) for i, name in enumerate(names, 2)]
    return label_file.match("labels.csv", rows, Walk(list(files), [], list(left_out)), "photos")


@pytest.mark.parametrize("written", ["sub/b.jpg", "./sub/b.jpg", "sub\\b.jpg", " sub/b.jpg "])
def test_a_path_may_be_written_in_several_ways(written):
    assert match(written) == {"sub/b.jpg": ("cat",)}


def test_accents_may_be_composed_or_not():
    on_disk = unicodedata.normalize("NFD", "café.jpg")
    assert list(match("café.jpg", files=[on_disk])) == [on_disk]
    with pytest.raises(ValueError, match="line 2: .* may be .*. Write the one that is meant"):
        match(" café.jpg", files=[on_disk, "café.jpg"])
    assert list(match("café.jpg", files=[on_disk, "café.jpg"])) == ["café.jpg"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["x.jpg"], "line 2: photos has no file x.jpg. Correct or remove the line"),
        (["photos/b.jpg"], r"line 2: photos has no file photos/b.jpg. Did you mean sub/b.jpg\?"),
        (["/home/b.jpg"], "Write the path below the folder"),
        (["C:\\photos\\b.jpg"], "Write the path below the folder"),
        (["a.jpg", "b.jpg", "./a.jpg"], "2 lines are wrong(?s:.*)line 4: a.jpg is on line 2 alr"),
        (["a.txt"], r"line 2: a.txt is not read: not an image \(.txt\). Remove the line"),
    ],
)
def test_lines_that_name_no_image_are_refused(names, message):
    with pytest.raises(ValueError, match=message):
        match(*names, left_out=[LeftOut("a.txt", "not an image (.txt)")])


def test_whether_a_broken_file_is_an_error_is_not_up_to_its_line():
    assert match("gone.jpg", "a.jpg", left_out=[LeftOut("gone.jpg", "gone", True)]) == {
        "a.jpg": ("cat",)
    }


@pytest.fixture
def photos(tmp_path, rng):
    """40 images in nested folders, and how to label them."""
    root = tmp_path / "photos"
    for i in range(40):
        path = root / ("deep/er" if i % 2 else "") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype="uint8")).save(path)

    def label(label_of, name="labels.csv"):
        names = sorted(os.path.relpath(path, root) for path in root.rglob("*.png"))
        lines = [f"{n},{label_of(int(os.path.basename(n)[:-4]))}" for n in names]
        lines = [line for line in lines if not line.endswith(",None")]
        (root / name).write_text("\n".join(["file,labels", *lines]))
        return root, root / name

    return label


def load(root, labels, **arguments):
    return data.load(root, labels=labels, image_size=8, **arguments)


def test_images_at_any_depth_get_the_labels_of_their_line(photos):
    splits = load(*photos(lambda i: f"{i % 3}|few" if i % 5 == 0 else f"{i % 3}"))
    assert splits.classes == ["0", "1", "2", "few"]
    assert splits.has_several_labels
    assert len(splits.database) + len(splits.queries) == 40
    for part in (splits.train, splits.queries, splits.database):
        assert part.labels.dtype == np.uint8
        for name, labels in zip(part.names, part.labels.tolist()):
            number = int(os.path.basename(name)[:-4])
            assert labels == [*(number % 3 == rest for rest in range(3)), number % 5 == 0]
    images, labels = next(iter(splits.queries.batches()))
    assert labels.shape == (len(images), 4)
    # The label file itself is not among what was left out.
    assert str(splits.summary) == ""


def test_one_label_for_each_image_gives_integers_as_class_folders_do(photos):
    splits = load(*photos(lambda i: ["ant", "bee"][i % 2]))
    assert not splits.has_several_labels
    assert splits.train.labels.shape == (len(splits.train),)
    for name, label in zip(splits.database.names, splits.database.labels):
        assert label == int(os.path.basename(name)[:-4]) % 2


def test_images_without_a_line_are_counted_and_named(photos):
    splits = load(*photos(lambda i: None if i in (3, 4) else f"{i % 3}|x"))
    said = "left out 2, without a line in labels.csv: 4.png, deep/er/3.png"
    assert said in str(splits.summary)
    assert len(splits.database) + len(splits.queries) == 38


def test_a_broken_image_is_left_out_if_asked_for_and_its_label_is_noted(photos):
    root, labels = photos(lambda i: "rare|x" if i == 6 else f"{i % 2}|x")
    (root / "6.png").write_bytes(b"")
    with pytest.raises(ValueError, match="6.png: the file is empty"):
        load(root, labels)
    splits = load(root, labels, skip_broken=True)
    assert splits.classes == ["0", "1", "x"]
    assert "no image of 1 labels can be read: rare" in str(splits.summary)


def test_classes_of_one_image_are_in_the_database_and_said(photos):
    splits = load(*photos(lambda i: f"{i % 2}|only-{i}" if i < 3 else f"{i % 2}"))
    assert splits.queries.labels.sum(axis=0)[2:].tolist() == [0, 0, 0]
    assert splits.database.labels.sum(axis=0)[2:].tolist() == [1, 1, 1]
    said = (
        "3 classes have a single image, copies aside, which is in the database and no query: only-0"
    )
    assert said in str(splits.summary)


def test_labels_on_more_than_half_of_the_images_are_noted(photos):
    splits = load(*photos(lambda i: f"{i % 3}|all"))
    said = (
        "1 labels are on more than half of the images, all of which are similar to each other: all"
    )
    assert said in str(splits.summary)


def test_labels_that_differ_in_case_are_noted(photos):
    splits = load(*photos(lambda i: ["Cat", "cat"][i % 2]))
    assert "differ in case alone are different classes: Cat, cat" in str(splits.summary)


@pytest.mark.parametrize("parts", [("train", "test"), ("Training", "TEST", "val")])
def test_folders_called_train_and_test_are_the_official_split(photos, parts):
    root, _ = photos(lambda i: "x")
    for i, path in enumerate(sorted(root.rglob("*.png"))):
        target = root / parts[i % len(parts)] / path.name
        target.parent.mkdir(exist_ok=True)
        path.rename(target)
    splits = load(*photos(lambda i: f"{i % 3}|x"))
    assert {name.split("/")[0] for name in splits.queries.names} == {parts[1]}
    assert {name.split("/")[0] for name in splits.train.names} == {parts[0]}
    assert not splits.draws_queries
    assert f"official split: {parts[0]}/ (train)" in str(splits.summary)


def test_labels_are_part_of_the_fingerprint(photos):
    prints = [
        load(*photos(label)).fingerprint()
        for label in (lambda i: f"{i % 2}|x", lambda i: f"{i % 2}|x", lambda i: f"{i % 3}|x")
    ]
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize("protocol", ["cnnh", "cnnh54k", "unseen-classes"])
def test_protocols_without_a_meaning_for_several_labels_are_refused(photos, protocol):
    message = f"protocol '{protocol}' needs items of one class each: .* Use 'official'"
    with pytest.raises(ValueError, match=message):
        load(*photos(lambda i: f"{i % 3}|x"), protocol=protocol)


def test_a_single_class_is_refused(photos):
    with pytest.raises(ValueError, match="two or more classes. Received: .* items of labels x"):
        load(*photos(lambda i: "x"))


def test_labels_need_a_folder(photos, tmp_path):
    _, labels = photos(lambda i: "x")
    for source in ("digits", "mnist"):
        with pytest.raises(
            ValueError, match=f"images in a folder. Received: the dataset '{source}'"
        ):
            data.load(source, labels=labels)
    with pytest.raises(
        FileNotFoundError, match=re.escape(f"existing folder. Received: {tmp_path}/x")
    ):
        data.load(tmp_path / "x", labels=labels)
