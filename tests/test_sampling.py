"""The order of training items, and batches of classes x items."""

import numpy as np
import pytest

from tfhash.data import ArrayBatches
from tfhash.data.sampling import choose_items_per_class, epoch_order, similar_items_per_anchor


def multi_hot(labels, num_classes):
    return np.eye(num_classes, dtype="int64")[labels]


@pytest.mark.parametrize("items_per_class", [None, 2, 3, 50])
@pytest.mark.parametrize("count", [0, 1, 2, 13, 100])
def test_an_epoch_visits_every_item_once(count, items_per_class):
    labels = np.arange(count) % 7
    order = epoch_order(labels, 3, 1, items_per_class)
    np.testing.assert_array_equal(np.sort(order), np.arange(count))


@pytest.mark.parametrize("items_per_class", [None, 4])
def test_the_order_depends_on_seed_and_epoch_alone(items_per_class):
    labels = np.arange(200) % 10
    draw = {(s, e): epoch_order(labels, s, e, items_per_class) for s in (0, 1) for e in (0, 1)}
    np.testing.assert_array_equal(draw[1, 1], epoch_order(labels, 1, 1, items_per_class))
    orders = [tuple(order) for order in draw.values()]
    assert len(set(orders)) == 4


@pytest.mark.parametrize("as_labels", [np.asarray, lambda labels: multi_hot(labels, 6)])
def test_batches_of_classes_x_items_hold_whole_groups_of_a_class(as_labels):
    labels = np.arange(96) % 6  # 16 items in each class
    order = epoch_order(as_labels(labels), 0, 0, items_per_class=8)
    groups = labels[order].reshape(-1, 8)
    assert (groups == groups[:, :1]).all()
    assert np.bincount(groups[:, 0]).tolist() == 6 * [2]


@pytest.mark.parametrize(
    ("of_class", "items_per_class", "sizes"),
    [(9, 8, {9}), (17, 8, {8, 9}), (5, 2, {2, 3}), (10, 8, {8, 2})],
)
def test_no_item_of_a_class_is_left_alone(of_class, items_per_class, sizes):
    labels = np.arange(40 * of_class) % 40
    found = labels[epoch_order(labels, 0, 0, items_per_class)]
    ends = np.flatnonzero(np.diff(found, append=-1))
    runs = np.diff(ends, prepend=-1)
    # Two groups of a class may follow each other.
    assert set(runs) <= sizes | {a + b for a in sizes for b in sizes}
    assert sizes <= set(runs)


def test_nearly_all_items_of_small_classes_meet_a_similar_one():
    labels = np.arange(2_700) % 300  # nine items in each class
    batches = labels[epoch_order(labels, 0, 0, items_per_class=8)][: 42 * 64].reshape(42, 64)
    alone = np.mean([np.sum(np.bincount(batch) == 1) / 64 for batch in batches])
    assert alone < 0.01


def test_items_of_a_class_change_groups_between_epochs():
    labels = np.arange(64) % 2
    groups = {
        epoch: {frozenset(g) for g in epoch_order(labels, 0, epoch, 4).reshape(-1, 4).tolist()}
        for epoch in (0, 1)
    }
    assert groups[0] != groups[1]


def test_an_item_with_several_labels_joins_each_of_them_in_some_epoch():
    labels = np.array([[1, 1], [1, 0], [0, 1], [0, 0]])
    partners = set()
    for epoch in range(40):
        first, second = epoch_order(labels, 0, epoch, 2).reshape(2, 2).tolist()
        pair = first if 0 in first else second
        partners |= set(pair) - {0}
    assert {1, 2} <= partners


def test_items_per_class_below_two_are_refused():
    with pytest.raises(ValueError, match="`items_per_class` must be at least 2"):
        epoch_order(np.arange(4), 0, 0, items_per_class=1)


@pytest.mark.parametrize(
    ("labels", "batch_size"),
    [
        (np.arange(60) % 3, 16),
        (np.repeat([0, 1, 2], [40, 15, 5]), 8),
        (multi_hot(np.arange(60) % 3, 3), 16),
        (np.random.default_rng(0).integers(0, 2, (60, 4)), 20),
        (np.arange(60), 16),
        (np.zeros(60, int), 100),
    ],
)
def test_similar_items_per_anchor_is_the_mean_over_random_batches(labels, batch_size, rng):
    counts = []
    for _ in range(2_000):
        batch = labels[rng.permutation(len(labels))[:batch_size]]
        similar = batch[:, None] == batch[None, :] if batch.ndim == 1 else batch @ batch.T > 0
        np.fill_diagonal(similar, False)
        counts.append(similar.sum() / len(batch))
    expected = similar_items_per_anchor(labels, batch_size)
    assert np.mean(counts) == pytest.approx(expected, abs=5 * np.std(counts) / 2_000**0.5 + 1e-9)


@pytest.mark.parametrize(
    ("labels", "batch_size", "chosen"),
    [
        (np.arange(2700) % 300, 64, 8),
        (np.arange(2700) % 300, 8, 4),
        (np.arange(2700) % 300, 2, None),  # no room for two classes of two items
        (np.arange(2700) % 10, 64, None),  # random batches hold enough pairs
        (np.arange(2700), 64, None),  # no two items share a label
        (np.array([0]), 64, None),
    ],
)
def test_classes_x_items_are_chosen_where_random_batches_lack_similar_pairs(
    labels, batch_size, chosen
):
    assert choose_items_per_class(labels, batch_size) == chosen


def test_array_batches_hold_classes_x_items():
    labels = np.arange(64) % 8
    batches = ArrayBatches(np.zeros((64, 8, 8, 1)), labels, 16, seed=0, items_per_class=4)
    for step in range(batches.steps_per_epoch):
        _, found = batches[step]
        assert set(np.bincount(found, minlength=8).tolist()) <= {0, 4, 8}
