import numpy as np
import pytest
import tensorflow as tf
from index_cases import make_codes
from raw_session import RawSession

from tfhash import codes as code_layout
from tfhash.export import search as search_module
from tfhash.export.database import Database
from tfhash.export.masking import masked
from tfhash.export.search import ExactSearch, search_function
from tfhash.index import HammingIndex

BITS = [1, 8, 12, 31, 33, 64, 65, 200, 255, 256, 300, 4096]


def spread_ids(rng, count):
    """Ids with gaps, in no order."""
    return rng.permutation(np.unique(rng.integers(-(2**40), 2**40, 2 * count))[:count])


def save(search, directory, length):
    packed = tf.TensorSpec([None, length], tf.uint8, name="packed")
    k = tf.TensorSpec(None, tf.int32, name="k")
    search.serve = tf.function(search.nearest, input_signature=[packed, k])
    tf.saved_model.save(search, directory, {"search": search.serve})
    return RawSession(directory)


def assert_as_the_index(found, index, queries, k):
    expected = index.search(queries, k)
    for name in ("ids", "distances"):
        assert np.asarray(found[name]).dtype == getattr(expected, name).dtype
        np.testing.assert_array_equal(found[name], getattr(expected, name))


@pytest.fixture
def small_steps(monkeypatch):
    """Groups and chunks that a small database does not fill."""
    monkeypatch.setattr(search_module, "_GROUP", 4)
    monkeypatch.setattr(search_module, "_CHUNK", 100)


@pytest.mark.parametrize("bits", BITS)
def test_a_search_finds_what_the_index_finds(rng, small_steps, bits):
    codes = np.concatenate(
        [make_codes(rng, 41, bits, layout) for layout in ("random", "equal", "few")]
    )
    index = HammingIndex(bits)
    index.add(codes, spread_ids(rng, 123))
    padding = code_layout.as_packed(np.ones((1, bits), bool), bits)
    queries = np.concatenate([codes[:1], codes[41:42], ~codes[41:42] & padding])
    search = ExactSearch(Database.of(index, bits))
    for k in (10, 123):
        assert_as_the_index(search.nearest(queries, k), index, queries, k)


@pytest.mark.parametrize("count", [0, 1, 4, 5, 99, 100, 101, 203])
def test_a_database_may_have_any_number_of_items(rng, small_steps, count):
    codes = make_codes(rng, count, 12, "few")
    index = HammingIndex(12)
    index.add(codes)
    search = ExactSearch(Database.of(index, 12))
    queries = make_codes(rng, 2, 12)
    for k in (7, 1000):
        assert_as_the_index(search.nearest(queries, k), index, queries, k)


@pytest.mark.parametrize("bits", [12, 64, 256])
def test_groups_and_chunks_of_full_size_give_the_same(rng, bits):
    codes = make_codes(rng, 5_000, bits, "clustered")
    index = HammingIndex(bits)
    index.add(codes)
    search = ExactSearch(Database.of(index, bits))
    for k in (10, 300):
        assert_as_the_index(search.nearest(codes[:5], k), index, codes[:5], k)


@pytest.mark.parametrize("bits", [12, 300])
def test_a_saved_search_in_a_raw_session_finds_the_same(rng, small_steps, tmp_path, bits):
    codes = make_codes(rng, 123, bits, "few")
    ids = spread_ids(rng, 123)
    names = {item: f"{item}.jpg" if item % 3 else None for item in ids.tolist()}
    index = HammingIndex(bits)
    index.add(codes, ids)
    database = Database.of((codes, ids, list(names.values())), bits)
    session = save(ExactSearch(database), tmp_path, codes.shape[1])
    for k in (1, 5, 200):
        found = session.run("search", packed=codes[:6], k=k)
        assert_as_the_index(found, index, codes[:6], k)
        for row, named in zip(found["ids"].tolist(), found["names"].tolist()):
            assert [names[item] or "" for item in row] == [name.decode() for name in named]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    codes = np.array([[0], [1], [3], [7], [15]], "uint8")
    database = Database.of((codes, None, None), bits=8)
    return save(ExactSearch(database), tmp_path_factory.mktemp("search"), 1)


@pytest.mark.parametrize("k", [2, [2, 2, 2]])
def test_k_is_a_scalar_or_one_value_for_each_query(served, k):
    found = served.run("search", packed=[[0], [15], [1]], k=k)
    assert found["ids"].tolist() == [[0, 1], [4, 3], [1, 0]]
    assert found["distances"].tolist() == [[0, 1], [0, 1], [0, 1]]
    assert found["names"].tolist() == [[b"", b""]] * 3


def test_of_several_k_the_largest_holds_because_servers_merge_requests(served):
    found = served.run("search", packed=[[0], [15]], k=[1, 3])
    assert found["ids"].tolist() == [[0, 1, 2], [4, 3, 2]]


def test_an_answer_of_too_many_items_is_an_invalid_argument(monkeypatch):
    monkeypatch.setattr(search_module, "MOST_FOUND", 4)
    search = ExactSearch(Database.of((np.zeros((9, 1), "uint8"), None, None), bits=4))
    queries = tf.zeros((2, 1), tf.uint8)
    assert search.nearest(queries, 2)["ids"].shape == (2, 2)
    with pytest.raises(tf.errors.InvalidArgumentError, match="holds 4 items at most"):
        search.nearest(queries, 3)


@pytest.mark.parametrize("k", [0, -1, [2, 0]])
def test_k_below_1_is_an_invalid_argument(served, k):
    with pytest.raises(tf.errors.InvalidArgumentError, match="`k` must be at least 1. Received"):
        served.run("search", packed=[[0], [1]], k=k)


@pytest.mark.parametrize("k", [[2], [2, 2, 2], [[2, 2]], [[2], [2]]])
def test_k_of_another_shape_is_an_invalid_argument(served, k):
    with pytest.raises(tf.errors.InvalidArgumentError, match="`k` must be a scalar, or one value"):
        served.run("search", packed=[[0], [1]], k=k)


@pytest.mark.parametrize("k", [3, np.empty(0, "int32")])
def test_no_query_finds_nothing(served, k):
    found = served.run("search", packed=np.empty((0, 1), "uint8"), k=k)
    assert {name: value.shape for name, value in found.items()} == dict.fromkeys(
        ("ids", "distances", "names"), (0, 3 if np.ndim(k) == 0 else 0)
    )


@pytest.mark.parametrize("has_names", [True, False])
@pytest.mark.parametrize("has_ids", [True, False])
def test_what_was_masked_has_no_neighbors_and_the_others_keep_theirs(has_ids, has_names):
    ids = [7, -1, 2**40, 3, 40] if has_ids else None
    names = ["a", None, "c", "d", "e"] if has_names else None
    search = ExactSearch(
        Database.of((np.array([[0], [1], [3], [7], [15]], "uint8"), ids, names), 8)
    )

    def encode(files):
        """Codes are strings here, of which empty ones are broken."""
        codes = tf.io.decode_raw(files, tf.uint8, fixed_length=1)
        return masked({"codes": codes}, tf.strings.length(files) > 0)

    of_files = search_function(search, encode, [tf.TensorSpec([None], tf.string, name="files")])
    packed, k = tf.TensorSpec([None, 1], tf.uint8), tf.TensorSpec([], tf.int32)
    of_codes = tf.function(search.nearest, [packed, k])
    codes = np.array([[15], [0], [1]], "uint8")
    for k in (1, 2, 9):
        for valid in np.array([[1, 1, 1], [0, 1, 1], [1, 0, 0], [0, 0, 0]], bool):
            files = [code.tobytes() if is_valid else b"" for code, is_valid in zip(codes, valid)]
            found = of_files(tf.constant(files), k)
            np.testing.assert_array_equal(found["valid"], valid)
            for name, values in of_codes(codes, k).items():
                assert values.shape == (3, min(k, 5))
                expected = np.where(valid[:, None], values, b"" if name == "names" else -1)
                np.testing.assert_array_equal(found[name], expected, err_msg=f"{name} {k} {valid}")


def test_codes_are_stored_once_and_ids_that_follow_each_other_not_at_all(rng, tmp_path):
    codes = make_codes(rng, 10_000, 64)
    save(ExactSearch(Database.of((codes, None, None), 64)), tmp_path, 8)
    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    graph = (tmp_path / "saved_model.pb").stat().st_size
    assert 0 <= size - graph - codes.nbytes < 2_000


def test_memory_of_a_query_does_not_grow_with_the_database(rng, small_steps, monkeypatch):
    search = ExactSearch(Database.of((make_codes(rng, 323, 64), None, None), 64))
    lengths, count_bits = [], tf.raw_ops.PopulationCount

    def count_and_note(x):
        lengths.append(len(x))
        return count_bits(x=x)

    monkeypatch.setattr(tf.raw_ops, "PopulationCount", count_and_note)
    search.nearest(tf.zeros([2, 8], tf.uint8), 3)
    assert sum(lengths) == 2 * 323
    assert max(lengths) == 100
