"""Searches and near-duplicates on Apache Beam are exact."""

import numpy as np
import pytest
from index_cases import make_codes
from shard_cases import together, write_directory

pytest.importorskip("apache_beam", reason="needs the extra beam: pip install '.[beam]'")

import itertools

import apache_beam as beam
from beam_cases import collected

from tfhash.beam import NearPairs, ReadCodes, Search, ToBlocks
from tfhash.beam.elements import code_of
from tfhash.beam.pairs import pieces
from tfhash.index import HammingIndex, duplicates
from tfhash.index.shards import CodeBlock


def blocks_of(codes, ids, sizes):
    ends = np.cumsum(sizes)
    return [
        CodeBlock(ids[end - size : end], codes[end - size : end], [""] * size)
        for size, end in zip(sizes, ends)
    ]


def make_blocks(rng, sizes, bits, layout="random"):
    codes = make_codes(rng, sum(sizes), bits, layout)
    ids = rng.permutation(10 * sum(sizes))[: sum(sizes)].astype(np.int64)
    return codes, ids, blocks_of(codes, ids, sizes)


@pytest.mark.parametrize(
    ("bits", "layout", "sizes", "wanted"),
    [
        (12, "few", [40, 0, 60], {"k": 7}),
        (64, "random", [50, 50], {"k": 200}),
        (9, "equal", [30, 30], {"k": 5}),
        (12, "few", [40, 0, 60], {"radius": 3}),
        (64, "clustered", [100], {"radius": 0}),
        (8, "random", [30], {"radius": 2**70}),
        (12, "random", [], {"k": 3}),
        (12, "random", [], {"radius": 3}),
    ],
)
def test_a_search_finds_what_the_index_finds(rng, monkeypatch, bits, layout, sizes, wanted):
    monkeypatch.setattr("tfhash.beam.search._QUERIES", 4)
    codes, ids, blocks = make_blocks(rng, sizes, bits, layout)
    queries = np.concatenate([make_codes(rng, 9, bits), codes[:1]])
    found = collected(lambda p: p | beam.Create(blocks) | Search(queries, bits, **wanted))
    index = HammingIndex(bits)
    index.add(codes, ids)
    assert sorted(item.query for item in found) == list(range(len(queries)))
    for item in found:
        query = queries[item.query][None]
        if "k" in wanted:
            expected = [row[0] for row in index.search(query, wanted["k"])]
        else:
            _, *expected = index.within(query, wanted["radius"])
        np.testing.assert_array_equal(item.distances, expected[0])
        np.testing.assert_array_equal(item.ids, expected[1])


def test_no_queries_find_nothing(rng):
    _, _, blocks = make_blocks(rng, [5], 8)
    queries = np.empty((0, 1), np.uint8)
    assert collected(lambda p: p | beam.Create(blocks) | Search(queries, 8, k=1)) == []


@pytest.mark.parametrize(
    ("bits", "radius", "layout", "sizes", "options"),
    [
        (64, 2, "clustered", [150, 0, 100], {}),
        (12, 0, "few", [60, 60], {"groups": 3}),
        (12, 2, "random", [100, 100], {"chunk": 7}),
        (13, 4, "clustered", [120], {"groups": 1, "chunk": 50}),
        (9, 1, "equal", [25, 25], {"chunk": 8}),  # one key has everything
        (3, 3, "random", [20], {}),  # more pieces than bits
        (3, 2, "random", [20], {}),  # pieces of one bit
        (8, 2**70, "random", [10], {}),
        (1, 0, "random", [10], {"groups": 1000}),
        (64, 2, "random", [1], {}),
        (64, 2, "random", [], {}),
    ],
)
def test_near_pairs_are_those_of_the_join_and_each_comes_once(
    rng, bits, radius, layout, sizes, options
):
    codes, ids, blocks = make_blocks(rng, sizes, bits, layout)
    found = collected(lambda p: p | beam.Create(blocks) | NearPairs(bits, radius, **options))
    pairs = duplicates.pairs(codes, bits, radius)
    first, second = ids[pairs.first], ids[pairs.second]
    low, high = np.minimum(first, second), np.maximum(first, second)
    assert sorted(found) == sorted(zip(low.tolist(), high.tolist(), pairs.distances.tolist()))
    assert (len(found) > 0) == (len(codes) > 1)


def test_pieces_cover_a_code_without_overlap():
    for bits in (1, 7, 8, 64, 100):
        for radius in range(bits):
            bounds = pieces(bits, radius)
            assert len(bounds) == radius + 1
            assert bounds[0][0] == 0
            assert bounds[-1][1] == bits
            assert all(a < b for a, b in bounds)
            assert all(a[1] == b[0] for a, b in itertools.pairwise(bounds))


def test_a_directory_is_read_as_its_blocks(tmp_path):
    written = write_directory(tmp_path, [3, 0, 5])
    found = collected(lambda p: p | ReadCodes(tmp_path))
    expected = {item: tuple(code) for block in written for item, code in zip(block.ids.tolist(), block.codes.tolist())}  # fmt: skip
    assert {item: tuple(code) for block in found for item, code in zip(block.ids.tolist(), block.codes.tolist())} == expected  # fmt: skip
    write_directory(tmp_path, [3], complete=False)
    with pytest.raises(ValueError, match="is not complete"):
        ReadCodes(tmp_path)


def test_codes_of_a_pipeline_become_blocks_of_bounded_size():
    codes = [code_of(str(i), bytes([i, 0])) for i in range(50)]
    found = collected(lambda p: p | beam.Create(codes) | ToBlocks(bits=12, size=8))
    assert max(len(block.ids) for block in found) <= 8
    ids, packed, names = together(found)
    assert sorted(zip(ids.tolist(), names, map(bytes, packed))) == sorted(codes)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Search(np.zeros((1, 1), "uint8"), 8), "exactly one of `k` and `radius`"),
        (lambda: Search(np.zeros((1, 1), "uint8"), 8, k=1, radius=1), "exactly one of"),
        (lambda: Search(np.zeros((1, 2), "uint8"), 8, k=1), "`queries` of 8 bits"),
        (lambda: Search(np.zeros((1, 1), "uint8"), 8, k=0), "`k` must be an integer >= 1"),
        (lambda: NearPairs(8, -1), "`radius` must be an integer >= 0"),
        (lambda: NearPairs(8, 1, chunk=0), "`chunk` must be an integer >= 1"),
        (lambda: ToBlocks(0), "`bits` must be an integer >= 1"),
    ],
)
def test_arguments_that_cannot_work_are_refused_before_a_pipeline_runs(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_blocks_of_other_bits_are_refused(rng):
    _, _, blocks = make_blocks(rng, [5], 16)
    with pytest.raises(Exception, match="of 8 bits must be packed"):
        collected(lambda p: p | beam.Create(blocks) | NearPairs(8, 1))
