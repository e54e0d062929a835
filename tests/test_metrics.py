import itertools

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tfhash_ops.library
from tfhash import metrics
from tfhash.metrics import DistanceHistograms

BITS = 3

# Up to seven items, each with a distance of 0 to 3 bits, relevant or not.
rankings = st.lists(st.tuples(st.integers(0, BITS), st.booleans()), min_size=1, max_size=7)


def histograms_of(ranking):
    items, relevant = np.zeros((2, 1, BITS + 1), "int32")
    for distance, is_relevant in ranking:
        items[0, distance] += 1
        relevant[0, distance] += is_relevant
    return DistanceHistograms(items, relevant)


def all_orders(ranking):
    """Relevance in ranking order, for every order of the ties."""
    groups = [[r for d, r in ranking if d == distance] for distance in range(BITS + 1)]
    for orders in itertools.product(*map(itertools.permutations, groups)):
        yield [r for order in orders for r in order]


def plain_average_precision(relevance, k, total):
    hits, value = 0, 0.0
    for rank, is_relevant in enumerate(relevance[:k], 1):
        hits += is_relevant
        value += is_relevant * hits / rank
    return value / min(total, k)


@given(rankings, st.integers(1, 8))
@settings(deadline=None, max_examples=150)
def test_average_precision_is_that_of_all_tie_orders(ranking, k):
    total = sum(r for _, r in ranking)
    values = [
        plain_average_precision(order, k, total) if total else np.nan
        for order in all_orders(ranking)
    ]
    expected = {"expected": np.mean(values), "best": np.max(values), "worst": np.min(values)}
    for ties, value in expected.items():
        found = metrics.average_precision(histograms_of(ranking), k=k, ties=ties)[0]
        np.testing.assert_allclose(found, value, atol=1e-12, err_msg=ties)
    if k >= len(ranking):
        full = metrics.average_precision(histograms_of(ranking))[0]
        np.testing.assert_allclose(full, expected["expected"], atol=1e-12)


@given(rankings, st.integers(1, 8), st.sampled_from(["possible", "relevant", "retrieved"]))
@settings(deadline=None, max_examples=200)
def test_every_variant_of_average_precision_is_that_of_all_tie_orders(ranking, k, denominator):
    total = sum(r for _, r in ranking)
    if not total:
        return
    orders = list(all_orders(ranking))
    hits = np.array([sum(order[:k]) for order in orders])
    sums = np.array([plain_average_precision(order, k, total) * min(total, k) for order in orders])
    divisors = {"possible": min(total, k), "relevant": total, "retrieved": np.maximum(hits, 1)}
    values = sums / divisors[denominator]
    histograms = histograms_of(ranking)
    for ties, zero, hit in (
        ("expected", values.mean(), (hits > 0).mean()),
        ("best", *best_or_worst(values, hits, sums, max)),
        ("worst", *best_or_worst(values, hits, sums, min)),
    ):
        options = {"k": k, "ties": ties, "denominator": denominator}
        found = metrics.average_precision(histograms, **options)[0]
        np.testing.assert_allclose(found, zero, atol=1e-12, err_msg=ties)
        found = metrics.mean_average_precision(histograms, **options, without_hits="drop")
        np.testing.assert_allclose(found, zero / hit if hit else np.nan, atol=1e-12, err_msg=ties)


def best_or_worst(values, hits, sums, choose):
    """Value and hits of the order in which relevant items come first, or last, in their tie."""
    i = choose(range(len(values)), key=lambda i: (sums[i], hits[i]))
    return values[i], float(hits[i] > 0)


def test_queries_without_hits_count_as_zero_or_are_left_out():
    histograms = DistanceHistograms(np.array([[1, 1], [1, 1]]), np.array([[1, 0], [0, 1]]))
    values = [
        metrics.mean_average_precision(histograms, k=1, without_hits=w) for w in ("zero", "drop")
    ]
    assert values == [0.5, 1.0]


@pytest.mark.parametrize("denominator", ["possible", "relevant", "retrieved"])
def test_k_below_one_is_refused_in_every_variant(denominator):
    histograms = DistanceHistograms(np.array([[1, 1]]), np.array([[1, 0]]))
    with pytest.raises(ValueError, match="`k` must be"):
        metrics.average_precision(histograms, k=0, denominator=denominator)


def test_the_order_of_ties_is_reported_where_it_bounds_all_others():
    histograms = DistanceHistograms(np.array([[1, 100]]), np.array([[1, 1]]))
    bounded = metrics.summarize(histograms, map_k=51)
    for name in ("map", "map_at_51"):
        assert bounded[f"{name}_worst_ties"] < bounded[name] < bounded[f"{name}_best_ties"]
    for variant in ({"denominator": "retrieved"}, {"without_hits": "drop"}):
        found = metrics.summarize(histograms, map_k=51, **variant)
        assert "map_at_51_best_ties" not in found
        assert found["map_best_ties"] == bounded["map_best_ties"]


@pytest.mark.parametrize(
    ("argument", "known"),
    [("ties", "expected"), ("denominator", "possible"), ("without_hits", "zero")],
)
def test_an_unknown_variant_is_refused(argument, known):
    histograms = DistanceHistograms(np.array([[1, 1]]), np.array([[1, 0]]))
    with pytest.raises(ValueError, match=rf"`{argument}` must be one of \('{known}'.*='lucky'"):
        metrics.mean_average_precision(histograms, k=1, **{argument: "lucky"})


@given(rankings, st.integers(1, 8))
@settings(deadline=None, max_examples=100)
def test_precision_at_k_is_the_mean_over_tie_orders(ranking, k):
    if not any(r for _, r in ranking):
        return
    expected = np.mean([sum(order[:k]) / k for order in all_orders(ranking)])
    assert metrics.precision_at_k(histograms_of(ranking), k) == pytest.approx(expected, abs=1e-12)


@given(rankings)
@settings(deadline=None, max_examples=100)
def test_precision_and_recall_within_radius_count_items(ranking):
    total = sum(r for _, r in ranking)
    if not total:
        return
    for radius in range(BITS + 1):
        inside = [r for d, r in ranking if d <= radius]
        precision = sum(inside) / len(inside) if inside else 0.0
        histograms = histograms_of(ranking)
        assert metrics.precision_within_radius(histograms, radius) == pytest.approx(
            precision, abs=1e-15
        )
        assert metrics.recall_within_radius(histograms, radius) == pytest.approx(
            sum(inside) / total
        )


def test_average_precision_of_a_huge_tie_keeps_its_digits():
    # Everything at one distance: the expectation has the closed form of a random ranking.
    n, r = 1_000_000, 100_000
    histograms = DistanceHistograms(np.array([[n]]), np.array([[r]]))
    harmonic = (1 / np.arange(1, n + 1)).sum()
    growth = (r - 1) / (n - 1)
    expected = (growth * n + (1 - growth) * harmonic) / n
    found = metrics.average_precision(histograms)[0]
    assert found == pytest.approx(expected, rel=1e-12)


def test_average_precision_of_a_late_small_tie_keeps_its_digits():
    histograms = DistanceHistograms(np.array([[100_000, 10]]), np.array([[0, 10]]))
    expected = np.mean([t / (100_000 + t) for t in range(1, 11)])
    assert metrics.average_precision(histograms)[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("bits", [1, 8, 12, 65])
@pytest.mark.parametrize("multi_hot", [False, True])
@pytest.mark.filterwarnings("ignore:tfhash_ops was installed without")
@pytest.mark.parametrize("compiled", [False, True])
def test_histograms_count_every_pair(rng, monkeypatch, bits, multi_hot, compiled):
    if compiled:
        if keras.backend.backend() != "tensorflow" or not tfhash_ops.is_compiled():
            pytest.skip("needs the compiled ops for TensorFlow")
    else:
        monkeypatch.setattr(tfhash_ops.library, "is_compiled", lambda: False)
        monkeypatch.setattr(metrics.histograms, "_BLOCK_PAIRS", 64)  # several blocks
    q, n = 7, 30
    signs = [rng.random((count, bits)) < 0.5 for count in (q, n)]
    packed = [np.packbits(s, axis=1, bitorder="little") for s in signs]
    if multi_hot:
        labels = [rng.random((count, 4)) < 0.3 for count in (q, n)]
        shared = (labels[0][:, None] & labels[1]).any(axis=2)
    else:
        labels = [rng.integers(0, 3, count) for count in (q, n)]
        shared = labels[0][:, None] == labels[1]
    distance = (signs[0][:, None] != signs[1]).sum(axis=2)
    found = metrics.distance_histograms(*packed, *labels, bits)
    for d in range(bits + 1):
        np.testing.assert_array_equal(found.items[:, d], (distance == d).sum(axis=1))
        np.testing.assert_array_equal(found.relevant[:, d], ((distance == d) & shared).sum(axis=1))


@pytest.mark.filterwarnings("ignore:tfhash_ops was installed without")
@pytest.mark.parametrize("compiled", [False, True])
def test_labels_may_be_of_any_type_and_codes_may_not(monkeypatch, compiled):
    monkeypatch.setattr(tfhash_ops.library, "is_compiled", lambda: compiled)
    packed = np.array([[0], [1], [3]], "uint8")
    expected = metrics.distance_histograms(packed, packed, [1, 2, 1], [1, 2, 1], bits=2)
    for labels in (["a", "b", "a"], [0.5, 2.0, 0.5], [True, False, True]):
        found = metrics.distance_histograms(packed, packed, labels, labels, bits=2)
        np.testing.assert_array_equal(found.relevant, expected.relevant)
    for wrong in (packed.astype("int64"), packed | 4):
        with pytest.raises(ValueError, match="uint8 with padding bits zero. Received: u?int"):
            metrics.distance_histograms(wrong, packed, [1, 2, 1], [1, 2, 1], bits=2)


def test_values_do_not_depend_on_the_order_of_the_database(rng):
    packed, labels = rng.integers(0, 4, (40, 1), "uint8"), rng.integers(0, 3, 40)
    order = rng.permutation(40)
    straight = metrics.distance_histograms(packed[:5], packed, labels[:5], labels, bits=8)
    shuffled = metrics.distance_histograms(
        packed[:5], packed[order], labels[:5], labels[order], bits=8
    )
    assert metrics.summarize(straight) == metrics.summarize(shuffled)


def test_queries_without_relevant_items_are_left_out_and_counted():
    histograms = DistanceHistograms(np.array([[1, 1], [1, 1]]), np.array([[1, 0], [0, 0]]))
    assert metrics.count_queries_with_relevant_items(histograms) == 1
    assert metrics.mean_average_precision(histograms) == 1.0
    assert metrics.precision_within_radius(histograms, 1) == 0.5
    nobody = DistanceHistograms(np.array([[1, 1]]), np.array([[0, 0]]))
    assert np.isnan(list(metrics.summarize(nobody, k=1).values())).all()


def test_perfect_and_useless_codes_have_known_values(rng):
    labels = np.arange(100) % 10
    perfect = metrics.distance_histograms(
        labels[:10, None].astype("uint8"), labels[:, None].astype("uint8"), labels[:10], labels, 4
    )
    assert metrics.mean_average_precision(perfect) == pytest.approx(1.0)
    useless = metrics.distance_histograms(
        np.zeros((10, 1), "uint8"), np.zeros((100, 1), "uint8"), labels[:10], labels, 4
    )
    assert metrics.mean_average_precision(useless, ties="best") == pytest.approx(1.0)
    assert metrics.mean_average_precision(useless) < 0.15


def test_code_health_of_hand_made_codes():
    packed = np.array([[0b001], [0b011], [0b101], [0b111]], "uint8")
    np.testing.assert_allclose(metrics.bit_balance(packed, 3), [1, 0.5, 0.5])
    np.testing.assert_allclose(
        metrics.bit_correlation(packed, 3), [[0, 0, 0], [0, 1, 0], [0, 0, 1]], atol=1e-12
    )
    assert metrics.count_distinct_codes(np.repeat(packed, 2, axis=0)) == 4


@pytest.mark.parametrize(
    ("bits", "redundant"),
    [
        ([[0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 1, 0]], 0),  # the third is no copy of one other bit
        ([[0, 0, 1, 1], [0, 0, 1, 1], [0, 1, 0, 1]], 1),  # equal
        ([[0, 0, 1, 1], [1, 1, 0, 0], [0, 1, 0, 1]], 1),  # opposite
        ([[0, 0, 1, 1], [0, 0, 0, 0], [1, 1, 1, 1]], 2),  # constant
        ([[0, 0, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1]], 2),
        ([[0], [1], [1]], 3),  # of one item, all bits are constant
    ],
)
def test_bits_that_repeat_others_are_counted_as_correlation_shows_them(bits, redundant):
    columns = np.array(bits, bool).T
    packed = np.packbits(columns, axis=1, bitorder="little")
    assert metrics.count_redundant_bits(packed, 3) == redundant
    # Bits that vary and are correlated with no earlier one carry something.
    correlation = np.triu(np.abs(metrics.bit_correlation(packed, 3)), k=1)
    is_new = columns.any(axis=0) & ~columns.all(axis=0) & (correlation.max(axis=0) < 1 - 1e-9)
    assert 3 - is_new.sum() == redundant


def test_the_share_with_the_code_of_its_class_is_counted_by_hand():
    codes = np.array([[0], [0], [1], [0], [2], [2], [3]], "uint8")
    # Class 0: two of three others for the first ones, none for the third; 1: a pair; 2: alone.
    assert metrics.share_with_code_of_class(codes, np.array([0, 0, 0, 0, 1, 1, 2])) == 5 / 6
    # Exactly half of the others is not more.
    assert metrics.share_with_code_of_class(codes[:3], np.zeros(3, int)) == 0
    # One label of an item is enough; without one, it counts nowhere.
    several = np.array(
        [[1, 0, 0], [0, 1, 0], [1, 0, 1], [1, 1, 1], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
    )
    assert metrics.share_with_code_of_class(codes, several) == 2 / 4
    assert metrics.share_with_code_of_class(codes, np.full(7, -1)) == 0
    assert metrics.share_with_code_of_class(codes, np.arange(7)) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda h: metrics.average_precision(h, ties="lucky"), "`ties` must be one of"),
        (lambda h: metrics.average_precision(h, k=0), "`k` must be an integer >= 1"),
        (lambda h: metrics.average_precision(h, k=1.5), "an integer >= 1. Received: k=1.5"),
        (lambda h: metrics.precision_within_radius(h, 4), "`radius` must be .* from 0 to 3"),
        (lambda h: metrics.precision_within_radius(h, -1), "from 0 to 3. Received: radius=-1"),
        (lambda h: metrics.precision_within_radius(h, 2.9), "must be an integer .*radius=2.9"),
        (lambda h: metrics.recall_within_radius(h, 2.0), "must be an integer .*radius=2.0"),
        (lambda h: metrics.summarize(h, radius=2.9), "must be an integer .*radius=2.9"),
        (lambda h: metrics.bit_balance(np.zeros((0, 1), "uint8"), 3), "at least one code"),
    ],
)
def test_arguments_out_of_range_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(histograms_of([(0, True)]))


def test_labels_of_another_length_and_empty_sides_are_refused():
    codes = np.zeros((3, 1), "uint8")
    with pytest.raises(ValueError, match="Received: 3 codes and 2 labels"):
        metrics.distance_histograms(codes, codes, [0, 1], [0, 1, 2], 8)
    with pytest.raises(ValueError, match="`database` must hold at least one code"):
        metrics.distance_histograms(codes, codes[:0], [0, 1, 2], [], 8)


@pytest.mark.parametrize("kind", ["integers", "multi_hot"])
def test_items_among_each_other_find_all_but_themselves(rng, kind):
    codes = rng.integers(0, 8, (9, 1), "uint8")
    labels = rng.integers(0, 3, 9) if kind == "integers" else (rng.random((9, 3)) < 0.4) * 1
    if kind == "multi_hot":
        labels[4] = 0  # it shares no label, not even with itself
    found = metrics.leave_one_out_histograms(codes, labels, BITS)
    for i in range(9):
        others = np.delete(np.arange(9), i)
        alone = metrics.distance_histograms(
            codes[[i]], codes[others], labels[[i]], labels[others], BITS
        )
        np.testing.assert_array_equal(found.items[[i]], alone.items)
        np.testing.assert_array_equal(found.relevant[[i]], alone.relevant)


def test_a_cut_off_of_map_stands_beside_the_whole_ranking():
    histograms = DistanceHistograms(np.array([[2, 2]]), np.array([[1, 1]]))
    whole = metrics.summarize(histograms, k=3)
    beside = metrics.summarize(histograms, k=3, map_k=1, denominator="relevant")
    assert whole.items() <= beside.items()
    # The first of two relevant items is found first in half of the orders.
    assert beside["map_at_1"] == 0.25
    # The variant that was asked for, not the default one.
    assert metrics.summarize(histograms, k=1, map_k=1, denominator="relevant")["map_at_1"] == 0.25
    assert metrics.summarize(histograms, k=1)["map_at_1"] == 0.5


@pytest.mark.parametrize(
    ("labels", "message"),
    [([0.0, np.nan], "NaN among them"), ([[0.8, 0.2], [1, 0]], "must be 0 or 1")],
)
def test_labels_that_say_nothing_are_refused(labels, message):
    codes, good = np.zeros((2, 1), "uint8"), np.zeros_like(np.array(labels))
    for sides in ((labels, good), (good, labels)):
        for count in (metrics.distance_histograms, metrics.shared_label_histograms):
            with pytest.raises(ValueError, match=message):
                count(codes, codes, *map(np.array, sides), BITS)
