import keras
import numpy as np
import pytest
from keras import ops

from tfhash.labels import (
    are_broken,
    check_values,
    count_shared,
    distribution,
    each_label,
    has_similar,
    is_multi_hot,
    memberships,
    similar,
)


def as_numpy(x):
    return ops.convert_to_numpy(x)


def test_integer_labels_are_similar_when_equal():
    assert as_numpy(similar(np.array([1, 2]), np.array([2, 1, 2]))).tolist() == [
        [False, True, False],
        [True, False, True],
    ]


def test_a_column_of_integers_is_not_multi_hot():
    column = np.array([[3], [5]])
    assert not is_multi_hot(column)
    np.testing.assert_array_equal(
        as_numpy(similar(column, np.array([3, 5]))), np.eye(2, dtype=bool)
    )


def test_multi_hot_labels_are_similar_when_any_is_shared():
    left = np.array([[1, 1, 0], [0, 0, 1]])
    right = np.array([[0, 1, 1], [1, 0, 0], [0, 0, 0]])
    assert as_numpy(similar(left, right)).tolist() == [[True, True, False], [True, False, False]]


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        (np.zeros((2, 2, 2)), np.zeros(2), "integers of shape"),
        (np.zeros(2), np.zeros((2, 3)), "both sides"),
        (np.zeros((2, 3)), np.zeros((2, 4)), "same number of classes"),
    ],
)
def test_labels_of_different_kinds_are_refused(left, right, message):
    with pytest.raises(ValueError, match=message):
        similar(left, right)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([2, 0], [[0, 0, 1], [1, 0, 0]]),
        ([[2], [0]], [[0, 0, 1], [1, 0, 0]]),
        ([[2, 0, 3], [0, 0, 0]], [[1, 0, 1], [0, 0, 0]]),
        (np.zeros((0,), int), np.zeros((0, 3))),
    ],
)
def test_memberships_mark_the_labels_of_each_item(labels, expected):
    found = as_numpy(memberships(np.array(labels), 3))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("label", [-1, 3, 2**20, 2**31, 2**32 + 1, 0.5, np.nan])
def test_a_label_out_of_range_is_not_taken_for_none(label):
    found = as_numpy(memberships(np.array([1, label]), 3))
    np.testing.assert_array_equal(found, [[0, 1, 0], [np.nan] * 3])


def test_memberships_refuse_another_number_of_classes():
    with pytest.raises(ValueError, match=r"must have shape \[n, 3\] for num_classes=3.*\(2, 4\)"):
        memberships(np.ones((2, 4)), 3)


def test_labels_of_an_item_are_equally_likely():
    found = distribution(np.array([[1, 0, 1, 0], [0, 3, 0, 0], [0, 0, 0, 0]]), 4)
    expected = [[0.5, 0, 0.5, 0], [0, 1, 0, 0], [0.25] * 4]
    np.testing.assert_allclose(as_numpy(found), expected)
    found = as_numpy(distribution(np.array([[2], [0], [-1], [3]]), 3))
    np.testing.assert_array_equal(found[:2], [[0, 0, 1], [1, 0, 0]])
    assert np.isnan(found[2:]).all()


def smoothed_crossentropy(shares, logits, smoothing):
    """Its formula, in NumPy: the labels keep `1 - smoothing` of the probability, all share the rest."""
    log_softmax = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    of_labels, of_all = -(shares * log_softmax).sum(axis=1), -log_softmax.mean(axis=1)
    return (1 - smoothing) * of_labels + smoothing * of_all


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_crossentropy_of_keras_smooths_multi_hot_labels_too(rng, smoothing):
    multi_hot = np.array([[1, 0, 1, 0], [0, 1, 0, 0]])
    shares, logits = multi_hot / multi_hot.sum(axis=1, keepdims=True), rng.normal(size=(2, 4))
    loss = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=smoothing, reduction=None
    )
    found = as_numpy(loss(distribution(multi_hot, 4), logits.astype("float32")))
    np.testing.assert_allclose(found, smoothed_crossentropy(shares, logits, smoothing), rtol=1e-5)


BROKEN = [
    (np.array([0.0, np.nan]), "NaN among them, first at index 1"),
    (np.array([[1.0, 0.0], [0.7, 0.3]]), r"must be 0 or 1: .* Received: 0.7 at index \(1, 0\)"),
    (np.array([[1.0, 0.0], [np.nan, 0.0]]), "NaN among them, first at index 1"),
]


@pytest.mark.parametrize(("labels", "message"), BROKEN)
def test_labels_that_say_nothing_are_known_and_refused_where_they_can_be_read(labels, message):
    assert as_numpy(are_broken(labels)).tolist() == [False, True]
    for read in (check_values, each_label, lambda found: count_shared(found, found)):
        with pytest.raises(ValueError, match=message):
            read(labels)
    if labels.ndim == 2:
        found = as_numpy(memberships(labels, 2))
        assert np.isnan(found).any(axis=1).tolist() == [False, True]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([3, 1, 3, 2], [True, False, True, False]),
        ([], []),
        ([[1, 0, 1], [0, 0, 1], [0, 1, 0], [0, 0, 0]], [True, True, False, False]),
    ],
)
def test_items_that_share_a_label_with_another_are_marked(labels, expected):
    assert has_similar(np.array(labels, int)).tolist() == expected
