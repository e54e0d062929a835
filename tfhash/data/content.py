"""Splitting by content: equal bytes always land in the same split."""

import hashlib

import numpy as np


def digest(contents):
    """SHA-256 of bytes, in hexadecimal.

    Example:

    >>> digest(b"")[:8]
    'e3b0c442'
    """
    return hashlib.sha256(contents).hexdigest()


def split_by_content(digests, labels, query_fraction, validation_fraction):
    """Divides items into queries, validation and training by their digests alone.

    Within each class the items are ordered by digest; the first ones become queries, the next
    ones validation. File names, their order and the seed of a run play no part, and copies of an
    item within a class stay together.

    Args:
        digests: Hexadecimal digest of each item.
        labels: Integer label of each item.
        query_fraction: Share of each class that becomes queries, at least one item of a class
            that has two or more different ones.
        validation_fraction: Share of what remains that becomes validation, likewise.

    Returns:
        Three NumPy arrays of indices, `(queries, validation, train)`, each ordered by digest.

    Raises:
        ValueError: If a fraction is outside [0, 1), or no training items remain in a class.

    Example:

    >>> [part.tolist() for part in split_by_content(list("cabd"), [0] * 4, 0.25, 0.3)]
    [[1], [2], [0, 3]]
    """
    for name, fraction in (
        ("query_fraction", query_fraction),
        ("validation_fraction", validation_fraction),
    ):
        if not 0 <= fraction < 1:
            raise ValueError(f"`{name}` must be in [0, 1). Received: {name}={fraction!r}")
    digests, labels = np.asarray(digests), np.asarray(labels)
    order = np.argsort(digests, kind="stable")
    parts = np.full(len(digests), 2)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        different = np.unique(digests[members])
        queries = _share(len(different), query_fraction)
        validation = _share(len(different) - queries, validation_fraction)
        rank = np.searchsorted(different, digests[members])
        parts[members] = np.where(rank < queries, 0, np.where(rank < queries + validation, 1, 2))
    return tuple(order[parts[order] == part] for part in range(3))


def _share(count, fraction):
    if count < 2 or fraction == 0:
        return 0
    return min(max(1, round(count * fraction)), count - 1)
