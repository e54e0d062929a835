"""The index gives the same answers in memory and in every engine."""

import os
import threading

import numpy as np
import pytest
from engine_cases import ENGINES, run
from index_cases import check_search, check_within, make_codes

from tfhash.index import (
    ApproximateItems,
    EngineError,
    NearestItems,
    OtherModelError,
    OtherWriterError,
)


@pytest.fixture(params=["file", *ENGINES])
def place(request, places):
    return places[request.param]


@pytest.fixture(params=ENGINES)
def engine(request, places):
    return places[request.param]


CODES = np.array([[0, 0], [255, 15], [1, 0]], "uint8")


@pytest.mark.parametrize(
    ("bits", "layout"),
    [(1, "random"), (12, "few"), (64, "clustered"), (65, "few"), (130, "clustered")],
)
def test_searches_find_what_brute_force_finds(rng, place, bits, layout):
    codes = make_codes(rng, 1_000, bits, layout)
    ids = rng.permutation(2_000)[:1_000] - 1_000
    index = place.make(bits)
    for part in np.split(np.arange(1_000), [700, 701]):
        index.add(codes[part], ids=ids[part])
    queries = np.concatenate([codes[:2], make_codes(rng, 1, bits)])
    for k in (7, 3_000):
        check_search(index, queries, codes, ids, k)
    for radius in (bits // 3, 10**6):
        check_within(index, queries, codes, ids, radius)
    order = np.argsort(ids)
    found = place.again(index).items()
    np.testing.assert_array_equal(found[0], codes[order])
    np.testing.assert_array_equal(found[1], ids[order])
    assert (found[0].dtype, found[1].dtype) == (np.uint8, np.int64)


def test_more_queries_than_one_statement_takes_find_what_single_ones_find(rng, place):
    codes = make_codes(rng, 300, 64, "clustered")
    index = place.make(64)
    ids = index.add(codes)
    check_search(index, codes[:66], codes, ids, 5)
    check_within(index, codes[:66], codes, ids, 6)


def test_removed_items_are_not_found_and_their_ids_may_be_given_again(rng, place):
    codes = make_codes(rng, 500, 32, "clustered")
    index = place.make(32)
    ids = index.add(codes)
    left = np.ones(len(ids), bool)
    for share in (1, 50, 300):
        removed = rng.permutation(ids[left])[:share]
        index.remove(removed)
        left[removed] = False
        assert len(index) == left.sum()
        check_search(index, codes[:3], codes[left], ids[left], 10)
        check_within(index, codes[:3], codes[left], ids[left], 5)
    # Another code under an old id, removed and added once more.
    for code in codes[:2]:
        index.add(code[None], ids=removed[:1])
        assert index.within(code[None], 0).ids.tolist().count(removed[0]) == 1
        assert len(index) == left.sum() + 1
        index.remove(removed[:1])
    index.remove(ids[left])
    assert len(index) == 0
    assert index.search(codes[:2], 3).ids.shape == (2, 0)
    assert index.ids.tolist() == []


def test_an_empty_index_and_empty_queries_give_empty_results(place):
    index = place.make(12)
    assert index.search(CODES, 3).ids.shape == (3, 0)
    assert index.within(CODES, 3).row_splits.tolist() == [0, 0, 0, 0]
    assert (len(index), index.codes.shape, index.names) == (0, (0, 2), [])
    assert index.add(CODES[:0]).tolist() == []
    index.remove([])
    index.add(CODES)
    found = index.search(CODES[:0], 2)
    assert found.ids.shape == found.distances.shape == (0, 2)
    assert index.within(CODES[:0], 3).row_splits.tolist() == [0]
    assert index.names_of([]).shape == (0,)


def test_results_have_the_same_types(place):
    index = place.make(12)
    index.add(CODES)
    nearest, near = index.search(CODES, 2), index.within(CODES, 1)
    types = [array.dtype for array in (*nearest, *near)]
    assert types == [np.int32, np.int64, np.int64, np.int32, np.int64]
    assert type(nearest) is NearestItems
    assert nearest.distances.tolist() == [[0, 1], [0, 11], [0, 1]]
    assert near.row_splits.tolist() == [0, 2, 3, 5]


def test_bits_booleans_and_signs_are_the_same_codes(rng, place):
    signs = rng.integers(0, 2, (5, 13)) * 2 - 1
    packed = np.packbits(signs > 0, axis=1, bitorder="little")
    index = place.make(13)
    for form in (packed, signs > 0, signs.astype("int8")):
        index.add(form)
    np.testing.assert_array_equal(index.codes, np.tile(packed, (3, 1)))
    assert index.search(signs[:1] > 0, 3).distances.tolist() == [[0, 0, 0]]


def test_ids_continue_after_the_largest_one_the_index_had(place):
    index, code = place.make(8), np.zeros((1, 1), "uint8")
    assert index.add(code).tolist() == [0]
    index.add(code, ids=[40])
    assert index.add(code).tolist() == [41]
    index.remove([41])
    index = place.again(index)
    assert index.add(code).tolist() == [42]
    index.add(code, ids=[2**63 - 1])
    index.add(code, ids=[-(2**63)])
    with pytest.raises(ValueError, match="does not fit in 64 bits"):
        index.add(code)
    assert index.ids.tolist() == [-(2**63), 0, 40, 42, 2**63 - 1]


def test_invalid_arguments_are_refused_in_the_same_words_and_change_nothing(place):
    index = place.make(12)
    codes = np.zeros((2, 2), "uint8")
    index.add(codes, ids=[3, 5], names=["x", "y"])
    refused = [
        (lambda: index.add(codes, ids=[4, 3]), "Received: id 3 again"),
        (lambda: index.add(codes, ids=[4, 4]), "Received: id 4 again"),
        (lambda: index.add(codes, ids=[9, 9]), "Received: id 9 again"),
        (lambda: index.add(codes, ids=[4]), "1 ids for 2 codes"),
        (lambda: index.add(codes, ids=[4.0, 6.0]), "integers of 64 bits"),
        (lambda: index.add(codes, ids=np.array([4, 2**63], "uint64")), "integers of 64 bits"),
        (lambda: index.add(codes, names=["a"]), "1 names for 2 codes"),
        (lambda: index.add(codes, names=["a", "\ud800"]), "UTF-8 cannot hold"),
        (lambda: index.add(codes[:, :1]), r"uint8 \[n, 2\], or booleans or signs \[n, 12\]"),
        (lambda: index.add(codes + 255), "padding bit that is 1 in row 0"),
        (lambda: index.remove([3, 4]), "Received: 1 that are not: 4. Nothing was removed"),
        (lambda: index.remove([3, 3]), "Received: 1 that are not: 3. Nothing was removed"),
        (lambda: index.search(codes, 0), "`k` must be an integer >= 1"),
        (lambda: index.within(codes, -1), "`radius` must be an integer >= 0"),
    ]
    for call, message in refused:
        with pytest.raises(ValueError, match=message):
            call()
    assert index.ids.tolist() == [3, 5]
    assert index.names == ["x", "y"]


def test_names_come_back_as_they_were(place):
    names = ["", "é 写", "it's \\ 'a\tb\nc\0", os.fsdecode(b"caf\xe9.png"), "x" * 20_000]
    index = place.make(8)
    index.add(np.zeros((5, 1), "uint8"), ids=[9, 2, 5, 7, 8], names=names)
    index.add(np.zeros((1, 1), "uint8"))
    index = place.again(index)
    assert index.names == [names[1], names[2], names[3], names[4], names[0], None]
    assert index.names_of([[9, 3], [10, 2]]).tolist() == [["", None], [None, names[1]]]
    index.remove([2])
    index.add(np.zeros((1, 1), "uint8"), ids=[2])
    assert index.names_of([2]).tolist() == [None]


@pytest.mark.parametrize("model", ["", "a 'model' \\ \0 é", "m" * 5_000])
def test_codes_of_another_model_are_refused(place, model):
    index = place.make(8, model=model)
    assert place.again(index).model == place.again(index, model=model).model == model
    with pytest.raises(OtherModelError, match="come from the model .* Expected: 'other'"):
        place.again(index, model="other")


def test_the_bytes_of_an_index_grow_with_it(rng, engine):
    index = engine.make(64)
    index.add(make_codes(rng, 1_000, 64))
    before = index.nbytes
    assert before >= 8_000
    index.add(make_codes(rng, 20_000, 64))
    assert index.nbytes >= before + 160_000


def test_two_writers_lose_nothing_and_add_nothing_twice(rng, engine):
    index = engine.make(64)
    codes = make_codes(rng, 24, 64)
    refused, errors = [], []

    def write(some):
        try:
            with engine.again(index) as mine:
                for code in some:
                    while True:
                        try:
                            mine.add(code[None], names=[code.tobytes().hex()])
                            break
                        except OtherWriterError:
                            refused.append(1)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=[some]) for some in np.split(codes, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [str(error) for error in errors] == []
    found, ids = index.items()
    assert ids.tolist() == list(range(24))
    assert sorted(map(bytes, found)) == sorted(map(bytes, codes))
    assert index.names == [code.tobytes().hex() for code in found]


def test_a_writer_that_was_overtaken_changes_nothing(engine):
    if engine.url.startswith("postgresql"):
        pytest.skip("PostgreSQL's writers take turns")
    index = engine.make(12)
    index.add(CODES)
    for overtakers in (1, 4):
        before = index.ids.tolist()
        other = engine.again(index)
        with (
            pytest.raises(OtherWriterError, match="nothing was changed. Try again"),
            index._store.change() as change,
        ):
            change.add(np.array([70, 71]), CODES[:2], None)
            for _ in range(overtakers):
                other.add(CODES[:1])
        other.close()
        assert index.ids.tolist() == [*before, *range(before[-1] + 1, before[-1] + 1 + overtakers)]
    index.remove(index.ids[:2])
    assert len(index) == len(index.ids) == 6


@pytest.mark.parametrize("name", ["chdb", "clickhouse", "cluster"])
def test_the_number_of_a_batch_is_never_given_twice(places, monkeypatch, name):
    index = places[name].make(12)
    other, view, calls = places[name].again(index), index._store._view, []

    def overtaken(kind, number, text):
        # Others claim, publish and forget the number that this writer is about to claim.
        if not calls:
            calls.extend([other.add(CODES[:1]), other.add(CODES[:1])])
        view(kind, number, text)

    monkeypatch.setattr(index._store, "_view", overtaken)
    with pytest.raises(OtherWriterError), index._store.change() as change:
        change.add(np.array([70, 71]), CODES[:2], None)
        other.add(CODES[:1])
    # With their number, the rows of the writer that failed would be seen.
    assert other.ids.tolist() == [0, 1, 2]
    assert index.add(CODES).tolist() == [3, 4, 5]
    assert len(other) == 6


def test_rows_are_written_before_a_change_counts_even_where_inserts_wait_by_default(places):
    index = places["chdb"].make(8)
    query = "SELECT value FROM system.settings WHERE name = 'async_insert' FORMAT TabSeparated"
    assert index._store._query(query) == b"0\n"


@pytest.mark.parametrize(
    ("name", "limit", "setting"),
    [
        ("clickhouse", "read", "max_rows_to_read"),
        ("clickhouse", "result", "max_result_rows"),
        ("clickhouse", "set", "max_rows_in_set"),
        ("cluster", "transfer", "max_rows_to_transfer"),
    ],
)
def test_a_limit_of_the_users_profile_is_an_error_and_never_a_partial_answer(
    places, name, limit, setting
):
    index = places[name].make(8)
    codes = np.zeros((2000, 1), "uint8")
    index.remove(index.add(codes)[:700])
    client = index._store._client
    # The settings of a session count as those of a profile do: less than those of a statement.
    client.set("session_id", f"{name} {limit}")
    client.query(f"SET max_block_size = 10, {setting} = 500, {limit}_overflow_mode = 'break'")
    with pytest.raises(EngineError, match="imit|exceed"):
        index.within(codes[:1], 8)


def test_the_sum_of_bits_without_a_function_for_it_is_the_same(rng, places):
    index = places["chdb"].make(130)
    codes = make_codes(rng, 500, 130)
    codes[:2] = [[0], [255]]
    codes[:2, -1] &= 3
    ids = index.add(codes)
    assert index._store._has_distance
    index._store._has_distance = False
    check_search(index, codes[:5], codes, ids, 500)


def test_an_approximate_search_says_so_and_an_exact_one_ignores_the_graph(rng, places):
    engine = places["postgresql"]
    exact = engine.make(64)
    codes = make_codes(rng, 4_000, 64, "clustered")
    ids = exact.add(codes)
    with engine.again(exact, approximate=True) as index:
        assert index.approximate
        assert "approximately" in repr(index)
        found = index.search(codes[:50], 10)
        assert type(found) is ApproximateItems
        nearest = exact.search(codes[:50], 10)
        # Each row has the query itself, in ascending order; most of the others agree.
        assert np.all(found.distances[:, 0] == 0)
        assert np.all(np.diff(found.distances, axis=1) >= 0)
        assert (found.distances == nearest.distances).mean() > 0.8
        # More than the graph gives: by the scan.
        np.testing.assert_array_equal(
            index.search(codes[:2], 2_000).ids, exact.search(codes[:2], 2_000).ids
        )
        check_within(index, codes[:3], codes, ids, 8)
    # Enough rows for the planner to prefer the graph.
    run(engine, f"ANALYZE {engine.table(exact)}")
    check_search(exact, codes[:20], codes, ids, 10)
    with exact._store._snapshot() as connection:
        literal = exact._store._literals(codes[:1])[0]
        plans = [
            "\n".join(
                row[0]
                for row in connection.execute(
                    f"EXPLAIN SELECT id FROM {engine.table(exact)} ORDER BY {order} LIMIT 5"
                )
            )
            for order in (f"code <~> {literal}", f"(code <~> {literal})::int, id")
        ]
    assert ["hnsw" in plan for plan in plans] == [True, False]
