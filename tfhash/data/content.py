"""Splitting by content: equal bytes always land in the same split."""

import hashlib

import numpy as np

QUERY, VALIDATION, TRAIN = range(3)


def digest(contents):
    """SHA-256 of bytes, in hexadecimal.

    Example:

    >>> digest(b"")[:8]
    'e3b0c442'
    """
    return hashlib.sha256(contents).hexdigest()


def check_fractions(query_fraction, validation_fraction):
    """Raises `ValueError` unless both fractions are in [0, 1)."""
    for name, fraction in (
        ("query_fraction", query_fraction),
        ("validation_fraction", validation_fraction),
    ):
        if not 0 <= fraction < 1:
            raise ValueError(f"`{name}` must be in [0, 1). Received: {name}={fraction!r}")


def split_by_content(digests, labels, query_fraction, validation_fraction):
    """Divides items into queries, validation and training by their digests.

    A digest is a random number that belongs to the content: those below a threshold become queries,
    and of the rest those whose next digits are below another threshold become validation. File
    names, the order of items, other items and the seed of a run play no part, so copies stay
    together, also across classes, and items stay where they are when a dataset grows. A small class
    that would be left without queries, validation or training items gives up one content for each
    if it has enough different ones, training first.

    Args:
        digests: Hexadecimal digest of each item, 16 digits or more.
        labels: Integer label of each item.
        query_fraction: Share that becomes queries, in [0, 1).
        validation_fraction: Share of the rest that becomes validation, in [0, 1).

    Returns:
        Three NumPy arrays of indices, `(queries, validation, train)`, each ordered by digest.

    Raises:
        ValueError: If a fraction is out of range.

    Example:

    >>> digests = [digest(bytes([i])) for i in range(10)]
    >>> [part.tolist() for part in split_by_content(digests, [0] * 10, 0.3, 0.2)]
    [[3, 9, 1], [2], [6, 0, 8, 7, 4, 5]]
    """
    check_fractions(query_fraction, validation_fraction)
    digests, labels = np.asarray(digests), np.asarray(labels)
    part_of = {
        content: _draw(content, query_fraction, validation_fraction)
        for content in np.unique(digests).tolist()
    }
    wanted = [TRAIN]
    wanted += [QUERY] if query_fraction else []
    wanted += [VALIDATION] if validation_fraction else []
    for label in np.unique(labels):
        _give_each_part_one(part_of, np.unique(digests[labels == label]).tolist(), wanted)
    order = np.argsort(digests, kind="stable")
    parts = np.array([part_of[content] for content in digests[order].tolist()], int)
    return tuple(order[parts == part] for part in (QUERY, VALIDATION, TRAIN))


def _draw(content, query_fraction, validation_fraction):
    first, second = (int(content[start : start + 8], 16) / 2**32 for start in (0, 8))
    if first < query_fraction:
        return QUERY
    return VALIDATION if second < validation_fraction else TRAIN


def _give_each_part_one(part_of, contents, wanted):
    """Moves contents of a class so that each wanted part gets one, as far as they go round."""
    for part in wanted[: len(contents)]:
        if any(part_of[content] == part for content in contents):
            continue
        counts = {p: sum(part_of[content] == p for content in contents) for p in set(wanted)}
        # Among equally full parts the least wanted one, so that none gives away what it just received.
        fullest = max(counts, key=lambda p: (counts[p], wanted.index(p)))
        mover = next(content for content in contents if part_of[content] == fullest)
        part_of[mover] = part
