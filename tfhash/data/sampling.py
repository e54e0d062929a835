"""The order of training items in an epoch. NumPy alone, so that every input pipeline can share it."""

import numpy as np

from tfhash.labels import is_multi_hot

# With fewer similar items per anchor than this, batches of classes x items train better codes.
FEWEST_SIMILAR_ITEMS = 1.0

# Items of one class in a batch of classes x items, and the fewest classes in a batch.
ITEMS_PER_CLASS, FEWEST_CLASSES = 8, 2

# Anchors sampled to estimate the pairs of a multi-hot dataset.
SAMPLED_ANCHORS = 1_000


def epoch_order(labels, seed, epoch, items_per_class=None):
    """Draws the order in which an epoch visits the items, each once.

    The order depends on the arguments alone, so a resumed run sees the batches it would have seen
    without the break.

    Args:
        labels: Labels of the n items, NumPy: integers `[n]` or multi-hot `[n, C]`. Only
            `items_per_class` looks at their values.
        seed: Integer >= 0.
        epoch: Epoch, counted from 0.
        items_per_class: Items of one class to place side by side, >= 2, which makes batches of
            classes x items; one more where one would be left over. An item with several labels joins
            one of them, drawn again each epoch, a rare one more often than a common one. By default
            the order is uniformly random.

    Returns:
        NumPy `int64 [n]`, a permutation of 0 to n - 1.

    Raises:
        ValueError: If `items_per_class` is below 2.

    Example:

    >>> labels = np.array([0, 1, 0, 1])
    >>> first, second = labels[epoch_order(labels, seed=0, epoch=0, items_per_class=2)].reshape(2, 2)
    >>> first.tolist() in ([0, 0], [1, 1]), second.tolist() in ([0, 0], [1, 1])
    (True, True)
    """
    labels = np.asarray(labels)
    rng = np.random.default_rng((seed, epoch))
    order = rng.permutation(len(labels))
    if items_per_class is None:
        return order
    if items_per_class < 2:
        raise ValueError(
            f"`items_per_class` must be at least 2. Received: items_per_class={items_per_class!r}"
        )
    classes = _draw_one_label(labels, rng)[order]
    # Stable, so that the items of a class stay shuffled.
    by_class = np.argsort(classes, kind="stable")
    starts = np.flatnonzero(np.diff(classes[by_class], prepend=np.nan))
    chunks = [
        chunk
        for members in np.split(order[by_class], starts[1:])
        # A rest of one stays with the items before it: alone, it would have nothing similar.
        for chunk in np.split(members, range(items_per_class, len(members) - 1, items_per_class))
    ]
    return np.concatenate([chunks[i] for i in rng.permutation(len(chunks))] or [order])


def similar_items_per_anchor(labels, batch_size):
    """Expected number of items in a random batch that share a label with an item of the batch.

    Args:
        labels: Integers `[n]` or multi-hot `[n, C]`, NumPy.
        batch_size: Items in a batch.

    Returns:
        A float >= 0.

    Example: 300 classes of 9 items.

    >>> round(similar_items_per_anchor(np.arange(2700) % 300, batch_size=64), 2)
    0.19
    """
    labels = np.asarray(labels)
    if len(labels) < 2:
        return 0.0
    if is_multi_hot(labels):
        marks = (labels > 0).astype("float32")
        anchors = np.arange(0, len(marks), -(-len(marks) // SAMPLED_ANCHORS))
        shared = marks[anchors] @ marks.T > 0
        similar = np.mean(shared.sum(axis=1) - shared[np.arange(len(anchors)), anchors])
    else:
        _, counts = np.unique(labels, return_counts=True)
        similar = (counts * (counts - 1.0)).sum() / len(labels)
    return float(similar * (min(batch_size, len(labels)) - 1) / (len(labels) - 1))


def choose_items_per_class(labels, batch_size):
    """Chooses between random batches and batches of classes x items.

    Args:
        labels, batch_size: As in `similar_items_per_anchor`.

    Returns:
        `None` where random batches hold at least one similar item per anchor, or where no two items
        share a label; otherwise the `items_per_class` for `epoch_order`.

    Example:

    >>> choose_items_per_class(np.arange(2700) % 300, batch_size=64)
    8
    >>> choose_items_per_class(np.arange(2700) % 10, batch_size=64) is None
    True
    """
    similar = similar_items_per_anchor(labels, batch_size)
    items_per_class = min(ITEMS_PER_CLASS, batch_size // FEWEST_CLASSES)
    if similar == 0 or similar >= FEWEST_SIMILAR_ITEMS or items_per_class < 2:
        return None
    return items_per_class


def _draw_one_label(labels, rng):
    """One label of each item, integers `[n]`; -1 for an item without labels.

    Labels are drawn with weights inverse to the items that have them. A rare class would otherwise
    lose items to the common classes that they are also of, and its groups would be left with one.
    """
    if not is_multi_hot(labels):
        return labels.reshape(-1)
    marks = labels > 0
    # Exponential variables, of which the smallest belongs to each class with the chance of its rate.
    times = rng.exponential(size=marks.shape) * marks.sum(axis=0)
    drawn = np.argmin(np.where(marks, times, np.inf), axis=1)
    return np.where(marks.any(axis=1), drawn, -1)
