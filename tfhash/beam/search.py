"""Search in more codes than memory holds."""

import itertools
from typing import NamedTuple

import numpy as np

from tfhash.beam.extra import apache_beam as beam
from tfhash.beam.read import check_block
from tfhash.codes import as_packed
from tfhash.index import HammingIndex
from tfhash.index.arguments import as_integer

# Queries whose results are combined at a time.
_QUERIES = 1_000


class NearestCodes(NamedTuple):
    """What a query finds, in ascending order of (distance, id).

    Attributes:
        query: Number of the query.
        distances: Hamming distances in bits, `int32 [m]`.
        ids: Ids of the items, `int64 [m]`.

    `Search` returns it and has an example.
    """

    query: int
    distances: np.ndarray
    ids: np.ndarray


class Search(beam.PTransform):
    """Searches codes exactly, as `tfhash.index.HammingIndex` does.

    Takes blocks of codes, what `ReadCodes` and `ToBlocks` return. Returns `NearestCodes`, one for each
    query; the result of one query must fit in memory.

    Args:
        queries: Packed codes, `uint8 [q, ceil(bits / 8)]`; or booleans or signs, `[q, bits]`.
        bits: Length of a code.
        k: Number of items wanted, >= 1. Fewer are found where there are fewer.
        radius: All items within so many bits, >= 0, in place of `k`.

    Raises:
        ValueError: If queries do not fit `bits`, or not exactly one of `k` and `radius` is given.

    Example:

        with beam.Pipeline() as pipeline:
            blocks = pipeline | tfhash.beam.ReadCodes("codes/")
            found = blocks | tfhash.beam.Search(queries, bits=64, k=10)
    """

    def __init__(self, queries, bits, k=None, radius=None):
        super().__init__()
        if (k is None) == (radius is None):
            raise ValueError(
                f"give exactly one of `k` and `radius`. Received: k={k!r}, radius={radius!r}"
            )
        self._bits = as_integer("bits", bits, 1)
        self._queries = as_packed(queries, self._bits, "queries")
        self._k = None if k is None else as_integer("k", k, 1)
        self._radius = None if radius is None else as_integer("radius", radius, 0)

    def expand(self, blocks):
        parts = range(0, len(self._queries), _QUERIES)
        # Of no items, so that there is a result where there are no blocks.
        nothing = [(first, _nothing(min(_QUERIES, len(self._queries) - first))) for first in parts]
        found = blocks | beam.FlatMap(_search, self._queries, self._bits, self._k, self._radius)
        empty = blocks.pipeline | beam.Create(nothing)
        return (
            (found, empty)
            | beam.Flatten()
            | beam.CombinePerKey(_Nearest(self._k))
            | beam.FlatMap(_rows)
        )


def _search(block, queries, bits, k, radius):
    """Rows, distances and ids of what each part of the queries finds in a block."""
    block = check_block(block, bits)
    index = HammingIndex(bits, compact=True)
    index.add(block.codes, block.ids)
    for first in range(0, len(queries), _QUERIES):
        part = queries[first : first + _QUERIES]
        if k is None:
            splits, distances, ids = index.within(part, radius)
            rows = np.repeat(np.arange(len(part)), np.diff(splits))
        else:
            distances, ids = index.search(part, k)
            rows = np.repeat(np.arange(len(part)), ids.shape[1])
        yield first, (len(part), rows, distances.reshape(-1), ids.reshape(-1))


class _Nearest(beam.CombineFn):
    """Puts results of the same queries together and keeps the k nearest of each."""

    def __init__(self, k):
        super().__init__()
        self._k = k

    def create_accumulator(self):
        return _nothing(0)

    def add_input(self, accumulator, found):
        return self.merge_accumulators([accumulator, found])

    def merge_accumulators(self, accumulators):
        counts, *columns = zip(*accumulators)
        rows, distances, ids = map(np.concatenate, columns)
        order = np.lexsort((ids, distances, rows))
        rows, distances, ids = rows[order], distances[order], ids[order]
        if self._k is not None:
            # The place of each item in its row.
            places = np.arange(len(rows)) - np.searchsorted(rows, rows)
            near = places < self._k
            rows, distances, ids = rows[near], distances[near], ids[near]
        return max(counts), rows, distances, ids

    def extract_output(self, accumulator):
        return accumulator


def _nothing(count):
    return count, np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.int64)


def _rows(element):
    first, (count, rows, distances, ids) = element
    splits = np.searchsorted(rows, np.arange(count + 1))
    for row, (start, end) in enumerate(itertools.pairwise(splits)):
        yield NearestCodes(first + row, distances[start:end], ids[start:end])
