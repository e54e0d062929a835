"""Relaxed queries find the codes at the smallest expected Hamming distance, as brute force does."""

import itertools
import threading

import numpy as np
import pytest
from index_cases import make_codes

import tfhash_ops
from tfhash import codes as code_layout
from tfhash import expected_distance
from tfhash.index import HammingIndex, asymmetric
from tfhash.index.reference import NumpyIndex


def make_relaxed(rng, count, bits, kind="undecided", near=None):
    """Relaxed codes: nearly certain, undecided, of few values so that many distances are equal, or +-1."""
    signs = rng.choice([-1.0, 1.0], (count, bits)) if near is None else signs_of(near, bits)
    sizes = {
        "certain": 1 - rng.random((count, bits)) ** 8,
        "undecided": rng.random((count, bits)),
        "few values": rng.choice([0.0, 0.3, 1.0], (count, bits)),
        "signs": np.ones((count, bits)),
    }
    return (signs * sizes[kind]).astype("float32")


def signs_of(codes, bits):
    return 2.0 * np.unpackbits(codes, axis=1, count=bits, bitorder="little") - 1


def check(index, relaxed, codes, ids, *ks):
    """Compares searches with brute force over the rounded relaxed codes."""
    bits = relaxed.shape[1]
    rounded = expected_distance.as_relaxed(relaxed, bits)
    nearest = []
    for of_query in ((bits - rounded @ signs_of(codes, bits).T) / 2).astype("float32"):
        order = np.lexsort((ids, of_query))[: max(ks)]
        nearest.append((of_query[order], ids[order]))
    for k in ks:
        found = index.search_asymmetric(relaxed, k)
        assert found.distances.shape == found.ids.shape == (len(relaxed), min(k, len(ids)))
        assert (found.distances.dtype, found.ids.dtype) == (np.float32, np.int64)
        for row, (distances, expected) in enumerate(nearest):
            np.testing.assert_array_equal(found.distances[row], distances[:k])
            np.testing.assert_array_equal(found.ids[row], expected[:k])


@pytest.mark.parametrize("core", ["tables", "compact", "NumPy"])
@pytest.mark.parametrize("layout", ["random", "few", "equal", "clustered"])
@pytest.mark.parametrize("bits", [1, 7, 12, 32, 64, 130])
def test_the_nearest_items_are_those_of_brute_force(rng, monkeypatch, bits, layout, core):
    if core != "NumPy" and not tfhash_ops.is_compiled():
        pytest.skip("tfhash was installed with TFHASH_BUILD_OPS=0")
    monkeypatch.setattr(asymmetric, "_CODES_PER_FLIP", 32)
    monkeypatch.setattr(asymmetric, "_BLOCK", 1000)
    count = 20_000 if core == "tables" else 2_500
    codes, ids = make_codes(rng, count, bits, layout), rng.permutation(2 * count)[:count] - count
    index = HammingIndex(bits, compact=core == "compact")
    if core == "NumPy":
        index._core = NumpyIndex(bits, compact=False)
    index.add(codes, ids=ids)
    kinds = "certain", "undecided", "few values", "signs"
    relaxed = [make_relaxed(rng, 1, bits, kind, codes[i : i + 1]) for i, kind in enumerate(kinds)]
    relaxed += [make_relaxed(rng, 1, bits, kind) for kind in ("undecided", "few values")]
    check(index, np.concatenate(relaxed), codes, ids, 1, 10, 300)


@pytest.mark.parametrize("compact", [False, True])
def test_added_removed_saved_and_mapped_items_are_found(rng, tmp_path, compact):
    codes = make_codes(rng, 20_000, 64, "clustered")
    relaxed = np.concatenate(
        [make_relaxed(rng, 2, 64, kind, codes[:2]) for kind in ("certain", "undecided")]
    )
    index = HammingIndex(64, compact=compact)
    ids = index.add(codes[:19_900])
    ids = np.concatenate([ids, index.add(codes[19_900:])])
    check(index, relaxed, codes, ids, 10)
    nearest = index.search_asymmetric(relaxed, 5).ids
    index.remove(np.unique(nearest))
    left = ~np.isin(ids, nearest)
    check(index, relaxed, codes[left], ids[left], 10)
    index.save(tmp_path / "codes.index")
    for mmap in (True, False):
        loaded = HammingIndex.load(tmp_path / "codes.index", mmap=mmap)
        check(loaded, relaxed, codes[left], ids[left], 10)


@pytest.mark.parametrize("has_popcount", [True, False])
def test_comparing_all_codes_finds_what_looking_up_flips_finds(rng, monkeypatch, has_popcount):
    codes = make_codes(rng, 20_000, 64, "few")
    index = HammingIndex(64)
    index.add(codes)
    relaxed = make_relaxed(rng, 10, 64, "certain", codes[:10])
    by_flips, ways = asymmetric._by_flips, []
    monkeypatch.setattr(
        asymmetric, "_by_flips", lambda *given: ways.append(by_flips(*given)) or ways[-1]
    )
    monkeypatch.setattr(asymmetric, "_CODES_PER_FLIP", 1)
    looked_up = index.search_asymmetric(relaxed, 5)
    assert len(ways) == 10
    assert None not in ways
    monkeypatch.setattr(asymmetric, "_CODES_PER_FLIP", 10**9)
    if not has_popcount:  # NumPy 1
        monkeypatch.delattr(np, "bitwise_count", raising=False)
    compared = index.search_asymmetric(relaxed, 5)
    assert ways[10:] == [None] * 10
    np.testing.assert_array_equal(looked_up.distances, compared.distances)
    np.testing.assert_array_equal(looked_up.ids, compared.ids)


def test_the_lightest_flips_are_the_smallest_of_all_sums(rng):
    weights = np.array([0.5, 0.25, 0.25, 1.0, 0.0, 0.75, 0.5, 0.125, 0.875])
    sums = {
        chosen: weights[list(chosen)].sum()
        for size in range(10)
        for chosen in itertools.combinations(range(9), size)
    }
    for number in (1, 2, 7, 100, 512, 1000):
        added, flips = asymmetric._lightest_flips(weights, number)
        np.testing.assert_array_equal(np.sort(added), sorted(sums.values())[:number])
        bits = np.unpackbits(flips, axis=1, count=9, bitorder="little")
        np.testing.assert_array_equal(bits @ weights, added)
        assert len(np.unique(flips, axis=0)) == len(flips) == min(number, 512)


def test_distances_are_the_mean_hamming_distance_of_the_distribution():
    """Over all codes of 3 bits, weighted by their probability."""
    h, code = np.array([0.5, -0.25, -1.0]), np.array([1, 1, -1])
    expected = 0.0
    for bits in itertools.product((-1, 1), repeat=3):
        expected += np.prod((1 + h * bits) / 2) * np.count_nonzero(code != bits)
    index = HammingIndex(3)
    index.add(code[None])
    assert index.search_asymmetric(h[None], 1).distances.tolist() == [[expected]]


def test_relaxed_codes_of_one_and_minus_one_find_what_search_finds(rng):
    codes = make_codes(rng, 5_000, 24, "clustered")
    index = HammingIndex(24)
    index.add(codes)
    queries = np.concatenate([codes[:5], make_codes(rng, 5, 24)])
    for relaxed in (signs_of(queries, 24), signs_of(queries, 24).astype("int8")):
        found, expected = index.search_asymmetric(relaxed, 20), index.search(queries, 20)
        np.testing.assert_array_equal(found.distances, expected.distances)
        np.testing.assert_array_equal(found.ids, expected.ids)


def test_an_undecided_query_is_as_far_from_all_and_small_ids_come_first(rng):
    index = HammingIndex(12)
    index.add(make_codes(rng, 500, 12), ids=rng.permutation(500))
    found = index.search_asymmetric(np.zeros((1, 12)), 7)
    assert found.distances.tolist() == [[6.0] * 7]
    assert found.ids.tolist() == [list(range(7))]


def test_codes_as_near_as_those_looked_up_first_are_found_by_small_ids(rng, monkeypatch):
    """One flip of any of 32 bits is as near as another, and 16 codes are looked up first."""
    monkeypatch.setattr(asymmetric, "_CODES_PER_FLIP", 32)
    relaxed = make_relaxed(rng, 1, 32, "signs") / 2
    flipped = np.where(np.eye(32, dtype=bool), -relaxed, relaxed)
    codes = np.concatenate([make_codes(rng, 20_000, 32), code_layout.pack_signs(flipped)])
    index = HammingIndex(32)
    ids = np.concatenate([np.arange(100, 20_100), rng.permutation(32)])
    index.add(codes, ids=ids)
    check(index, relaxed, codes, ids, 1, 3, 8)


def test_distances_do_not_depend_on_the_order_of_the_bits(rng):
    """Sums are exact: permuted bits give the same float32, though the values have many digits."""
    codes, relaxed = make_codes(rng, 200, 64), make_relaxed(rng, 3, 64)
    order = rng.permutation(64)
    expected = HammingIndex(64)
    expected.add(codes)
    permuted = HammingIndex(64)
    permuted.add(signs_of(codes, 64)[:, order])
    found = [
        expected.search_asymmetric(relaxed, 200),
        permuted.search_asymmetric(relaxed[:, order], 200),
    ]
    np.testing.assert_array_equal(found[0].distances, found[1].distances)
    np.testing.assert_array_equal(found[0].ids, found[1].ids)


def test_values_are_rounded_by_less_than_float32_can_tell(rng):
    relaxed = make_relaxed(rng, 10, 64)
    rounded = expected_distance.as_relaxed(relaxed, 64)
    assert np.abs(rounded - relaxed).max() <= 2.0**-45
    np.testing.assert_array_equal(rounded.astype("float32"), relaxed)


def test_no_items_and_no_queries_give_nothing():
    index = HammingIndex(12)
    assert index.search_asymmetric(np.zeros((2, 12)), 3).ids.shape == (2, 0)
    index.add(np.zeros((4, 2), "uint8"))
    assert index.search_asymmetric(np.zeros((0, 12)), 3).distances.shape == (0, 3)
    assert index.search_asymmetric(np.zeros((1, 12)), 10**12).ids.tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize(
    ("relaxed", "message"),
    [
        (np.zeros((1, 11)), r"float \[n, 12\] in \[-1, 1\].* float64 of shape \(1, 11\)"),
        (np.zeros(12), r"shape \(12,\)"),
        (np.zeros((1, 12), "uint8"), "uint8 of shape"),
        (np.array([[0.0] * 12, [0.0] * 11 + [1.5]]), "Received: 1.5 in row 1"),
        (np.full((1, 12), np.nan), "Received: nan in row 0"),
        (np.full((1, 12), -np.inf), "Received: -inf in row 0"),
    ],
)
def test_what_is_no_relaxed_code_is_refused(relaxed, message):
    with pytest.raises(ValueError, match=message):
        HammingIndex(12).search_asymmetric(relaxed, 1)


@pytest.mark.parametrize("k", [0, -1, 1.5, True])
def test_k_is_bounded_as_in_search(k):
    with pytest.raises(ValueError, match="`k` must be an integer >= 1"):
        HammingIndex(12).search_asymmetric(np.zeros((1, 12)), k)


def test_a_search_sees_the_index_before_or_after_each_change(rng):
    """Pairs of items are added and removed together: every search finds both, or none."""
    codes = make_codes(rng, 20_000, 32)
    index = HammingIndex(32)
    index.add(codes)
    relaxed = make_relaxed(rng, 1, 32, "certain")
    near = np.packbits(relaxed >= 0, axis=1, bitorder="little")
    ids, done = np.array([10**6, 10**6 + 1]), threading.Event()

    def change():
        while not done.is_set():
            index.add(np.repeat(near, 2, axis=0), ids=ids)
            index.remove(ids)

    thread = threading.Thread(target=change)
    thread.start()
    counts = set()
    try:
        for _ in range(1000):
            if counts == {0, 2}:
                break
            counts.add(int(np.isin(index.search_asymmetric(relaxed, 5).ids, ids).sum()))
    finally:
        done.set()
        thread.join()
    assert counts == {0, 2}
