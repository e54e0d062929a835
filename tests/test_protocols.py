"""Protocols divide the same items, each in its own way."""

import dataclasses

import numpy as np
import pytest

from tfhash import data
from tfhash.data import protocols
from tfhash.data.sources import ArraySource
from tfhash.data.split import Split
from tfhash.labels import each_label


@pytest.fixture
def small_cnnh(monkeypatch):
    """CNNH's protocols, small enough for scikit-learn's digits."""
    monkeypatch.setattr(protocols, "QUERIES_OF_CLASS", 10)
    monkeypatch.setattr(protocols, "TRAINING_ITEMS_OF_CLASS", 40)


def names_of(splits):
    return {
        part: set(getattr(splits, part).names)
        for part in ("train", "validation", "queries", "database")
    }


@pytest.mark.parametrize("protocol", ["cnnh", "cnnh54k"])
def test_cnnh_takes_as_many_of_every_class(small_cnnh, protocol):
    splits = data.load("digits", protocol=protocol, validation_fraction=0.1)
    assert np.bincount(splits.queries.labels).tolist() == [10] * 10
    assert np.bincount(splits.train.labels).tolist() == [36] * 10
    assert np.bincount(splits.validation.labels).tolist() == [4] * 10
    names = names_of(splits)
    assert not names["queries"] & (names["train"] | names["validation"] | names["database"])
    assert not names["train"] & names["validation"]
    if protocol == "cnnh":
        assert len(splits.database) == 1797 - 100
        assert names["train"] | names["validation"] < names["database"]
    else:
        assert len(splits.database) == 1797 - 100 - 400
        assert not names["database"] & (names["train"] | names["validation"])


def test_cnnhs_queries_do_not_depend_on_what_is_kept_for_validation(small_cnnh):
    parts = [
        names_of(data.load("digits", protocol="cnnh", validation_fraction=fraction))
        for fraction in (0.0, 0.25)
    ]
    assert parts[0]["queries"] == parts[1]["queries"]
    assert parts[0]["database"] == parts[1]["database"]
    assert parts[0]["train"] == parts[1]["train"] | parts[1]["validation"]


@pytest.mark.parametrize("protocol", ["cnnh", "cnnh54k"])
def test_what_is_neither_asked_nor_trained_on_is_unlabeled(small_cnnh, protocol):
    splits = data.load("digits", protocol=protocol, validation_fraction=0.1)
    names = names_of(splits)
    labeled = names["train"] | names["validation"]
    assert splits.unlabeled().names == [n for n in splits.database.names if n not in labeled]
    assert len(splits.unlabeled()) == 1797 - 100 - 400
    assert not set(splits.unlabeled().names) & names["queries"]


def test_unseen_classes_are_searched_and_not_trained_on():
    official, splits = data.load("digits"), data.load("digits", protocol="unseen-classes")
    unseen = set(splits.queries.labels.tolist())
    assert len(unseen) == 3
    assert set(splits.database.labels.tolist()) == unseen
    trained_on = set(splits.train.labels.tolist()) | set(splits.validation.labels.tolist())
    assert trained_on == set(range(10)) - unseen
    assert names_of(splits)["queries"] < names_of(official)["queries"]
    assert names_of(splits)["train"] < names_of(official)["train"]


@pytest.mark.parametrize("several_labels", [False, True])
def test_half_of_the_unseen_items_search_the_other_half(several_labels):
    official = data.load("digits")
    if several_labels:
        digits = official.train.source
        labels = np.eye(10, dtype="uint8")[digits.labels]
        images = Split.of_all(digits, (8, 8, 1)).images()
        source = ArraySource(images, digits.names, labels)
        parts = {
            part: Split(source, getattr(official, part).indices, (8, 8, 1))
            for part in ("train", "validation", "queries", "database")
        }
        official = dataclasses.replace(official, **parts)
    splits = protocols.arrange(official, "unseen-items", 0.05)
    before, now = names_of(official), names_of(splits)
    assert now["train"] == before["train"]
    assert now["validation"] == before["validation"]
    assert not now["queries"] & now["database"]
    assert now["queries"] | now["database"] == before["queries"]
    halves = [
        np.bincount(each_label(part.labels)[1], minlength=10)
        for part in (splits.queries, splits.database)
    ]
    assert np.abs(halves[0] - halves[1]).max() <= 1


def test_items_keep_their_images_and_labels(small_cnnh):
    def images_of(splits):
        return {
            name: (image.tobytes(), label)
            for part in (splits.database, splits.queries)
            for name, image, label in zip(part.names, part.images(), part.labels)
        }

    official = images_of(data.load("digits"))
    assert images_of(data.load("digits", protocol="cnnh")) == official
    unseen = images_of(data.load("digits", protocol="unseen-classes"))
    assert unseen == {name: official[name] for name in unseen}


def test_every_protocol_has_a_fingerprint_of_its_own(small_cnnh):
    prints = [data.load("digits", protocol=name).fingerprint() for name in data.PROTOCOLS]
    assert prints == [data.load("digits", protocol=name).fingerprint() for name in data.PROTOCOLS]
    assert len(set(prints)) == len(data.PROTOCOLS)


def test_protocols_that_cannot_be_followed_are_refused():
    with pytest.raises(ValueError, match="needs 600 items of every class. Received: 178 of the cl"):
        data.load("digits", protocol="cnnh")
    with pytest.raises(
        ValueError, match="`protocol` must be one of official, unseen-items, .*='best'"
    ):
        data.load("digits", protocol="best")


@pytest.mark.parametrize(
    ("protocol", "train", "queries", "database"),
    [
        ("official", 47_500, 10_000, 50_000),
        ("cnnh", 4_750, 1_000, 59_000),
        ("cnnh54k", 4_750, 1_000, 54_000),
        ("unseen-items", 47_500, 5_000, 5_000),
        ("unseen-classes", None, 3_000, 15_000),
    ],
)
def test_cifar10_has_the_published_numbers(shared_datasets, protocol, train, queries, database):
    splits = data.load("cifar10", data_dir=shared_datasets, protocol=protocol)
    assert len(splits.queries) == queries
    assert len(splits.database) == database
    if train:
        assert len(splits.train) == train
        assert len(splits.validation) == (5_000 if train < 5_000 else 50_000) - train


def test_picked_items_come_in_the_order_given():
    queries = data.load("digits").queries
    picked = queries.pick([5, 2, 200])
    assert picked.names == [queries.names[i] for i in (5, 2, 200)]
    assert picked.labels.tolist() == queries.labels[[5, 2, 200]].tolist()
    np.testing.assert_array_equal(picked.images(), queries.images([5, 2, 200]))
    assert len(queries.pick([])) == 0
