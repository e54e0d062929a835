"""Splitting by content: equal bytes always land in the same split."""

import hashlib

import numpy as np

from tfhash.labels import each_label

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
    names, the order of items and the seed of a run play no part, so copies stay together, also
    across classes, and items stay where they are when a dataset grows. A small class that would be
    left without training items, queries or validation gives up one content for each if it has
    enough different ones, training first.

    Where items have several labels, every class gets its training item first, then queries, then
    validation, rare classes before common ones. No item leaves training that is the last one there
    of some class, nor the queries for validation; so a class may stay without queries.

    Args:
        digests: Hexadecimal digest of each item, 16 digits or more.
        labels: Labels of the items, NumPy: integers `[n]` or multi-hot `[n, C]`.
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
    digests = np.asarray(digests)
    contents, content_of = np.unique(digests, return_inverse=True)
    part_of = np.array(
        [_draw(content, query_fraction, validation_fraction) for content in contents.tolist()], int
    )
    wanted = [TRAIN]
    wanted += [QUERY] if query_fraction else []
    wanted += [VALIDATION] if validation_fraction else []
    items, classes = each_label(np.asarray(labels))
    _give_each_class_its_parts(part_of, content_of[items], classes, wanted)
    order = np.argsort(digests, kind="stable")
    parts = part_of[content_of[order]]
    return tuple(order[parts == part] for part in (QUERY, VALIDATION, TRAIN))


def count_contents(digests, labels):
    """Number of different contents that each class has, as a dictionary from a label to it."""
    contents = np.unique(np.asarray(digests), return_inverse=True)[1]
    items, classes = each_label(np.asarray(labels))
    members = np.unique(np.stack([classes, contents[items]], axis=1), axis=0)
    return dict(zip(*(part.tolist() for part in np.unique(members[:, 0], return_counts=True))))


def _draw(content, query_fraction, validation_fraction):
    first, second = (int(content[start : start + 8], 16) / 2**32 for start in (0, 8))
    if first < query_fraction:
        return QUERY
    return VALIDATION if second < validation_fraction else TRAIN


def _give_each_class_its_parts(part_of, contents, classes, wanted):
    """Moves contents so that each wanted part has one of each class, as far as they go round.

    Args:
        part_of: Part of each content; it is changed.
        contents, classes: A content and one of its classes each, integers `[m]`.
        wanted: The parts, the most wanted one first.
    """
    members = np.unique(np.stack([classes, contents], axis=1), axis=0)
    _, class_of, sizes = np.unique(members[:, 0], return_inverse=True, return_counts=True)
    counts = np.zeros((len(sizes), 3), int)
    np.add.at(counts, (class_of, part_of[members[:, 1]]), 1)
    needed = [wanted[:size] for size in sizes]
    contents_of = np.split(members[:, 1], np.cumsum(sizes)[:-1])
    by_content = np.argsort(members[:, 1], kind="stable")
    starts = np.searchsorted(members[by_content, 1], np.arange(len(part_of) + 1))

    def classes_of(content):
        return class_of[by_content[starts[content] : starts[content + 1]]]

    def is_free(content, settled):
        part = part_of[content]
        return part not in settled or all(
            part not in needed[c] or counts[c, part] > 1 for c in classes_of(content)
        )

    rarest_first = np.argsort(sizes, kind="stable")
    for place, part in enumerate(wanted):
        for label in rarest_first:
            if counts[label, part] or part not in needed[label]:
                continue
            # Among equally full parts the least wanted one gives.
            givers = sorted(wanted, key=lambda p: (-counts[label, p], -wanted.index(p)))
            of_class = contents_of[label]
            candidates = (c for p in givers for c in of_class[part_of[of_class] == p])
            mover = next((c for c in candidates if is_free(c, wanted[:place])), None)
            if mover is not None:
                counts[classes_of(mover), part_of[mover]] -= 1
                counts[classes_of(mover), part] += 1
                part_of[mover] = part
