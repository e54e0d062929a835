"""Items by index: the same images and order from memory and from a stream, in arrays and tf.data."""

import gc
import itertools

import numpy as np
import pytest
import tensorflow as tf

from tfhash import data
from tfhash.data import records, sources
from tfhash.data.sources import ArraySource
from tfhash.data.split import Split

NUMBERS = itertools.count()


@pytest.fixture(params=["memory", "stream", "memory of the split"])
def numbered(request, monkeypatch):
    """30 items whose images tell their number, kept in memory or not."""
    room = {"memory": 2**31, "stream": 0, "memory of the split": 29 * 16}[request.param]
    monkeypatch.setattr(sources, "MEMORY_BYTES", room)
    numbers = np.arange(30, dtype="uint8")
    images = np.broadcast_to(numbers[:, None, None, None], (30, 4, 4, 1))
    source = ArraySource(images, [f"item {i}" for i in numbers], numbers % 3)
    return Split.of_all(source, (4, 4, 1)).pick(np.arange(29)[::-1])


def listed(batches, count=None):
    batches = batches if count is None else batches.take(count)
    return [
        (images[:, 0, 0, 0].tolist(), labels.tolist())
        for images, labels in batches.as_numpy_iterator()
    ]


def test_batches_hold_all_items_in_order(numbered):
    batches = numbered.batches(8)
    images, labels = zip(*listed(batches))
    assert [len(batch) for batch in images] == [8, 8, 8, 5]
    np.testing.assert_array_equal(np.concatenate(images), np.arange(29)[::-1])
    np.testing.assert_array_equal(np.concatenate(labels), numbered.labels)
    assert len(batches) == 4
    assert len(list(numbered.take(0).batches())) == 0


@pytest.mark.parametrize(
    ("items_per_class", "layers"), [(None, ""), (2, "RandomFlip, RandomRotation(0.1)")]
)
def test_arrays_and_pipelines_train_on_the_same_batches(numbered, items_per_class, layers):
    arguments = {
        "batch_size": 4, "seed": 3, "first_epoch": 1, "augmented_epochs": 3,
        "augmentation": data.Augmentation(max_shift=1, flip=True, cutout=2, layers=layers),
        "items_per_class": items_per_class,
    }  # fmt: skip
    arrays = data.ArrayBatches(numbered.images(), numbered.labels, **arguments)
    assert numbered.steps_per_epoch(4) == arrays.steps_per_epoch == 7
    batches = numbered.shuffled_batches(**arguments).take(21).as_numpy_iterator()
    for i, (images, labels) in enumerate(batches):
        np.testing.assert_array_equal(images, arrays[i][0])
        np.testing.assert_array_equal(labels, arrays[i][1])


def test_random_crops_come_from_larger_images_and_a_resumed_run_sees_the_same():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (9, 40, 60, 3), "uint8")
    source = ArraySource(images, [str(i) for i in range(9)], np.arange(9) % 2)
    split = Split.of_all(source, (21, 21, 3))
    augmentation = data.Augmentation(crop=0.4, flip=True)
    whole = {
        "batch_size": 3, "seed": 5, "augmentation": augmentation, "augmented_epochs": 3,
    }  # fmt: skip
    seen = list(split.shuffled_batches(**whole).take(12).as_numpy_iterator())
    assert {images.shape for images, _ in seen} == {(3, 21, 21, 3)}
    larger = split.resize_to((24, 24, 3))
    unaugmented = list(split.shuffled_batches(3, 5).take(12).as_numpy_iterator())
    before = list(larger.shuffled_batches(3, 5).take(12).as_numpy_iterator())
    for step in range(9):
        expected = augmentation(before[step][0], (5, *divmod(step, 3)), (21, 21))
        np.testing.assert_array_equal(seen[step][0], expected)
    for step in range(9, 12):
        np.testing.assert_array_equal(seen[step][0], unaugmented[step][0])
    for first_epoch in (1, 2, 3):
        resumed = split.shuffled_batches(**whole, first_epoch=first_epoch)
        for a, b in zip(seen[3 * first_epoch :], resumed.as_numpy_iterator()):
            np.testing.assert_array_equal(a[0], b[0])
            np.testing.assert_array_equal(a[1], b[1])


def test_the_global_seed_plays_no_part_in_the_order(numbered):
    orders = []
    for seed in (1, 2):
        tf.random.set_seed(seed)
        orders.append(listed(numbered.shuffled_batches(4, seed=0), 8))
    assert orders[0] == orders[1]


def test_no_pipeline_starts_a_thread_that_tunes_it(numbered):
    """Freeing an iterator waits for that thread."""
    for batches in (numbered.batches(4), numbered.elements, numbered.shuffled_batches(4, seed=0)):
        assert not batches.options().autotune.enabled


def test_images_are_had_by_indices_of_any_shape(numbered):
    np.testing.assert_array_equal(numbered.images()[:, 0, 0, 0], np.arange(29)[::-1])
    found = numbered.images([[3, 0, 3], [28, 1, 2]])
    assert found.shape == (2, 3, 4, 4, 1)
    assert found[..., 0, 0, 0].tolist() == [[25, 28, 25], [0, 27, 26]]
    assert numbered.images([]).shape == (0, 4, 4, 1)


def test_taking_and_picking_read_no_image(numbered, monkeypatch):
    monkeypatch.setattr(ArraySource, "image", None)
    picked = numbered.pick([4, 4, 0]).concatenate(numbered.take(2))
    assert picked.names == ["item 24", "item 24", "item 28", "item 28", "item 27"]
    assert picked.labels.tolist() == [0, 0, 1, 1, 0]
    assert len(numbered.take(1000)) == 29


def test_resized_images_come_from_the_original(numbered):
    larger = numbered.resize_to((8, 8, 3))
    assert larger.images().shape == (29, 8, 8, 3)
    np.testing.assert_array_equal(larger.resize_to((4, 4, 1)).images(), numbered.images())


def test_splits_of_different_sources_are_not_joined(numbered):
    other = ArraySource(np.zeros((2, 4, 4, 1), "uint8"), ["a", "b"], [0, 1])
    with pytest.raises(ValueError, match="of different sources"):
        numbered.concatenate(Split.of_all(other, (4, 4, 1)))
    with pytest.raises(ValueError, match=r"Received: shapes \(4, 4, 1\) and \(8, 8, 1\)"):
        numbered.concatenate(numbered.resize_to((8, 8, 1)))


def test_training_on_no_items_is_refused(numbered):
    with pytest.raises(ValueError, match="images to train on"):
        numbered.take(0).shuffled_batches(4, seed=0)


def test_splits_of_a_source_share_decoded_images():
    splits = data.load("digits")
    assert splits.train._kept is splits.database._kept is splits.queries._kept
    assert splits.resize_to((4, 4, 1)).train._kept is not splits.train._kept


@pytest.mark.parametrize("room", [10, 15, 25, 60])
def test_all_splits_and_shapes_of_a_source_share_the_memory(monkeypatch, room):
    monkeypatch.setattr(sources, "MEMORY_BYTES", room * 16)
    images = np.random.default_rng(0).integers(0, 256, (30, 4, 4, 1), "uint8")
    everything = Split.of_all(ArraySource(images, list("x" * 30), np.zeros(30)), (4, 4, 1))
    splits = [everything.pick(np.arange(i, i + 8)) for i in range(3)]
    splits += [split.resize_to((4, 8, 1)) for split in splits]
    for split in splits:
        assert len(list(split.batches(3))) == 3
    kept = {id(split._kept): split._kept.images.nbytes for split in splits if split._kept}
    assert 0 < sum(kept.values()) <= room * 16
    np.testing.assert_array_equal(splits[2].images(), images[2:10])
    # What a pipeline reads counts as long as it is there, and no longer.
    batches = splits[0].shuffled_batches(4, seed=0)
    del splits, split
    taken = sum(kept.images.nbytes for kept in everything.source._in_memory)
    assert 0 < taken <= room * 16
    del batches
    gc.collect()
    assert not list(everything.source._in_memory)
    assert everything.pick(np.arange(8))._kept is not None


def test_splits_are_shown_in_ten_lines():
    splits = data.load("digits")
    assert len(repr(splits).splitlines()) <= 10
    assert "train: 1,343" in repr(splits)
    assert repr(splits.train) == "Split of 1,343 images of shape (8, 8, 1)"


@pytest.fixture
def prepared(tmp_path):
    """Prepares a dataset of tensorflow-datasets of images of a type and shape, in two shards."""
    import tensorflow_datasets as tfds

    def prepare(dtype, shape, high):
        class Prepared(tfds.core.GeneratorBasedBuilder):
            name = f"prepared_{next(NUMBERS)}"  # a name can be registered once
            VERSION = tfds.core.Version("1.0.0")

            def _info(self):
                features = {
                    "image": tfds.features.Image(shape=shape, dtype=dtype, encoding_format="png"),
                    "label": tfds.features.ClassLabel(num_classes=2),
                }
                return self.dataset_info_from_configs(
                    features=tfds.features.FeaturesDict(features),
                    supervised_keys=("image", "label"),
                )

            def _split_generators(self, dl_manager):
                return {"train": self._generate_examples(30), "test": self._generate_examples(9)}

            def _generate_examples(self, count):
                rng = np.random.default_rng(count)
                for i in range(count):
                    image = rng.integers(0, high, shape).astype(dtype)
                    yield i, {"image": image, "label": i % 2}

        config = tfds.download.DownloadConfig(num_shards=2)
        Prepared(data_dir=tmp_path).download_and_prepare(download_config=config)
        return Prepared.name

    return prepare


def test_records_are_those_of_tensorflow_datasets_in_their_order(prepared, tmp_path):
    import tensorflow_datasets as tfds

    name = prepared(np.uint8, (5, 4, 3), 256)
    for split in ("train", "train[3:20]", "test[:50%]+train[25:]"):
        read = tfds.ReadConfig(interleave_cycle_length=1)
        expected = tfds.load(name, data_dir=tmp_path, split=split, read_config=read)
        expected = list(expected.as_numpy_iterator())
        found, _ = data.load_images(name, (5, 4, 3), split=split, data_dir=tmp_path)
        np.testing.assert_array_equal(found.images(), [item["image"] for item in expected])
        assert found.labels.tolist() == [item["label"] for item in expected]
        assert len(found.names) == len(set(found.names)) == len(expected)


@pytest.mark.parametrize("size", [None, 7])
def test_16_bit_records_are_scaled(prepared, tmp_path, size):
    name = prepared(np.uint16, (5, 4, 1), 65536)
    images = data.load(name, data_dir=tmp_path, image_size=size).train.images()
    assert images.dtype == np.uint8
    assert 100 < images.mean() < 156
    assert (images == 255).mean() < 0.05


def test_alpha_of_records_shows_the_background(prepared, tmp_path):
    name = prepared(np.uint8, (5, 4, 4), 1)  # transparent black
    splits = data.load(name, data_dir=tmp_path)
    assert splits.image_shape == (5, 4, 3)
    assert splits.train.images().min() == 255


def test_float_records_are_refused(prepared, tmp_path):
    name = prepared(np.float32, (5, 4, 1), 1)
    with pytest.raises(ValueError, match="must be uint8 or uint16.* Received: float32"):
        data.load(name, data_dir=tmp_path)


def test_a_damaged_file_of_records_is_named(tmp_path):
    path = tmp_path / "x.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(b"a record")
    assert records._find_records(path).tolist() == [[12, 8]]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="x.tfrecord is damaged"):
        records._find_records(path)


def test_elements_are_the_items_one_by_one(numbered):
    found = [(int(image[0, 0, 0]), int(label)) for image, label in numbered.elements]
    assert found == list(zip(numbered.images()[:, 0, 0, 0].tolist(), numbered.labels.tolist()))
