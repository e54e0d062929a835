"""The index finds what brute force finds, however items came, and whatever was removed."""

import threading

import numpy as np
import pytest
from hamming_cases import run_python
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from index_cases import brute_force, check_search, check_within, make_codes

import tfhash_ops
from tfhash import codes as code_layout
from tfhash.index import HammingIndex
from tfhash.index.reference import NumpyIndex

BITS = [1, 7, 8, 12, 13, 16, 17, 24, 31, 48, 64, 65, 128, 130, 256]
LAYOUTS = ["random", "few", "equal", "clustered"]


@pytest.fixture(params=["compiled", "NumPy"])
def make_index(request, monkeypatch):
    """Makes an index of each implementation."""
    if request.param == "compiled" and not tfhash_ops.is_compiled():
        pytest.skip("tfhash was installed with TFHASH_BUILD_OPS=0")

    def make(bits, **options):
        index = HammingIndex(bits, **options)
        if request.param == "NumPy":
            index._core = NumpyIndex(bits, index.compact)
        return index

    return make


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bits", BITS)
def test_searches_find_what_brute_force_finds(rng, bits, layout, compact):
    count = 20_000
    codes = make_codes(rng, count, bits, layout)
    ids = rng.permutation(2 * count)[:count] - count  # any order, gaps, negative ones
    index = HammingIndex(bits, compact=compact)
    # A long part, parts that are merged, and a short one.
    for part in np.split(np.arange(count), [15_000, 15_100, 19_950]):
        index.add(codes[part], ids=ids[part])
    assert len(index) == count
    # Some equal to items, some far from all.
    queries = np.concatenate([codes[:2], make_codes(rng, 3, bits)])
    for k in (1, 10, 700):
        check_search(index, queries, codes, ids, k)
    for radius in (0, 1, 3, bits // 3):
        check_within(index, queries, codes, ids, radius)


@pytest.mark.parametrize("layout", ["random", "clustered"])
def test_many_queries_find_what_single_ones_find(rng, layout):
    codes = make_codes(rng, 100_000, 64, layout)
    index = HammingIndex(64)
    ids = index.add(codes)
    queries = np.concatenate([codes[:150], make_codes(rng, 50, 64)])
    together = index.search(queries, 10)
    near = index.within(queries, 5)
    for i in range(len(queries)):
        alone = index.search(queries[i : i + 1], 10, threads=1)
        np.testing.assert_array_equal(together.distances[i], alone.distances[0])
        np.testing.assert_array_equal(together.ids[i], alone.ids[0])
        row = slice(*near.row_splits[i : i + 2])
        np.testing.assert_array_equal(near.ids[row], index.within(queries[i : i + 1], 5).ids)
    check_search(index, queries[::40], codes, ids, 10)


@pytest.mark.parametrize("bits", [128, 256])
def test_queries_far_from_all_codes_leave_the_tables_for_the_scan_and_lose_nothing(rng, bits):
    codes = make_codes(rng, 40_000, bits)
    index = HammingIndex(bits)
    ids = index.add(codes)
    # One after the other, so that later ones skip the tables; then one that they suit.
    for query in make_codes(rng, 6, bits):
        check_search(index, query[None], codes, ids, 5)
    check_search(index, codes[:20] ^ 1, codes, ids, 1)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_threads_that_share_a_scan_find_what_one_finds(rng, layout):
    codes = make_codes(rng, 150_000, 130, layout)
    index = HammingIndex(130, compact=True)
    ids = index.add(codes, ids=rng.permutation(150_000))
    index.remove(ids[::9])
    left = np.arange(len(ids)) % 9 != 0
    queries = np.concatenate([codes[:1], make_codes(rng, 1, 130)])
    for k in (1, 30):
        check_search(index, queries, codes[left], ids[left], k, threads=5)
        check_search(index, queries[:1], codes[left], ids[left], k, threads=3)
    check_within(index, queries, codes[left], ids[left], 40, threads=5)


def test_results_do_not_depend_on_the_order_of_adding_or_on_threads(rng):
    codes, ids = make_codes(rng, 30_000, 48, "clustered"), rng.permutation(30_000)
    queries = codes[:300]
    results = []
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(ids))
        index = HammingIndex(48)
        for part in np.array_split(order, 1 + 7 * seed):
            index.add(codes[part], ids=ids[part])
        for threads in (1, 2, 5):
            found = index.search(queries, 20, threads=threads)
            near = index.within(queries, 4, threads=threads)
            results.append([*found, *near])
        np.testing.assert_array_equal(index.ids, np.arange(30_000))
        np.testing.assert_array_equal(index.codes[ids], codes)
    for result in results[1:]:
        for a, b in zip(result, results[0]):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_removed_items_are_not_found_and_others_keep_their_ids(rng, layout, compact):
    codes = make_codes(rng, 20_000, 32, layout)
    index = HammingIndex(32, compact=compact)
    ids = index.add(codes)
    left = np.ones(len(ids), bool)
    queries = np.concatenate([codes[:2], make_codes(rng, 2, 32)])
    # One item, a few, many, all but a few, all.
    for share in (1 / 20_000, 0.01, 0.3, 0.99, 1):
        removed = rng.permutation(ids[left])[: int(np.ceil(share * left.sum()))]
        index.remove(removed)
        left[removed] = False
        assert len(index) == left.sum()
        np.testing.assert_array_equal(index.ids, ids[left])
        check_search(index, queries, codes[left], ids[left], 10)
        check_within(index, queries, codes[left], ids[left], 3)


def test_removal_gives_memory_back(rng):
    index = HammingIndex(64)
    ids = index.add(make_codes(rng, 100_000, 64))
    before = index.nbytes
    index.remove(ids[:90_000])
    assert index.nbytes < 0.2 * before


@pytest.mark.parametrize("bits", [17, 24, 32, 40, 48, 56, 64, 65, 128, 256])
@pytest.mark.parametrize("layout", ["random", "clustered", "few"])
def test_memory_is_bounded_by_five_times_the_codes_and_eight_bytes_an_id(rng, bits, layout):
    codes = make_codes(rng, 200_000, bits, layout)
    index, compact = HammingIndex(bits), HammingIndex(bits, compact=True)
    ids = index.add(codes)
    compact.add(codes)
    assert index.nbytes <= 5 * codes.nbytes + ids.nbytes
    assert compact.nbytes <= 1.25 * (codes.nbytes + ids.nbytes)


class IndexBesideAPlainModel(RuleBasedStateMachine):
    """Adds, removes and searches, beside a dictionary from id to code and name."""

    def __init__(self):
        super().__init__()
        self.rng = np.random.default_rng(1)
        self.index, self.items, self.next_id = HammingIndex(20), {}, 0

    @rule(count=st.sampled_from([0, 1, 3, 5_000, 9_000]), are_named=st.booleans())
    def add(self, count, are_named):
        codes = make_codes(self.rng, count, 20, "clustered")
        names = [f"{i}.png" for i in range(count)] if are_named else None
        ids = self.index.add(codes, names=names).tolist()
        assert ids == list(range(self.next_id, self.next_id + count))
        self.next_id += count
        self.items.update(zip(ids, zip(codes.tolist(), names or [None] * count)))

    @rule(share=st.sampled_from([0, 0.001, 0.4, 1]))
    def remove(self, share):
        ids = self.rng.permutation(np.array(list(self.items), np.int64))
        ids = ids[: int(share * len(ids))]
        self.index.remove(ids)
        for item in ids.tolist():
            del self.items[item]

    @rule()
    def add_a_known_id(self):
        if self.items:
            known = next(iter(self.items))
            with pytest.raises(ValueError, match=f"id {known} again"):
                self.index.add(np.zeros((2, 3), "uint8"), ids=[self.next_id, known])

    @invariant()
    def finds_the_nearest(self):
        ids = np.array(sorted(self.items), np.int64)
        codes = np.array([self.items[i][0] for i in ids.tolist()], "uint8").reshape(-1, 3)
        found = self.index.items()
        np.testing.assert_array_equal(found[0], codes)
        np.testing.assert_array_equal(found[1], ids)
        queries = make_codes(self.rng, 2, 20)
        check_search(self.index, queries, codes, ids, 5)
        shown = self.index.search(queries, 3).ids
        assert self.index.names_of(shown).tolist() == [
            [self.items[i][1] for i in row] for row in shown.tolist()
        ]


TestIndexBesideAPlainModel = IndexBesideAPlainModel.TestCase
TestIndexBesideAPlainModel.settings = settings(
    max_examples=8, stateful_step_count=12, deadline=None, derandomize=True
)


def test_an_empty_index_and_empty_queries_give_empty_results(make_index):
    index = make_index(12)
    query = np.zeros((1, 2), "uint8")
    assert index.search(query, 3).ids.shape == (1, 0)
    assert index.within(query, 3).row_splits.tolist() == [0, 0]
    assert len(index) == 0
    assert index.codes.shape == (0, 2)
    assert index.names == []
    assert index.add(query[:0]).tolist() == []
    index.remove([])
    index.add(query)
    assert index.search(query[:0], 3).ids.shape == (0, 1)
    assert index.within(query[:0], 3).row_splits.tolist() == [0]


@pytest.mark.parametrize("count", [2, 300, 5_000, 20_000])
def test_a_healthy_index_is_verified_whatever_the_order_of_its_ids(make_index, rng, count):
    index = make_index(64)
    codes, ids = make_codes(rng, count, 64), rng.permutation(count)
    for part in np.array_split(np.arange(count), 3):
        index.add(codes[part], ids=ids[part][::-1])
        index.verify()
    index.remove(ids[: count // 10])
    index.verify()


def test_bits_booleans_and_signs_are_the_same_codes(make_index, rng):
    signs = rng.integers(0, 2, (50, 13)) * 2 - 1
    packed = np.packbits(signs > 0, axis=1, bitorder="little")
    forms = [packed, signs > 0, signs.astype("int8"), np.asfortranarray(signs, "float32")]
    for form in forms:
        index = make_index(13)
        index.add(form)
        np.testing.assert_array_equal(index.codes, packed)
        assert index.search(form[7:8], 1).distances.tolist() == [[0]]


def test_ids_continue_after_the_largest_one_the_index_had(make_index):
    index, code = make_index(8), np.zeros((1, 1), "uint8")
    assert index.add(code).tolist() == [0]
    index.add(code, ids=[40])
    assert index.add(code).tolist() == [41]
    index.remove([41])
    assert index.add(code).tolist() == [42]
    index.add(code, ids=[2**63 - 1])
    with pytest.raises(ValueError, match="does not fit in 64 bits"):
        index.add(code)
    assert index.ids.tolist() == [0, 40, 42, 2**63 - 1]


def test_invalid_arguments_are_refused_and_change_nothing(make_index):
    index = make_index(12)
    codes = np.zeros((2, 2), "uint8")
    index.add(codes, ids=[3, 5], names=["x", "y"])
    refused = [
        (lambda: index.add(codes, ids=[4, 3]), "Received: id 3 again"),
        (lambda: index.add(codes, ids=[4, 4]), "Received: id 4 again"),
        (lambda: index.add(codes, ids=[4]), "1 ids for 2 codes"),
        (lambda: index.add(codes, ids=[4.0, 6.0]), "integers of 64 bits"),
        (lambda: index.add(codes, ids=np.array([4, 2**63], "uint64")), "integers of 64 bits"),
        (lambda: index.add(codes, names=["a"]), "1 names for 2 codes"),
        (lambda: index.add(codes, names="ab"), "one string for each code"),
        (lambda: index.add(codes, names=["a", 3]), "must be strings"),
        (lambda: index.add(codes[:, :1]), r"uint8 \[n, 2\], or booleans or signs \[n, 12\]"),
        (lambda: index.add(codes + 255), "padding bit that is 1 in row 0"),
        (lambda: index.add(np.full((1, 12), 0.5)), "must be signs"),
        (lambda: index.remove([3, 4]), "Received: 1 that are not: 4. Nothing was removed"),
        (lambda: index.remove([3, 3]), "Received: 1 that are not: 3. Nothing was removed"),
        (lambda: index.search(codes, 0), "`k` must be an integer >= 1"),
        (lambda: index.search(codes, 1.5), "`k` must be an integer >= 1"),
        (lambda: index.within(codes, -1), "`radius` must be an integer >= 0"),
        (lambda: index.search(codes, 1, threads=0), "`threads` must be an integer >= 1"),
        (lambda: HammingIndex(0), "`bits` must be an integer >= 1"),
        (lambda: HammingIndex(8, model=3), "`model` must be a string"),
    ]
    for call, message in refused:
        with pytest.raises(ValueError, match=message):
            call()
    assert index.ids.tolist() == [3, 5]
    assert index.names == ["x", "y"]


def test_names_stay_with_their_items(make_index):
    index = make_index(8)
    index.add(np.array([[1], [2], [3]], "uint8"), ids=[9, 2, 5], names=["nine", "two", "fünf"])
    index.add(np.array([[4]], "uint8"))
    assert index.names == ["two", "fünf", "nine", None]
    index.remove([2])
    index.add(np.array([[4]], "uint8"), ids=[2])
    assert index.names == [None, "fünf", "nine", None]


def test_a_search_sees_the_index_before_or_after_an_add_never_between(rng):
    codes = make_codes(rng, 30_000, 64)
    index = HammingIndex(64)
    batch = 500
    wrong, stop = [], threading.Event()

    def search():
        while not stop.is_set():
            found = index.search(codes[:1], 10**9)
            # Batches come whole and in order, so ids are 0, ..., m * batch - 1.
            count = found.ids.shape[1]
            if count % batch or not np.array_equal(np.sort(found.ids[0]), np.arange(count)):
                wrong.append(count)

    searches = [threading.Thread(target=search) for _ in range(3)]
    for thread in searches:
        thread.start()
    for first in range(0, len(codes), batch):
        index.add(codes[first : first + batch])
    stop.set()
    for thread in searches:
        thread.join()
    assert not wrong
    assert len(index) == len(codes)


def test_the_index_needs_neither_tensorflow_nor_keras():
    code = (
        "import sys, numpy as np\n"
        "from tfhash.index import HammingIndex\n"
        "index = HammingIndex(16)\n"
        "index.add(np.zeros((3, 2), 'uint8'))\n"
        "print(index.search(np.zeros((1, 2), 'uint8'), 2).ids.tolist())\n"
        "print([name for name in ('tensorflow', 'keras', 'jax') if name in sys.modules])"
    )
    assert run_python(code).stdout == "[[0, 1]]\n[]\n"


def test_the_compiled_index_and_the_one_in_numpy_agree(rng):
    if not tfhash_ops.is_compiled():
        pytest.skip("tfhash was installed with TFHASH_BUILD_OPS=0")
    codes, ids = make_codes(rng, 3_000, 20, "clustered"), rng.permutation(3_000)
    both = [HammingIndex(20), HammingIndex(20)]
    both[1]._core = NumpyIndex(20, False)
    results = []
    for index in both:
        index.add(codes, ids=ids)
        index.remove(ids[:100])
        results.append([*index.search(codes[:9], 7), *index.within(codes[:9], 2), *index.items()])
    for a, b in zip(*results):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_brute_force_is_itself_right():
    ((distances, ids),) = brute_force(
        np.array([[0]], "uint8"), np.array([[3], [1], [0], [2]], "uint8"), np.array([5, 9, 7, 8])
    )
    assert distances.tolist() == [0, 1, 1, 2]
    assert ids.tolist() == [7, 8, 9, 5]


def test_codes_as_packed_does_not_copy_packed_codes():
    codes = np.zeros((3, 2), "uint8")
    assert np.shares_memory(code_layout.as_packed(codes, 12), codes)


def test_duplicates_are_groups_of_ids_in_ascending_order_of_the_smallest():
    index = HammingIndex(bits=12)
    index.add(np.array([[7, 0], [0, 1], [3, 1], [0, 1], [255, 15]], "uint8"), ids=[9, 8, 3, 2, 1])
    # 2 and 8 are equal, 3 is two bits from both and from 9, and 1 is far from all.
    assert [group.members.tolist() for group in index.duplicates(radius=2)] == [[2, 3, 8, 9]]
    assert [group.members.tolist() for group in index.duplicates(radius=0)] == [[2, 8]]
    index.remove([3])
    assert [group.members.tolist() for group in index.duplicates(radius=2)] == [[2, 8]]


def test_an_empty_index_has_no_duplicates():
    assert len(HammingIndex(bits=12).duplicates(radius=3)) == 0


@pytest.mark.parametrize("radius", [-1, 1.5, None])
def test_a_wrong_radius_of_duplicates_is_refused(radius):
    with pytest.raises(ValueError, match="`radius` must be an integer >= 0"):
        HammingIndex(bits=12).duplicates(radius)
