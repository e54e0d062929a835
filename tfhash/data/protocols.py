"""Named ways to divide the items of a dataset into training, queries and database."""

import dataclasses
import os

import numpy as np

from tfhash.data.content import check_fractions, digest

PROTOCOLS = ("official", "unseen-items", "cnnh", "cnnh54k", "unseen-classes")
"""Ways to divide the items of a dataset; see `tfhash.data.load`."""

QUERIES_OF_CLASS = 100
TRAINING_ITEMS_OF_CLASS = 500

# Why a protocol has no meaning where items have several labels.
WHY_SINGLE = {
    "cnnh": "it takes as many of each class, and an item of two classes would count twice",
    "cnnh54k": "it takes as many of each class, and an item of two classes would count twice",
    "unseen-classes": "an item of a seen and an unseen class would belong to both sides",
}

# Share of the classes that training never sees, and the least number of them.
UNSEEN_SHARE = 0.3
LEAST_CLASSES = 2


def arrange(splits, protocol, validation_fraction):
    """Divides the items of the official splits as a protocol says; see `tfhash.data.load`.

    Which item lands where depends on its name and class alone, by the digest of the name.

    Args:
        splits: `Splits` of the protocol `"official"`.
        protocol: One of `PROTOCOLS`.
        validation_fraction: Share of the training items that is held out for validation, in [0, 1).

    Returns:
        `Splits`.

    Raises:
        ValueError: If the protocol is unknown, the dataset has too few items or classes, or items
            have several labels under a protocol in `WHY_SINGLE`.
    """
    check_fractions(0, validation_fraction)
    if protocol not in PROTOCOLS:
        raise ValueError(
            f"`protocol` must be one of {', '.join(PROTOCOLS)}. Received: protocol={protocol!r}"
        )
    if protocol == "official":
        return splits
    if protocol == "unseen-items":
        return _unseen_items(splits)
    if splits.has_several_labels:
        raise ValueError(
            f"the protocol {protocol!r} needs items of one class each: {WHY_SINGLE[protocol]}. "
            f"Received: {splits.source}, whose items have several labels. Use 'official'"
        )
    if protocol == "unseen-classes":
        return _unseen_classes(splits)
    return _cnnh(splits, protocol, validation_fraction)


def _cnnh(splits, protocol, validation_fraction):
    pool = splits.database.concatenate(splits.queries)
    wanted = QUERIES_OF_CLASS + TRAINING_ITEMS_OF_CLASS
    validation_count = round(TRAINING_ITEMS_OF_CLASS * validation_fraction)
    order = np.argsort([digest(os.fsencode(name)) for name in pool.names], kind="stable")
    chosen: dict[str, list[np.ndarray]] = {"queries": [], "validation": [], "train": []}
    for label in range(len(splits.classes)):
        of_class = order[pool.labels[order] == label]
        if len(of_class) < wanted:
            raise ValueError(
                f"the protocol {protocol!r} needs {wanted} items of every class. Received: "
                f"{len(of_class)} of the class {splits.classes[label]!r} of {splits.source}"
            )
        queries, training = np.split(of_class[:wanted], [QUERIES_OF_CLASS])
        chosen["queries"].append(queries)
        chosen["validation"].append(training[:validation_count])
        chosen["train"].append(training[validation_count:])
    indices = {part: np.concatenate(of_classes) for part, of_classes in chosen.items()}
    not_in_database = [indices["queries"]]
    if protocol == "cnnh54k":
        not_in_database += [indices["validation"], indices["train"]]
    database = np.setdiff1d(np.arange(len(pool)), np.concatenate(not_in_database))
    return dataclasses.replace(
        splits,
        protocol=protocol,
        database=pool.pick(database),
        **{part: pool.pick(np.sort(of_part)) for part, of_part in indices.items()},
    )


def _unseen_items(splits):
    """Half of the queries search the other half."""
    if len(splits.queries) < 2:
        raise ValueError(
            "the protocol 'unseen-items' needs 2 or more items that are not trained on. Received: "
            f"{len(splits.queries)} of {splits.source}"
        )
    labels = splits.queries.labels
    # Of several labels, the first.
    classes = np.argmax(labels > 0, axis=1) if splits.has_several_labels else labels
    digests = [digest(os.fsencode(name)) for name in splits.queries.names]
    # By turns within a class, so that both halves have as many of it.
    order = np.lexsort([digests, classes])
    return dataclasses.replace(
        splits,
        protocol="unseen-items",
        queries=splits.queries.pick(np.sort(order[::2])),
        database=splits.queries.pick(np.sort(order[1::2])),
    )


def _unseen_classes(splits):
    total = len(splits.classes)
    count = max(LEAST_CLASSES, round(UNSEEN_SHARE * total))
    if total - count < LEAST_CLASSES:
        raise ValueError(
            f"the protocol 'unseen-classes' needs {2 * LEAST_CLASSES} or more classes. "
            f"Received: {total} classes in {splits.source}"
        )
    unseen = sorted(range(total), key=lambda label: digest(os.fsencode(splits.classes[label])))[
        :count
    ]

    def of_classes(split, are_unseen):
        return split.pick(np.flatnonzero(np.isin(split.labels, unseen) == are_unseen))

    return dataclasses.replace(
        splits,
        protocol="unseen-classes",
        train=of_classes(splits.train, False),
        validation=of_classes(splits.validation, False),
        queries=of_classes(splits.queries, True),
        database=of_classes(splits.database, True),
    )
