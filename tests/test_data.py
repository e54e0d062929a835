import errno
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfhash import data
from tfhash.data import scan
from tfhash.data.content import digest, split_by_content


def colors(rng, size=(9, 7)):
    return Image.fromarray(rng.integers(0, 256, (*size, 3), dtype="uint8"))


@pytest.fixture
def photos(tmp_path, rng):
    """Three classes of twelve images, of several formats and sizes."""
    root = tmp_path / "photos"
    for label, name in enumerate(("ant", "bee", "cat")):
        (root / name).mkdir(parents=True)
        for i in range(12):
            suffix = ("png", "jpg", "bmp", "gif", "webp")[i % 5]
            colors(rng, (8 + label, 8 + i)).save(root / name / f"{i:02}.{suffix}")
    return root


def load(photos, **arguments):
    return data.load(photos, **{"image_size": 8, **arguments})


def elements(split):
    return list(zip(split.images(), split.labels.tolist()))


def test_a_folder_becomes_disjoint_splits_of_uint8_images(photos):
    splits = load(photos, query_fraction=0.25, validation_fraction=0.2)
    assert splits.classes == ["ant", "bee", "cat"]
    parts = (splits.queries, splits.validation, splits.train)
    assert all(set(part.labels) == {0, 1, 2} for part in parts)
    assert len({name for part in parts for name in part.names}) == 36
    assert splits.database.names == [*splits.train.names, *splits.validation.names]
    for part in (*parts, splits.database):
        images, labels = zip(*elements(part))
        assert {image.shape for image in images} == {(8, 8, 3)} == {part.image_shape}
        assert images[0].dtype == np.uint8
        assert [splits.classes[label] for label in labels] == [n[:3] for n in part.names]
        assert part.labels.tolist() == list(labels)


def test_the_split_depends_on_content_and_not_on_names(photos):
    def images_of_parts():
        splits = load(photos)
        parts = (splits.queries, splits.validation, splits.train)
        return [[image.tobytes() for image, _ in elements(part)] for part in parts]

    before = images_of_parts()
    for i, path in enumerate(sorted(photos.rglob("*.*"))):
        path.rename(path.with_name(f"renamed-{997 * i % 36}{path.suffix}"))
    assert images_of_parts() == before


def test_the_fingerprint_tells_when_an_item_changes_its_name_or_leaves(photos):
    before = load(photos).fingerprint()
    assert load(photos).fingerprint() == before
    path = photos / "ant" / "00.png"
    path.rename(path.with_name("renamed.png"))
    renamed = load(photos).fingerprint()
    path.with_name("renamed.png").unlink()
    assert len({before, renamed, load(photos).fingerprint()}) == 3


def test_copies_stay_in_one_split(photos):
    for path in list(photos.rglob("*.*")):
        shutil.copy(path, photos / "bee" / f"copy-{path.parent.name}-{path.name}")
    splits = load(photos)
    contents = [
        {(photos / name).read_bytes() for name in part.names}
        for part in (splits.queries, splits.validation, splits.train)
    ]
    assert sum(map(len, contents)) == len(set.union(*contents)) == 36
    assert all(contents)


@pytest.mark.parametrize("counts", [(1, 1), (2, 3), (3, 4), (50, 1000)])
@pytest.mark.parametrize("salt", range(30))
def test_every_class_has_training_items_then_queries_then_validation(counts, salt):
    labels = np.repeat([0, 1], counts)
    digests = [digest(bytes([salt, i % 256, i // 256])) for i in range(len(labels))]
    # Shares so large that 30 draws of two items fall on every pair of parts.
    queries, validation, train = split_by_content(digests, labels, 0.4, 0.5)
    assert sorted(np.concatenate([queries, validation, train])) == list(range(len(labels)))
    for label, count in enumerate(counts):
        parts = [(labels[part] == label).any() for part in (train, queries, validation)]
        assert parts == [count >= 1, count >= 2, count >= 3]


def test_the_shares_are_those_asked_for():
    digests = [digest(i.to_bytes(4, "little")) for i in range(20_000)]
    queries, validation, train = split_by_content(digests, np.zeros(20_000), 0.2, 0.05)
    assert len(queries) / 20_000 == pytest.approx(0.2, abs=0.01)
    assert len(validation) / (20_000 - len(queries)) == pytest.approx(0.05, abs=0.01)
    assert len(queries) + len(validation) + len(train) == 20_000


def test_items_stay_where_they_are_when_a_dataset_grows():
    digests = [digest(i.to_bytes(4, "little")) for i in range(400)]
    small = split_by_content(digests[:300], np.arange(300) % 3, 0.2, 0.05)
    large = split_by_content(digests, np.arange(400) % 3, 0.2, 0.05)
    for before, after in zip(small, large):
        assert set(before) <= set(after)


@pytest.mark.parametrize("fraction", ["query_fraction", "validation_fraction"])
def test_a_part_of_no_share_is_empty(photos, fraction):
    digests = [digest(bytes([i])) for i in range(30)]
    fractions = {"query_fraction": 0.3, "validation_fraction": 0.3, fraction: 0}
    queries, validation, _ = split_by_content(digests, np.zeros(30), **fractions)
    assert len(queries if fraction == "query_fraction" else validation) == 0
    if fraction == "validation_fraction":
        assert len(load(photos, **fractions).validation) == 0


def test_a_file_that_must_not_be_read_is_named_or_skipped(photos, monkeypatch):
    def deny(path, *arguments, open=open, **options):
        if str(path).endswith("02.bmp"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return open(path, *arguments, **options)

    monkeypatch.setattr(scan, "open", deny, raising=False)
    with pytest.raises(ValueError, match=r"3 of 36 image files .* ant/02.bmp: Permission denied"):
        load(photos)
    assert len(load(photos, skip_broken=True).summary.broken) == 3


@pytest.mark.parametrize("file", ["empty.png", "torn.jpg", "text.gif"])
def test_a_broken_file_is_named_or_skipped(photos, file):
    torn = next(photos.rglob("*.jpg")).read_bytes()[:60]
    broken = {"empty.png": b"", "torn.jpg": torn, "text.gif": b"hello"}[file]
    (photos / "bee" / file).write_bytes(broken)
    with pytest.raises(
        ValueError, match=rf"1 of 37 image files .* bee/{file}: .*[^.]\. Remove them"
    ):
        load(photos)
    splits = load(photos, skip_broken=True)
    assert [skipped.split(":")[0] for skipped in splits.summary.broken] == [f"bee/{file}"]
    assert len(splits.database) + len(splits.queries) == 36


def test_other_files_and_hidden_ones_are_ignored(photos):
    (photos / "ant" / "notes.txt").write_text("no image")
    (photos / "ant" / ".hidden.png").write_bytes(b"")
    (photos / ".cache").mkdir()
    assert load(photos).classes == ["ant", "bee", "cat"]


def test_an_empty_class_folder_is_named(photos):
    (photos / "dog").mkdir()
    with pytest.raises(ValueError, match="none in dog"):
        load(photos)


def test_a_class_without_a_readable_image_is_named(photos):
    (photos / "dog").mkdir()
    (photos / "dog" / "a.png").write_bytes(b"")
    with pytest.raises(ValueError, match="no image can be read in the class folders dog"):
        load(photos, skip_broken=True)


def test_one_class_only_is_refused(photos):
    for name in ("bee", "cat"):
        shutil.rmtree(photos / name)
    with pytest.raises(ValueError, match="one subfolder per class, two or more. Received: ant"):
        load(photos)


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="existing folder. Received: .*nowhere"):
        data.load(tmp_path / "nowhere")


@pytest.mark.parametrize("size", [0, -1, (8,), (8, 0), "8", 1.5])
def test_image_sizes_out_of_range_are_refused(photos, size):
    with pytest.raises(ValueError, match=r"`image_size` must be .* Received: image_size="):
        load(photos, image_size=size)


@pytest.mark.parametrize("argument", ["query_fraction", "validation_fraction"])
@pytest.mark.parametrize("fraction", [-0.1, 1.0])
def test_fractions_out_of_range_are_refused(photos, argument, fraction):
    with pytest.raises(ValueError, match=rf"`{argument}` must be in \[0, 1\)"):
        load(photos, **{argument: fraction})


def test_names_of_tensorflow_datasets_may_hold_a_slash(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    def no_network(self):
        raise ConnectionError

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", no_network)
    with pytest.raises(FileNotFoundError, match="'emnist/letters' is not prepared"):
        data.load("emnist/letters", data_dir=tmp_path)


def test_an_unknown_dataset_gets_a_suggestion():
    with pytest.raises(ValueError, match="Received: 'mnits'. Did you mean mnist"):
        data.load("mnits")


def test_a_dataset_that_cannot_be_had_says_what_to_set(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    def no_network(self):
        raise ConnectionError

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", no_network)
    with pytest.raises(FileNotFoundError, match=r"'mnist' is not prepared .*TFDS_DATA_DIR"):
        data.load("mnist", data_dir=tmp_path)


def test_a_dataset_with_one_split_is_divided_by_place(undivided_dataset):
    name, data_dir = undivided_dataset
    splits = data.load(name, data_dir=data_dir, image_size=8)
    assert splits.queries.names == [f"{name}/train/{i}" for i in range(72, 90)]
    assert splits.validation.names == [f"{name}/train/{i}" for i in range(68, 72)]
    assert splits.train.names == [f"{name}/train/{i}" for i in range(68)]
    assert [image.shape for image, _ in elements(splits.queries)] == [(8, 8, 3)] * 18


def test_a_dataset_of_tensorflow_datasets_can_do_without_validation(undivided_dataset):
    name, data_dir = undivided_dataset
    splits = data.load(name, data_dir=data_dir, image_size=8, validation_fraction=0)
    assert len(splits.validation) == len(elements(splits.validation)) == 0
    assert len(splits.train) == len(elements(splits.train)) == len(splits.database) == 72
    with pytest.raises(ValueError, match="the queries of .* Received: 0 items"):
        data.load(name, data_dir=data_dir, image_size=8, query_fraction=0)


def test_a_slice_without_items_is_refused(undivided_dataset):
    name, data_dir = undivided_dataset
    with pytest.raises(ValueError, match=r"must hold an item. Received: split='train\[90:\]'"):
        data.load_images(name, (8, 8, 3), split="train[90:]", data_dir=data_dir)


def test_images_that_differ_in_size_need_one(undivided_dataset):
    name, data_dir = undivided_dataset
    with pytest.raises(ValueError, match="differ in size. Pass `image_size`, such as 64"):
        data.load(name, data_dir=data_dir)


def test_digits_are_split_by_class():
    splits = data.load("digits")
    assert splits.image_shape == (8, 8, 1)
    counts = [len(splits.train), len(splits.validation), len(splits.queries)]
    assert sum(counts) == 1797
    assert np.bincount(splits.queries.labels).min() >= 20
    assert max(image.max() for image, _ in elements(splits.queries)) == 255


def test_mnist_has_its_official_split(shared_datasets):
    splits = data.load("mnist", data_dir=shared_datasets)
    assert len(splits.queries) == 10_000
    assert len(splits.database) == 60_000
    assert len(splits.train) == 57_000
    images = {image.tobytes() for image, _ in elements(splits.train.take(100))}
    assert not images & {image.tobytes() for image, _ in elements(splits.validation)}
    first, label = elements(splits.queries.take(1))[0]
    assert first.shape == (28, 28, 1)
    assert label == splits.queries.labels[0]


def test_a_slice_of_a_dataset_is_brought_to_the_models_shape(shared_datasets):
    split, summary = data.load_images(
        "cifar10", (16, 16, 1), split="test[:5]", data_dir=shared_datasets
    )
    assert [image.shape for image, _ in elements(split)] == [(16, 16, 1)] * 5
    assert split.names == [f"cifar10/test/{i}" for i in range(5)]
    assert str(summary) == ""
    with pytest.raises(ValueError, match="`split` must be one of .*test.* Received: split='tset'"):
        data.load_images("cifar10", (16, 16, 1), split="tset", data_dir=shared_datasets)


def test_flat_images_come_in_the_order_of_their_paths(photos):
    split, _ = data.load_images(photos, (8, 8, 3))
    assert split.names == sorted(split.names)
    assert len(split) == 36
    (photos / "bee" / "empty.png").write_bytes(b"")
    with pytest.raises(ValueError, match="bee/empty.png: the file is empty"):
        data.load_images(photos, (8, 8, 3))
    _, summary = data.load_images(photos, (8, 8, 3), skip_broken=True)
    assert summary.broken == ["bee/empty.png: the file is empty"]


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no images"):
        data.load_images(tmp_path, (8, 8, 3))


def stream(split, count, **arguments):
    batches = split.shuffled_batches(batch_size=4, seed=7, **arguments).take(count)
    return [(images.tobytes(), labels.tolist()) for images, labels in batches.as_numpy_iterator()]


def test_training_order_depends_on_seed_and_epoch_alone(photos):
    split = load(photos).train  # 27 items: six batches of four an epoch
    augmentation = data.Augmentation(max_shift=1, flip=True, cutout=4)
    tf.random.set_seed(0)
    run = stream(split, 18, augmentation=augmentation)
    tf.random.set_seed(5)
    assert stream(split, 6, first_epoch=2, augmentation=augmentation) == run[12:]
    assert run[:6] != run[6:12]


def test_images_are_left_as_they_are_after_the_augmented_epochs(photos):
    split = load(photos).train
    augmentation = data.Augmentation(max_shift=2, cutout=8)
    run = stream(split, 18, augmentation=augmentation, augmented_epochs=2)
    assert run[:12] == stream(split, 12, augmentation=augmentation)
    assert run[12:] == stream(split, 6, first_epoch=2)


def test_an_epoch_holds_every_item_once_but_for_the_rest(photos):
    split = load(photos).train
    seen = [image for images, _ in split.shuffled_batches(4, seed=0).take(6) for image in images]
    assert len({image.numpy().tobytes() for image in seen}) == 24
    assert split.steps_per_epoch(4) == 6


@pytest.mark.parametrize("name", ["max_shift", "cutout"])
@pytest.mark.parametrize("value", [-1, 9])
def test_augmentation_beyond_the_image_is_refused(photos, name, value):
    augmentation = data.Augmentation(**{name: value})
    with pytest.raises(ValueError, match=f"`{name}` must be in 0 to 8.*Received: {name}={value}"):
        load(photos).train.shuffled_batches(4, seed=0, augmentation=augmentation)


def test_a_split_that_is_left_in_the_middle_is_read_whole_the_next_time(shared_datasets):
    queries = data.load("mnist", data_dir=shared_datasets).queries
    for _ in range(3):
        next(iter(queries.batches(1000)))
    assert sum(len(labels) for _, labels in queries.batches(1000)) == len(queries)


def test_a_batch_larger_than_the_split_is_the_split(photos):
    split = load(photos).validation
    (images, _) = next(iter(split.shuffled_batches(1000, seed=0)))
    assert len(images) == len(split)
    assert split.steps_per_epoch(1000) == 1
