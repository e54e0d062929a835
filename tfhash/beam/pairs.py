"""Near-duplicates among more codes than memory holds.

Codes at most r bits apart that are cut into r + 1 pieces agree in one piece at least (the pigeonhole
principle). So codes are grouped by the number and the bits of a piece, and compared within a group.
A pair is reported where its first piece in common is, hence once.
"""

import itertools
from typing import NamedTuple

import numpy as np

from tfhash.beam.extra import apache_beam as beam
from tfhash.beam.read import check_block
from tfhash.index import duplicates
from tfhash.index.arguments import as_integer

# Odd, so that products mix all bits of a piece: 2^64 by the golden ratio.
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


class NearPair(NamedTuple):
    """Two items within the radius.

    Attributes:
        first: Id of an item.
        second: Id of the other, the larger one.
        distance: Their distance in bits.

    `NearPairs` returns it and has an example.
    """

    first: int
    second: int
    distance: int


class NearPairs(beam.PTransform):
    """Finds all pairs of items at most `radius` bits apart. Exact; each pair once.

    Takes blocks of codes, what `ReadCodes` and `ToBlocks` return, and returns `NearPair`. Memory of a
    worker is bounded by `chunk`, however many codes are equal: a large group is divided into chunks,
    and every two of them are compared by themselves, by any worker. The number of pairs is not: n
    equal codes are n (n - 1) / 2 pairs.

    Args:
        bits: Length of a code.
        radius: Largest distance in bits, >= 0.
        groups: Groups that the codes are divided into for each piece, >= 1: about the number of codes
            over `chunk` suits.
        chunk: Codes of a chunk, >= 1.

    Raises:
        ValueError: If an argument is not as above.

    Example:

        with beam.Pipeline() as pipeline:
            blocks = pipeline | tfhash.beam.ReadCodes("codes/")
            pairs = blocks | tfhash.beam.NearPairs(bits=64, radius=2)
    """

    def __init__(self, bits, radius, groups=64, chunk=65_536):
        super().__init__()
        self._bits, self._radius = as_integer("bits", bits, 1), as_integer("radius", radius, 0)
        self._groups, self._chunk = as_integer("groups", groups, 1), as_integer("chunk", chunk, 1)

    def expand(self, blocks):
        bounds = pieces(self._bits, self._radius)
        return (
            blocks
            | beam.FlatMap(_by_piece, self._bits, bounds, self._groups)
            | beam.GroupByKey()
            | beam.FlatMap(_chunk_pairs, self._chunk)
            | beam.Reshuffle()
            | beam.FlatMap(_compare, self._bits, self._radius, bounds)
        )


def pieces(bits, radius):
    """Where the pieces of a code begin and end, in bits.

    Args:
        bits: Length of a code.
        radius: Largest distance of a pair.

    Returns:
        A list of `radius + 1` pairs; one piece of no bits, in which all codes agree, where a code is
        too short.

    Example:

    >>> pieces(64, 2)
    [(0, 21), (21, 42), (42, 64)]
    """
    if radius >= bits:
        return [(0, 0)]
    cuts = [bits * i // (radius + 1) for i in range(radius + 2)]
    return list(itertools.pairwise(cuts))


def _by_piece(block, bits, bounds, groups):
    """The codes of a block by number of a piece and group of its bits."""
    block = check_block(block, bits)
    for piece, bound in enumerate(bounds):
        group = _hash(_piece(block.codes, bound)) % np.uint64(groups)
        order = np.argsort(group, kind="stable")
        found, starts = np.unique(group[order], return_index=True)
        for number, rows in zip(found.tolist(), np.split(order, starts[1:])):
            yield (piece, number), (block.ids[rows], block.codes[rows])


def _chunk_pairs(element, size):
    """Every two chunks of a group, and each with itself, as (piece, chunk, chunk or None)."""
    (piece, _), parts = element
    # Parts are read again for each chunk, for they may be more than memory holds.
    for i, chunk in enumerate(_chunks(parts, size)):
        yield piece, chunk, None
        for other in itertools.islice(_chunks(parts, size), i + 1, None):
            yield piece, chunk, other


def _chunks(parts, size):
    """The items of a group, put together and cut into chunks."""
    waiting: list[tuple[np.ndarray, np.ndarray]] = []
    count = 0
    for ids, codes in parts:
        for start in range(0, len(ids), size):
            part = ids[start : start + size], codes[start : start + size]
            if count + len(part[0]) > size:
                yield tuple(map(np.concatenate, zip(*waiting)))
                waiting, count = [], 0
            waiting.append(part)
            count += len(part[0])
    if waiting:
        yield tuple(map(np.concatenate, zip(*waiting)))


def _compare(element, bits, radius, bounds):
    """The pairs of a chunk, or of one item of a chunk and one of another."""
    piece, (ids, codes), other = element
    count = len(ids)
    if other is not None:
        ids, codes = np.concatenate([ids, other[0]]), np.concatenate([codes, other[1]])
    for first, second, distances in duplicates.pair_blocks(codes, bits, radius):
        wanted = np.ones(len(first), bool) if other is None else (first < count) & (second >= count)
        for earlier in bounds[:piece]:
            a, b = (_piece(codes[rows], earlier) for rows in (first, second))
            wanted &= (a != b).any(axis=1)
        here = (_piece(codes[rows], bounds[piece]) for rows in (first, second))
        wanted &= np.equal(*here).all(axis=1)
        a, b = ids[first[wanted]], ids[second[wanted]]
        low, high = np.minimum(a, b).tolist(), np.maximum(a, b).tolist()
        yield from map(NearPair, low, high, distances[wanted].tolist())


def _piece(codes, bound):
    """The bytes of a piece of each code, with other bits 0, `uint8 [n, bytes]`."""
    start, end = bound
    first, last = start // 8, -(-end // 8)
    if end == start:
        return np.zeros((len(codes), 1), np.uint8)
    found = codes[:, first:last].copy()
    found[:, 0] &= np.uint8(0xFF << start % 8 & 0xFF)
    if end % 8:
        found[:, -1] &= np.uint8((1 << end % 8) - 1)
    return found


def _hash(values):
    """A number of 64 bits for each row of bytes."""
    found = np.zeros(len(values), np.uint64)
    for column in values.T:
        found = (found ^ column) * _MULTIPLIER
        found ^= found >> np.uint64(32)
    return found
