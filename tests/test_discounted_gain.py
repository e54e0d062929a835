"""nDCG by shared labels is the mean over all orders of ties."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfhash import metrics
from tfhash.metrics import SharedLabelHistograms

BITS, MOST = 2, 3

# Up to six items, each with a distance of 0 to 2 bits and 0 to 3 labels shared with the query.
rankings = st.lists(st.tuples(st.integers(0, BITS), st.integers(0, MOST)), min_size=1, max_size=6)


def histograms_of(ranking):
    items = np.zeros((1, BITS + 1, MOST + 1), "int64")
    for distance, shared in ranking:
        items[0, distance, shared] += 1
    return SharedLabelHistograms(items)


def all_orders(ranking):
    """Shared labels in ranking order, for every order of the ties."""
    groups = [[s for d, s in ranking if d == distance] for distance in range(BITS + 1)]
    for orders in itertools.product(*map(itertools.permutations, groups)):
        yield [s for order in orders for s in order]


def plain_dcg(shared, k, gain):
    return sum(
        (2**s - 1 if gain == "exponential" else s) / np.log2(1 + rank)
        for rank, s in enumerate(shared[:k], 1)
    )


@given(rankings, st.integers(1, 7), st.sampled_from(metrics.GAINS))
@settings(deadline=None, max_examples=150)
def test_ndcg_is_the_mean_over_all_tie_orders(ranking, k, gain):
    ideal = plain_dcg(sorted((s for _, s in ranking), reverse=True), k, gain)
    found = metrics.ndcg(histograms_of(ranking), k, gain)[0]
    if ideal == 0:
        assert np.isnan(found)
        return
    expected = np.mean([plain_dcg(order, k, gain) for order in all_orders(ranking)]) / ideal
    assert found == pytest.approx(expected, abs=1e-12)
    if k >= len(ranking):
        assert metrics.ndcg(histograms_of(ranking), None, gain)[0] == pytest.approx(found)


def test_ndcg_has_its_hand_worked_value():
    # Ranked: one shared label, then two, then none. Gains 1, 3, 0; discounts 1, log2(3), 2.
    ranking = [(0, 1), (1, 2), (2, 0)]
    expected = (1 + 3 / np.log2(3)) / (3 + 1 / np.log2(3))
    assert metrics.ndcg(histograms_of(ranking))[0] == pytest.approx(expected, rel=1e-12)
    linear = (1 + 2 / np.log2(3)) / (2 + 1 / np.log2(3))
    assert metrics.ndcg(histograms_of(ranking), gain="linear")[0] == pytest.approx(linear)
    assert metrics.ndcg(histograms_of(ranking), k=1)[0] == pytest.approx(1 / 3)


def test_a_cut_off_beyond_the_database_is_the_whole_ranking():
    histograms = histograms_of([(0, 0), (1, 3)])
    assert metrics.ndcg(histograms, k=10**12) == metrics.ndcg(histograms)


def test_queries_that_share_no_label_are_left_out_of_the_mean():
    items = np.zeros((3, BITS + 1, MOST + 1), "int64")
    items[0, 0, 2] = items[0, 1, 0] = 1  # perfect
    items[1, 0, 0] = items[1, 1, 1] = 1  # the relevant item is second
    items[2, :2, 0] = 1  # shares nothing
    expected = (1 + 1 / np.log2(3)) / 2
    assert metrics.mean_ndcg(SharedLabelHistograms(items)) == pytest.approx(expected)
    assert np.isnan(metrics.mean_ndcg(SharedLabelHistograms(items[2:])))


@pytest.mark.parametrize("bits", [1, 7, 12, 13, 65, 130])
@pytest.mark.parametrize("multi_hot", [True, False])
def test_histograms_count_every_pair_by_distance_and_shared_labels(
    rng, monkeypatch, bits, multi_hot
):
    monkeypatch.setattr(metrics.discounted_gain, "_BLOCK_PAIRS", 64)  # several blocks
    q, n = 5, 30
    signs = [rng.random((count, bits)) < 0.5 for count in (q, n)]
    packed = [np.packbits(s, axis=1, bitorder="little") for s in signs]
    if multi_hot:
        labels = [(rng.random((count, 5)) < 0.4).astype("uint8") for count in (q, n)]
        shared = (labels[0][:, None] & labels[1]).sum(axis=2)
    else:
        labels = [rng.integers(0, 3, count) for count in (q, n)]
        shared = (labels[0][:, None] == labels[1]).astype(int)
    distance = (signs[0][:, None] != signs[1]).sum(axis=2)
    found = metrics.shared_label_histograms(*packed, *labels, bits).items
    assert found.sum() == q * n
    for d, s in itertools.product(range(bits + 1), range(found.shape[2])):
        expected = ((distance == d) & (shared == s)).sum(axis=1)
        np.testing.assert_array_equal(found[:, d, s], expected)
    # Relevant is what shares a label.
    plain = metrics.distance_histograms(*packed, *labels, bits)
    np.testing.assert_array_equal(found[:, :, 1:].sum(axis=2), plain.relevant)


def test_an_item_without_labels_shares_none():
    codes, labels = np.zeros((2, 1), "uint8"), np.array([[1, 1], [0, 0]])
    found = metrics.shared_label_histograms(codes, codes, labels, labels, bits=1).items
    assert found[:, 0].tolist() == [[1, 0, 1], [2, 0, 0]]
    assert np.isnan(metrics.ndcg(SharedLabelHistograms(found))[1])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"k": 0}, "`k` must be an integer >= 1. Received: k=0"),
        ({"k": 1.5}, "Received: k=1.5"),
        ({"gain": "steep"}, r"`gain` must be one of \('exponential', 'linear'\).*='steep'"),
    ],
)
def test_arguments_out_of_range_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        metrics.ndcg(histograms_of([(0, 1)]), **given)
    with pytest.raises(ValueError, match="Received: 3 codes and 2 labels"):
        codes = np.zeros((3, 1), "uint8")
        metrics.shared_label_histograms(codes, codes, [0, 1], [0, 1, 2], 8)


def test_items_among_each_other_share_labels_with_all_but_themselves(rng):
    codes, labels = rng.integers(0, 8, (9, 1), "uint8"), (rng.random((9, 4)) < 0.5) * 1
    found = metrics.leave_one_out_shared_label_histograms(codes, labels, 3).items
    for i in range(9):
        others = np.delete(np.arange(9), i)
        sides = codes[[i]], codes[others], labels[[i]], labels[others]
        alone = metrics.shared_label_histograms(*sides, 3).items[0]
        np.testing.assert_array_equal(found[i, :, : alone.shape[1]], alone)
        assert not found[i, :, alone.shape[1] :].any()
