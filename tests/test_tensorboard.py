"""What RetrievalEvaluation writes for TensorBoard, read back by TensorBoard's own reader."""

import tracemalloc

import keras
import numpy as np
import pytest
from PIL import Image

from tfhash import callbacks
from tfhash.callbacks import tensorboard
from tfhash.codes import unpack

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="event files are the same on each backend"
)


@pytest.fixture(scope="module")
def logged(make_model, striped, tmp_path_factory):
    """A model, the history of two epochs, and where its log is."""
    log_dir = tmp_path_factory.mktemp("logs")
    model = make_model(bits=9)
    evaluation = callbacks.RetrievalEvaluation(striped, log_dir=log_dir)
    history = model.fit(*striped, epochs=2, verbose=0, callbacks=[evaluation]).history
    return model, history, log_dir / tensorboard.RUN


@pytest.fixture(scope="module")
def events(logged):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(logged[2]), size_guidance={"tensors": 0})
    read.Reload()
    return read


def values_of(events, tag):
    from tensorboard.util.tensor_util import make_ndarray

    return [(event.step, make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)]


@pytest.mark.parametrize("name", ["val_map", "val_precision_radius_2"])
def test_each_epoch_has_the_figures_of_the_history(logged, events, name):
    steps, values = zip(*values_of(events, name))
    assert steps == (0, 1)
    np.testing.assert_allclose(values, logged[1][name], rtol=1e-6)


def test_the_health_of_codes_is_a_histogram_for_each_epoch(logged, events):
    for tag, count in (("codes/bit_balance", 9), ("codes/bit_correlation", 9 * 8 / 2)):
        for _, histogram in values_of(events, tag):
            assert histogram[:, 2].sum() == count  # left edge, right edge, count
    model, images = logged[0], tensorboard_sample(logged)
    (_, share) = values_of(events, "codes/distinct_share")[-1]
    distinct = len(np.unique(model.encode(images), axis=0))
    assert share == pytest.approx(distinct / len(images))


def test_the_picture_of_neighbors_is_a_png(events):
    pictures = values_of(events, "neighbors")
    assert [step for step, _ in pictures] == [0, 1]
    assert all(picture[2].startswith(b"\x89PNG") for _, picture in pictures)


def tensorboard_sample(logged):
    """The images in the sprite, which holds all 64 in 8 rows of 8."""
    sprite = np.asarray(Image.open(logged[2] / tensorboard.SPRITE))
    return sprite.reshape(8, 8, 8, 8).swapaxes(1, 2).reshape(64, 8, 8, 1)


def test_the_projector_gets_the_codes_of_the_thumbnails_it_shows(logged, striped):
    model, _, directory = logged
    images = tensorboard_sample(logged)
    np.testing.assert_array_equal(images, striped[0])
    signs = np.loadtxt(directory / tensorboard.CODES, delimiter="\t")
    np.testing.assert_array_equal(signs, unpack(model.encode(images), 9))
    shown = (directory / tensorboard.LABELS).read_text().split()
    assert shown == [str(label) for label in striped[1]]
    config = (directory / "projector_config.pbtxt").read_text()
    assert all(name in config for name in (tensorboard.CODES, tensorboard.LABELS))
    assert "single_image_dim: 8" in config


class Sevens(keras.utils.PyDataset):
    """Batches of 7 items."""

    def __init__(self, *arrays):
        super().__init__()
        self.arrays = arrays

    @property
    def num_batches(self):
        return -(-len(self.arrays[0]) // 7)

    def __getitem__(self, index):
        return tuple(array[7 * index : 7 * index + 7] for array in self.arrays)


@pytest.mark.parametrize("items", [1, 2, 3, 700])
@pytest.mark.parametrize("form", ["arrays", "tf.data", "unknown length", "PyDataset"])
def test_a_sample_comes_from_all_over_the_data(items, form):
    import tensorflow as tf

    images = np.arange(items, dtype="float32")[:, None, None, None] * np.ones((1, 8, 8, 1))
    labels = np.arange(items)
    data = images, labels
    if form == "PyDataset":
        data = Sevens(images, labels)
    elif form != "arrays":
        data = tf.data.Dataset.from_tensor_slices(data).batch(7)
        data = data.filter(lambda *_: True) if form == "unknown length" else data
    found, of_items = tensorboard.sample_of(data)
    np.testing.assert_array_equal(found[:, 0, 0, 0], of_items)
    assert len(set(of_items.tolist())) == len(of_items) <= tensorboard.SAMPLE_ITEMS
    assert len(of_items) >= min(items, tensorboard.SAMPLE_ITEMS) - 7
    assert max(of_items) - min(of_items) >= 0.95 * (items - 7)


def test_a_sample_of_unknown_length_is_uniform_and_holds_no_more_than_itself_and_a_batch():
    items, batch = 20_000, 100
    image = np.zeros((32, 32, 3), "uint8")

    def batches():
        for first in range(0, items, batch):
            yield np.tile(image, (batch, 1, 1, 1)), np.arange(first, first + batch)

    tracemalloc.start()
    try:
        images, labels = tensorboard.sample_of(batches())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The sample, its parts while they are stacked, and some batches.
    assert (
        peak < (3 * tensorboard.SAMPLE_ITEMS + 3 * batch) * image.nbytes < items * image.nbytes / 8
    )
    assert images.shape == (tensorboard.SAMPLE_ITEMS, 32, 32, 3)
    assert (np.diff(labels) > 0).all()
    tenths = np.bincount(labels // (items // 10), minlength=10)
    assert (np.abs(tenths - 50) < 4 * np.sqrt(50 * 0.9)).all()
    np.testing.assert_array_equal(tensorboard.sample_of(batches())[1], labels)


@pytest.mark.parametrize("items", [1, 2, 5])
def test_few_items_and_equal_codes_have_a_picture(items):
    images, packed = np.zeros((items, 8, 8, 3), "uint8"), np.zeros((items, 2), "uint8")
    picture = tensorboard._neighbors(images, np.zeros(items, int), packed)
    assert picture.shape[-1] == 4


def test_sprites_of_large_images_fit_into_a_browser(tmp_path):
    images = np.zeros((10, 4_000, 2_000, 1), "uint8")
    width, height = tensorboard._write_sprite(tmp_path / "sprite.png", images)
    assert (width, height) == (1_000, 2_000)


def test_several_labels_and_class_names_are_shown_in_words():
    assert tensorboard._in_words([0, 2], ["cat", "dog", "sea\n\tside"]).splitlines() == [
        "cat, sea  side"
    ]
    assert tensorboard._in_words([], None) == "-"


def test_a_missing_package_is_named_before_training(monkeypatch, tmp_path, striped):
    monkeypatch.setattr(tensorboard.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install tensorflow"):
        callbacks.RetrievalEvaluation(striped, log_dir=tmp_path)
