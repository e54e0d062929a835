"""Duplicates: all pairs, or connected groups, of codes within a radius. Exact.

Takes packed codes, as `tfhash.codes.pack` and `tfhash encode` make them: `uint8 [n, ceil(bits / 8)]`,
bit j at position j % 8 of byte j // 8, padding bits 0.

Codes at most r bits apart that are cut into r + k pieces agree in k pieces at least (the pigeonhole
principle). So only codes that share a bucket of such pieces are compared, and equal codes once.
Where that would not help, as for large radii, all pairs are compared. Neither changes the result.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from tfhash_ops import join

# Pairs that `pairs` returns at most: 2 GB.
MOST_PAIRS = 100_000_000

_PAIR_BYTES = 20


class Pairs(NamedTuple):
    """Pairs of items, in ascending order of (first, second).

    Attributes:
        first: Rows of the codes, `int64 [m]`.
        second: Rows of the codes, `int64 [m]`; each larger than its `first`.
        distances: Their distances in bits, `int32 [m]`.

    `pairs` returns it and has an example.
    """

    first: np.ndarray
    second: np.ndarray
    distances: np.ndarray


class Group(NamedTuple):
    """Items that are connected by pairs within the radius.

    Attributes:
        members: Rows of the codes in ascending order, `int64 [m]`, m >= 2.
        nearest: The smallest distance of a pair of members, in bits.
        farthest: The largest distance among the pairs of members *within the radius*. Members that
            are connected only through others can be farther apart.

    `groups` returns a sequence of it and has an example.
    """

    members: np.ndarray
    nearest: int
    farthest: int


@dataclasses.dataclass(frozen=True, eq=False)
class Groups:
    """Groups in ascending order of their smallest members. A sequence of `Group`.

    Attributes:
        members: Members of all groups, one group after another, `int64 [m]`.
        row_splits: Group i spans `row_splits[i]` to `row_splits[i + 1]`, `int64 [g + 1]`.
        nearest, farthest: As in `Group`, `int32 [g]`.

    `groups` returns it and has an example.
    """

    members: np.ndarray
    row_splits: np.ndarray
    nearest: np.ndarray
    farthest: np.ndarray

    def __len__(self):
        return len(self.nearest)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        index = range(len(self))[index]
        start, end = self.row_splits[index : index + 2]
        return Group(self.members[start:end], int(self.nearest[index]), int(self.farthest[index]))


def pairs(codes, bits, radius, *, threads=None, max_pairs=MOST_PAIRS):
    """All pairs of items at most `radius` bits apart.

    Args:
        codes: Packed codes, `uint8 [n, ceil(bits / 8)]`, padding bits 0.
        bits: Length of a code in bits, >= 1.
        radius: Largest distance in bits, >= 0.
        threads: Threads to use, >= 1; by default one for each CPU of this process.
        max_pairs: Pairs to return at most. They are counted before memory is taken.

    Returns:
        `Pairs`.

    Raises:
        TypeError, ValueError: If an argument is not as above.
        MemoryError: If there are more than `max_pairs` pairs; `pair_blocks` and `groups` need memory
            for the codes alone.

    Example:

    >>> found = pairs(np.array([[0], [7], [1], [7]], "uint8"), bits=8, radius=1)
    >>> list(zip(found.first.tolist(), found.second.tolist(), found.distances.tolist()))
    [(0, 2, 1), (1, 3, 0)]
    """
    stream = join.open_pairs(codes, bits, radius, threads)
    if stream.total > max_pairs:
        gigabytes = stream.total * _PAIR_BYTES / 1e9
        raise MemoryError(
            f"{stream.total:,} pairs are at most {radius} bits apart, which take {gigabytes:,.1f} GB. "
            f"Expected at most {max_pairs:,}. Choose a smaller radius, read them in blocks "
            "(pair_blocks), take groups instead (groups), or raise max_pairs"
        )
    return Pairs(*stream.next(stream.total))


def pair_blocks(codes, bits, radius, *, threads=None, block=2**20):
    """The pairs of `pairs` some at a time, in the same order, in bounded memory.

    Args:
        codes, bits, radius, threads: As in `pairs`.
        block: Pairs in a block, >= 1; the last one has fewer.

    Returns:
        An iterator of `Pairs`. The join runs before the first block; where its pairs do not fit
        into half a gigabyte, it runs again for each part of the items.

    Raises:
        TypeError, ValueError: If an argument is not as in `pairs`.

    Example:

    >>> codes = np.zeros((4, 1), "uint8")
    >>> [block.second.tolist() for block in pair_blocks(codes, bits=8, radius=0, block=4)]
    [[1, 2, 3, 2], [3, 3]]
    """
    if isinstance(block, bool) or not isinstance(block, (int, np.integer)) or block < 1:
        raise ValueError(f"`block` must be an integer >= 1. Received: block={block!r}")
    return _blocks(join.open_pairs(codes, bits, radius, threads), int(block))


def count_pairs(codes, bits, radius, *, threads=None):
    """The number of pairs at most `radius` bits apart.

    Args:
        codes, bits, radius, threads: As in `pairs`.

    Example:

    >>> count_pairs(np.zeros((50_000, 6), "uint8"), bits=48, radius=2)
    1249975000
    """
    return join.open_pairs(codes, bits, radius, threads, most_edges=1).total


def groups(codes, bits, radius, *, threads=None):
    """Connected groups: items at most `radius` bits apart, directly or through others.

    Pairs are not kept, so that memory grows with the codes alone, however many pairs there are.

    Args:
        codes, bits, radius, threads: As in `pairs`.

    Returns:
        `Groups`; items without another one within the radius are in none.

    Raises:
        TypeError, ValueError: If an argument is not as in `pairs`.

    Example:

    >>> found = groups(np.array([[0], [7], [1], [3], [128]], "uint8"), bits=8, radius=1)
    >>> [(group.members.tolist(), group.nearest, group.farthest) for group in found]
    [([0, 1, 2, 3, 4], 1, 1)]
    """
    group_of, nearest, farthest = join.group_items(codes, bits, radius, threads)
    grouped = np.flatnonzero(group_of >= 0)
    members = grouped[np.argsort(group_of[grouped], kind="stable")]
    # A group is named by its smallest member, the first one here.
    first = np.flatnonzero(group_of[members] == members)
    return Groups(
        members,
        np.append(first, len(members)).astype(np.int64),
        nearest[members[first]],
        farthest[members[first]],
    )


def _blocks(stream, block):
    while len((found := Pairs(*stream.next(min(block, max(stream.total, 1))))).first):
        yield found
