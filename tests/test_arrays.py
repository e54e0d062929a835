"""Training batches from arrays, and what augmentation does to them, without TensorFlow."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from tfhash.data import ArrayBatches, Augmentation, PartlyLabeledBatches


@pytest.fixture
def augmented():
    """What an augmentation makes of 200 copies of an image."""

    def augment(image, **arguments):
        return Augmentation(**arguments)(np.repeat(image[None], 200, axis=0), seed=0)

    return augment


def test_a_shift_moves_images_by_whole_pixels(augmented):
    image = np.zeros((5, 5, 1), "uint8")
    image[2, 2] = 255
    found = augmented(image, max_shift=1)
    assert all((changed == 255).sum() == 1 for changed in found)
    spots = {tuple(np.argwhere(changed[..., 0])[0]) for changed in found}
    assert spots == {(r, c) for r in (1, 2, 3) for c in (1, 2, 3)}


def test_a_shift_mirrors_the_border(augmented):
    image = np.arange(12, dtype="uint8").reshape(3, 4, 1)
    rows = {tuple(changed[1, :, 0]) for changed in augmented(image, max_shift=1)}
    assert {(4, 4, 5, 6), (4, 5, 6, 7), (5, 6, 7, 7)} <= rows


def test_half_of_the_images_are_flipped(augmented, rng):
    image = rng.integers(0, 256, (6, 6, 3), "uint8")
    found = augmented(image, flip=True)
    is_flipped = [(changed == image[:, ::-1]).all() for changed in found]
    as_it_was = [(changed == image).all() for changed in found]
    assert np.logical_xor(is_flipped, as_it_was).all()
    assert 70 < sum(is_flipped) < 130


def test_a_square_is_cut_out_anywhere(augmented):
    found = [changed == 128 for changed in augmented(np.zeros((6, 8, 1), "uint8"), cutout=3)]
    sizes = {tuple(np.ptp(np.argwhere(cut), axis=0)[:2] + 1) for cut in found}
    assert max(sizes) == (3, 3)
    assert all(cut.sum() in (h * w for h, w in sizes) for cut in found)
    share = np.mean(found, axis=0)
    assert share.min() > 0.02  # corners too
    assert share.max() < 0.4


def test_changes_are_drawn_apart_from_each_other(augmented):
    image = np.arange(36, dtype="uint8").reshape(6, 6, 1)
    found = {changed.tobytes() for changed in augmented(image, max_shift=1, flip=True)}
    assert len(found) == 18  # nine shifts, flipped or not


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_changes_keep_type_and_input(rng, dtype):
    images = rng.integers(0, 256, (5, 7, 6, 3)).astype(dtype)
    before = images.copy()
    changed = Augmentation(max_shift=2, flip=True, cutout=2)(images, seed=(1, 2))
    assert (changed.dtype, changed.shape) == (images.dtype, images.shape)
    np.testing.assert_array_equal(images, before)


def images_of(count):
    """Images that tell their own number."""
    return np.broadcast_to(np.arange(count)[:, None, None, None], (count, 4, 4, 1)).astype("uint8")


def listed(batches, indices):
    return [
        (images.tolist(), labels.tolist()) for images, labels in map(batches.__getitem__, indices)
    ]


def test_an_epoch_holds_every_item_once_but_for_the_rest():
    batches = ArrayBatches(images_of(27), np.arange(27) + 100, batch_size=4, seed=0)
    seen = [(images[:, 0, 0, 0], labels) for images, labels in (batches[i] for i in range(6))]
    assert batches.steps_per_epoch == 6
    assert len(np.unique(np.concatenate([labels for _, labels in seen]))) == 24
    assert all((labels == numbers + 100).all() for numbers, labels in seen)


def test_order_and_changes_depend_on_seed_and_epoch_alone():
    arguments = {"batch_size": 4, "augmentation": Augmentation(max_shift=1, cutout=2)}
    run = listed(ArrayBatches(images_of(27), np.arange(27), seed=3, **arguments), range(18))
    assert run[:6] != run[6:12]
    later = ArrayBatches(images_of(27), np.arange(27), seed=3, first_epoch=2, **arguments)
    assert listed(later, range(6)) == run[12:]
    other = ArrayBatches(images_of(27), np.arange(27), seed=4, first_epoch=2, **arguments)
    assert listed(other, range(6)) != run[12:]


def test_images_are_left_as_they_are_after_the_augmented_epochs():
    images = images_of(8)
    augmentation = Augmentation(max_shift=2, cutout=4)
    batches = ArrayBatches(
        images, np.arange(8), 4, 0, augmentation=augmentation, augmented_epochs=2
    )
    is_changed = [
        (changed != images[labels]).any() for changed, labels in map(batches.__getitem__, range(8))
    ]
    assert is_changed == 4 * [True] + 4 * [False]


class Recorder(ArrayBatches):
    def __getitem__(self, index):
        self.seen = [*getattr(self, "seen", []), index]
        return super().__getitem__(index)


def ramp(side):
    """An image of channels that tell the column and the row, in pixels."""
    rows, columns = np.mgrid[:side, :side]
    return np.stack([columns, rows, 0 * rows], axis=-1).astype("uint8")


def test_a_crop_of_the_whole_area_is_the_image_resized():
    image = ramp(32)[None]
    square = Augmentation(crop=1 - 1e-9)
    # Its aspect is random, and cut to the image where it is longer: the longer side is whole.
    changed = square(np.repeat(image, 100, axis=0), 0, (16, 16))
    spans = changed[:, -1, -1, :2].astype(int) - changed[:, 0, 0, :2]
    np.testing.assert_allclose(spans.max(axis=1), 30, atol=1)
    assert spans.min() >= 30 * (3 / 4) ** 0.5 - 2


@pytest.mark.parametrize("smallest", [0.2, 0.5, 0.9])
def test_crops_keep_the_share_of_the_area_that_is_asked_for(smallest):
    images = np.repeat(ramp(200)[None], 400, axis=0)
    changed = Augmentation(crop=smallest)(images, 0, (100, 100)).astype(float)
    # Along a ramp, the mean step is the share of the side, twice as large for half the pixels.
    width = np.diff(changed[:, 50, :, 0], axis=1).mean(axis=1) / 2
    height = np.diff(changed[:, :, 50, 1], axis=1).mean(axis=1) / 2
    area, aspect = width * height, width / height
    assert smallest * (3 / 4) < area.min() < smallest + 0.1
    assert area.max() <= 1.01
    assert 0.7 < aspect.min() < 0.85 < 1.2 < aspect.max() < 1.4
    assert changed[:, 0, 0, 0].min() < 5  # somewhere at the left border,
    assert changed[:, 0, -1, 0].max() > 190  # and at the right one


def test_crops_are_those_of_bilinear_interpolation():
    tf = pytest.importorskip("tensorflow")
    images = np.random.default_rng(0).integers(0, 256, (20, 30, 40, 3), "uint8")
    rng = np.random.default_rng(7)
    area, log_aspect = rng.uniform(0.4, 1, 20), rng.uniform(np.log(3 / 4), np.log(4 / 3), 20)
    shares = np.minimum(1, np.sqrt([area / np.exp(log_aspect), area * np.exp(log_aspect)]))
    starts = rng.uniform(0, 1 - shares)
    # TensorFlow's boxes lead from the center of the first pixel to that of the last.
    sizes = np.array([[30], [40]])
    first = (starts + shares / (2 * np.array([[24], [24]]))) * sizes - 0.5
    last = (starts + shares * (1 - 1 / (2 * 24))) * sizes - 0.5
    boxes = np.concatenate([first, last]).clip(0, np.tile(sizes - 1, (2, 1))) / (
        np.tile(sizes, (2, 1)) - 1
    )
    expected = tf.image.crop_and_resize(images.astype("float32"), boxes.T, range(20), (24, 24))
    changed = Augmentation(crop=0.4)(images, 7, (24, 24))
    inner = np.abs(changed.astype(float) - expected.numpy())[:, 1:-1, 1:-1]
    assert inner.max() <= 0.51


def test_the_same_seed_crops_alike_and_another_does_not():
    images = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), "uint8")
    before, augmentation = images.copy(), Augmentation(crop=0.5, flip=True)
    changed = augmentation(images, (3, 1, 4))
    np.testing.assert_array_equal(changed, augmentation(images, (3, 1, 4)))
    assert (changed != augmentation(images, (3, 1, 5))).any()
    np.testing.assert_array_equal(images, before)
    assert changed.shape == images.shape


@pytest.mark.parametrize("share", [0, -0.5, 1.01])
def test_a_crop_of_no_area_or_more_than_the_image_is_refused(share):
    with pytest.raises(ValueError, match="`crop` must be above 0, up to 1"):
        Augmentation(crop=share).check((8, 8, 3))


def test_fit_takes_one_batch_after_the_other_across_epochs():
    inputs = keras.Input((4, 4, 1))
    model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Flatten()(inputs)))
    model.compile("sgd", "mse")
    batches = Recorder(images_of(8), np.zeros(8), batch_size=4, seed=0)
    model.fit(batches, epochs=3, steps_per_epoch=2, shuffle=False, verbose=0)
    # Before and after these, Keras looks at the first and at the next ones.
    assert "0, 1, 2, 3, 4, 5" in str(batches.seen)


def test_a_batch_larger_than_the_arrays_is_all_of_them():
    batches = ArrayBatches(images_of(3), np.arange(3), batch_size=100, seed=0)
    assert batches.steps_per_epoch == 1
    assert sorted(batches[0][1]) == [0, 1, 2]


@pytest.mark.parametrize(("images", "labels"), [(0, 0), (3, 2)])
def test_images_without_a_label_each_are_refused(images, labels):
    with pytest.raises(ValueError, match=f"Received: {images} images and {labels} labels"):
        ArrayBatches(images_of(images), np.arange(labels), batch_size=2, seed=0)


def test_augmentation_beyond_the_arrays_is_refused():
    with pytest.raises(ValueError, match="`max_shift` must be in 0 to 4"):
        ArrayBatches(images_of(3), np.arange(3), 2, 0, augmentation=Augmentation(max_shift=5))


def partly_labeled(labels, **arguments):
    return PartlyLabeledBatches(images_of(len(labels)), np.array(labels), seed=0, **arguments)


def taken(batches):
    """The numbers and the labels of the images of an epoch."""
    epoch = [batches[i] for i in range(batches.num_batches)]
    return [
        np.concatenate(part) for part in ([i[:, 0, 0, 0] for i, _ in epoch], [y for _, y in epoch])
    ]


def test_an_epoch_takes_labeled_images_over_and_over():
    batches = partly_labeled([-1, 5, -1, 6, -1, 7, -1, -1, -1, -1], batch_size=4)
    numbers, labels = taken(batches)
    assert batches.steps_per_epoch == batches.num_batches == 2
    assert sorted(np.unique(numbers, return_counts=True)[1]) == [2, 3, 3]
    np.testing.assert_array_equal(labels, np.array([5, 6, 7])[(numbers - 1) // 2])


def test_pseudo_labels_are_the_labels_of_one_epoch():
    batches = partly_labeled([-1, 5, -1, 6, -1, 7], batch_size=2)
    batches.begin_epoch(1, [8, -1, 9])
    numbers, labels = taken(batches)
    assert {*zip(numbers.tolist(), labels.tolist())} == {(0, 8), (1, 5), (3, 6), (4, 9), (5, 7)}
    batches.begin_epoch(2, [-1, -1, -1])
    assert set(taken(batches)[0].tolist()) == {1, 3, 5}


def test_order_depends_on_seed_epoch_and_pseudo_labels_alone():
    first, again = (partly_labeled([-1, 5, 6, 7, 8, -1], batch_size=2) for _ in range(2))
    first.begin_epoch(0, [1, 1])
    taken(first)
    orders = []
    for epoch in (3, 4):
        first.begin_epoch(epoch, [1, -1])
        again.begin_epoch(epoch, np.array([1, -1]))
        orders.append(taken(first)[0].tolist())
        assert orders[-1] == taken(again)[0].tolist()
    assert orders[0] != orders[1]


def test_labels_that_are_given_stay_as_they_are():
    given = np.array([-1, 5])
    batches = PartlyLabeledBatches(images_of(2), given, 2, seed=0)
    batches.begin_epoch(0, [4])
    assert given.tolist() == [-1, 5]


def test_images_of_which_none_has_a_label_are_refused():
    with pytest.raises(ValueError, match="some images must have a label"):
        partly_labeled([-1, -1], batch_size=1)


TRAINING_ON_JAX = """
import sys
sys.modules["tensorflow"] = None  # importing it fails

import dataclasses
import keras, numpy as np
from tfhash import losses, metrics
from tfhash.callbacks import RetrievalEvaluation, TwoStageTraining
from tfhash.data import ArrayBatches
from tfhash.experiments import make_recipe, network

rng = np.random.default_rng(0)
labels = np.arange(64) % 2
images = (rng.integers(0, 100, (64, 8, 8, 3)) + 150 * labels[:, None, None, None]).astype("uint8")
recipe = dataclasses.replace(
    make_recipe("photographs", (8, 8, 3), 47_500, batch_size=16),
    width=8, pretrain_epochs=10, finetune_epochs=10, unaugmented_epochs=4,
)
loss = losses.ExponentiatedHashingLoss()
model = network.build_model(recipe, (8, 8, 3), num_classes=2, bits=9, hashing_loss=loss, seed=0)
model.adapt(images)
batches = ArrayBatches(
    images, labels, recipe.batch_size, 0,
    augmentation=recipe.augmentation(), augmented_epochs=recipe.augmented_epochs(),
)
steps = batches.steps_per_epoch
stages = TwoStageTraining(
    recipe.pretrain_epochs,
    network.schedule(recipe, "pretrain", steps),
    network.schedule(recipe, "finetune", steps),
)
history = model.fit(
    batches, epochs=recipe.epochs(), steps_per_epoch=steps, shuffle=False, verbose=0,
    callbacks=[RetrievalEvaluation((images, labels), (images, labels)), stages],
).history
packed = model.encode(images)
histograms = metrics.distance_histograms(packed, packed, labels, labels, 9)
print(keras.backend.backend(), history["stage"].count(1), history["stage"].count(2),
      packed.shape, len(history["val_map"]), metrics.mean_average_precision(histograms) > 0.8)
"""


def test_jax_trains_the_recipe_in_both_stages_without_tensorflow(monkeypatch):
    pytest.importorskip("jax")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    finished = subprocess.run(
        [sys.executable, "-c", TRAINING_ON_JAX], capture_output=True, text=True
    )
    assert finished.stdout == "jax 10 10 (64, 2) 20 True\n", finished.stderr[-2000:]
