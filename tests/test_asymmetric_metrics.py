"""Metrics of relaxed queries: ties count as in all orders, and +-1 gives the symmetric figures."""

import itertools

import numpy as np
import pytest

from tfhash import metrics
from tfhash.metrics import asymmetric

BITS = 12


def make_items(rng, count, kind, bits=BITS):
    """Relaxed codes of few values near few codes, so that codes and distances tie; and labels."""
    codes = rng.choice([-1.0, 1.0], (6, bits))[rng.integers(0, 6, count)]
    codes[rng.random(codes.shape) < 0.1] *= -1
    relaxed = (codes * rng.choice([0.25, 0.5, 1.0], codes.shape)).astype("float32")
    if kind == "multi-hot":
        return relaxed, (rng.random((count, 5)) < 0.3).astype("int32")
    labels = rng.integers(0, 3, count)
    return relaxed, np.array(["ant", "bee", "cat"])[labels] if kind == "strings" else labels


def pack(relaxed):
    return np.packbits(relaxed >= 0, axis=1, bitorder="little")


def share_a_label(one, other):
    return bool(np.any((one > 0) & (other > 0))) if np.ndim(one) else one == other


def plain_average_precision(distances, relevant):
    """The mean over all orders of the items at equal distances."""
    values = []
    groups = [np.flatnonzero(distances == distance) for distance in np.unique(distances)]
    for orders in itertools.product(*map(itertools.permutations, groups)):
        hits = np.cumsum(relevant[list(itertools.chain(*orders))])
        ranks = np.arange(1, len(hits) + 1)
        values.append((hits / ranks)[np.diff(hits, prepend=0) > 0].mean())
    return np.mean(values)


@pytest.mark.parametrize("among_each_other", [False, True])
@pytest.mark.parametrize("kind", ["integers", "strings", "multi-hot"])
def test_map_is_the_mean_over_all_orders_of_ties(rng, kind, among_each_other):
    bits = 2  # of 7 items, several have one code
    queries, query_labels = make_items(rng, 7, kind, bits)
    if among_each_other:
        database, database_labels = queries, query_labels
        found = metrics.leave_one_out_asymmetric_histograms(queries, query_labels)
    else:
        database, database_labels = make_items(rng, 6, kind, bits)
        found = metrics.asymmetric_histograms(
            queries, pack(database), query_labels, database_labels
        )
    signs = np.where(database >= 0, 1.0, -1.0)
    expected, tied = [], 0
    for i, query in enumerate(queries):
        others = [j for j in range(len(signs)) if not (among_each_other and i == j)]
        distances = (bits - signs[others] @ query) / 2
        relevant = [share_a_label(query_labels[i], database_labels[j]) for j in others]
        tied += len(others) - len(np.unique(distances))
        if any(relevant):
            expected.append(plain_average_precision(distances, np.array(relevant)))
    assert tied
    np.testing.assert_allclose(metrics.summarize_asymmetric(found)["map"], np.mean(expected))


@pytest.mark.parametrize("block", [500, 2**20])
@pytest.mark.parametrize("kind", ["integers", "multi-hot"])
def test_relaxed_codes_of_one_and_minus_one_have_the_symmetric_figures(
    rng, monkeypatch, kind, block
):
    monkeypatch.setattr(asymmetric, "_BLOCK_PAIRS", block)
    queries, query_labels = make_items(rng, 20, kind)
    database, database_labels = make_items(rng, 80, kind)
    signs = np.where(queries >= 0, 1.0, -1.0)
    given = {"k": 10, "map_k": 7, "denominator": "retrieved", "without_hits": "drop"}
    pairs = [
        (
            metrics.distance_histograms(
                pack(queries), pack(database), query_labels, database_labels, BITS
            ),
            metrics.asymmetric_histograms(signs, pack(database), query_labels, database_labels),
        ),
        (
            metrics.leave_one_out_histograms(pack(queries), query_labels, BITS),
            metrics.leave_one_out_asymmetric_histograms(signs, query_labels),
        ),
    ]
    for symmetric, relaxed in pairs:
        expected = metrics.summarize(symmetric, **given)
        found = metrics.summarize_asymmetric(relaxed, **given)
        assert sorted(found) == ["map", "map_at_10", "map_at_7", "precision_at_10"]
        for name, value in found.items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-12, err_msg=name)


def test_undecided_bits_decide_between_codes_as_near_in_bits():
    """Two codes at 1 bit; the relevant one differs in the bit that is less certain."""
    queries, database = np.array([[0.9, 0.1, 1.0]]), np.array([[0b110], [0b101]], "uint8")
    labels = [0], [1, 0]
    symmetric = metrics.distance_histograms(pack(queries), database, *labels, bits=3)
    assert metrics.summarize(symmetric)["map"] == 0.75
    found = metrics.asymmetric_histograms(queries, database, *labels)
    assert metrics.summarize_asymmetric(found)["map"] == 1.0


def test_queries_without_relevant_items_are_left_out():
    queries, database = np.array([[1.0, 0.5], [0.5, 1.0]]), np.array([[0b11], [0b00]], "uint8")
    found = metrics.asymmetric_histograms(queries, database, [0, 5], [1, 0])
    assert metrics.summarize_asymmetric(found, k=1) == {
        "map": 0.5,
        "map_at_1": 0.0,
        "precision_at_1": 0.0,
    }
    assert metrics.summarize_asymmetric(metrics.asymmetric_histograms(queries, database, [5, 5], [1, 0])) == {}  # fmt: skip
    alone = metrics.leave_one_out_asymmetric_histograms(queries[:1], [0])
    assert metrics.summarize_asymmetric(alone) == {}


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        (np.zeros(3), "`queries` must be relaxed codes"),
        (np.full((1, 3), 2.0), "`queries` must lie in"),
        (np.zeros((2, 3)), "2 codes and 1 labels"),
        (np.zeros((1, 20)), "must have shape"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_counted(queries, message):
    with pytest.raises(ValueError, match=message):
        metrics.asymmetric_histograms(queries, np.zeros((2, 1), "uint8"), [0], [0, 1])
    with pytest.raises(ValueError, match="`k` must be"):
        metrics.summarize_asymmetric([], k=0)
