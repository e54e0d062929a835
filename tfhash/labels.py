"""Labels: two items are similar if they share one."""

import numpy as np
from keras import ops


def is_multi_hot(labels):
    """Whether labels are multi-hot `[n, C]`, C >= 2, rather than integers `[n]` or `[n, 1]`.

    Args:
        labels: Array or tensor; its shape alone is looked at.

    Returns:
        A `bool`.

    Raises:
        ValueError: If `labels` has another rank.

    Example:

    >>> import numpy as np
    >>> is_multi_hot(np.array([3, 1])), is_multi_hot(np.array([[1, 0, 1]]))
    (False, True)
    """
    shape = tuple(labels.shape)
    if len(shape) not in (1, 2):
        raise ValueError(
            "`labels` must be integers of shape [n] or multi-hot of shape [n, C]. "
            f"Received: labels of shape {shape}"
        )
    return len(shape) == 2 and shape[1] != 1


def check_same_kind(left, right):
    """Raises `ValueError` unless the labels of both sides are comparable.

    Args:
        left: Labels of some items: integers `[n]`, or multi-hot `[n, C]`.
        right: Labels of others, `[m]` or `[m, C]`.

    Raises:
        ValueError: If one side is multi-hot and the other is not, or the numbers of classes differ.

    Example:

    >>> import numpy as np
    >>> check_same_kind(np.array([3, 1]), np.array([[0], [1], [2]]))
    """
    if is_multi_hot(left) != is_multi_hot(right):
        raise ValueError(
            "both sides must have integer labels, or both multi-hot labels. "
            f"Received: shapes {tuple(left.shape)} and {tuple(right.shape)}"
        )
    if is_multi_hot(left) and left.shape[1] != right.shape[1]:
        raise ValueError(
            "multi-hot labels must have the same number of classes on both sides. "
            f"Received: {left.shape[1]} and {right.shape[1]}"
        )


def check_num_classes(labels, num_classes):
    """Raises `ValueError` if multi-hot labels have another number of classes.

    Args:
        labels: Integers `[n]`, which always pass, or multi-hot `[n, C]`.
        num_classes: The number of classes, an integer.

    Raises:
        ValueError: If `labels` are multi-hot and C is not `num_classes`.

    Example:

    >>> import numpy as np
    >>> check_num_classes(np.array([[1, 0, 1]]), 3)
    """
    if is_multi_hot(labels) and labels.shape[1] != num_classes:
        raise ValueError(
            f"multi-hot labels must have shape [n, {num_classes}] for num_classes={num_classes}. "
            f"Received: labels of shape {tuple(labels.shape)}"
        )


def similar(left, right):
    """Marks the pairs of items that share a label.

    Args:
        left: Labels of n items: integers `[n]` (or `[n, 1]`), or multi-hot `[n, C]`
            where every value above 0 marks a label; see `are_broken` for labels that say nothing.
        right: The same for m items.

    Returns:
        Booleans `[n, m]`.

    Raises:
        ValueError: If one side is multi-hot and the other is not, or a rank is wrong.

    Example:

    >>> import numpy as np
    >>> from keras import ops
    >>> ops.convert_to_numpy(similar(np.array([0, 1]), np.array([1, 1, 0]))).tolist()
    [[False, False, True], [True, True, False]]
    """
    left, right = ops.convert_to_tensor(left), ops.convert_to_tensor(right)
    check_same_kind(left, right)
    if not is_multi_hot(left):
        return ops.equal(ops.reshape(left, (-1, 1)), ops.reshape(right, (1, -1)))
    shared = ops.matmul(_marks(left), ops.transpose(_marks(right)))
    return ops.greater(shared, 0)


def memberships(labels, num_classes, dtype="float32"):
    """Marks the labels that each item has.

    Args:
        labels: Integers `[n]` (or `[n, 1]`), 0 to C - 1, or multi-hot `[n, C]`, 0 or 1; values
            above 1 count as 1.
        num_classes: The C.
        dtype: Type of the result, a float.

    Returns:
        `[n, C]`, 1 where an item has a label and 0 elsewhere. NaN where labels mean no class, because
        0 would mean an item without labels: the row of a number that is none of the classes, and
        multi-hot values that are NaN or between 0 and 1.

    Raises:
        ValueError: If multi-hot labels have another number of classes.

    Example:

    >>> import numpy as np
    >>> from keras import ops
    >>> ops.convert_to_numpy(memberships(np.array([2, 0]), 3)).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    check_num_classes(labels, num_classes)
    if is_multi_hot(labels):
        return ops.where(_are_partial(labels), float("nan"), _marks(labels, dtype))
    # As floats: as int32 they could wrap to another class. PyTorch's `one_hot` fails out of range.
    numbers = ops.reshape(ops.cast(labels, "float32"), (-1, 1))
    is_label = ops.equal(numbers, ops.arange(num_classes, dtype="float32"))
    is_known = ops.any(is_label, axis=1, keepdims=True)
    return ops.where(is_known, ops.cast(is_label, dtype), float("nan"))


def distribution(labels, num_classes, dtype="float32"):
    """The probability of each class given the labels of an item, all of which are equally likely.

    Args:
        labels, num_classes, dtype: As in `memberships`.

    Returns:
        `[n, C]`, each row with a sum of 1; even where an item has no label, NaN where an integer is
        out of range.

    Raises:
        ValueError: If multi-hot labels have another number of classes.

    Example:

    >>> import numpy as np
    >>> from keras import ops
    >>> ops.convert_to_numpy(distribution(np.array([[1, 0, 1, 0], [0, 0, 0, 0]]), 4)).tolist()
    [[0.5, 0.0, 0.5, 0.0], [0.25, 0.25, 0.25, 0.25]]
    """
    marks = memberships(labels, num_classes, dtype)
    counts = ops.sum(marks, axis=1, keepdims=True)
    return ops.where(ops.equal(counts, 0), 1 / num_classes, marks / ops.maximum(counts, 1))


def are_broken(labels):
    """Marks the items whose labels say nothing.

    Args:
        labels: Integers `[n]` (or `[n, 1]`), or multi-hot `[n, C]`.

    Returns:
        Booleans `[n]`: True where a label is NaN, or a multi-hot value is between 0 and 1, as mixing
        images and smoothing make them. Items with such labels would be similar to all others.

    Example:

    >>> import numpy as np
    >>> from keras import ops
    >>> ops.convert_to_numpy(are_broken(np.array([[1, 0], [0.9, 0.1]]))).tolist()
    [False, True]
    """
    labels = ops.convert_to_tensor(labels)
    if is_multi_hot(labels):
        return ops.any(_are_partial(labels), axis=1)
    numbers = ops.reshape(ops.cast(labels, "float32"), (-1,))
    return ops.not_equal(numbers, numbers)


def check_values(labels):
    """Raises `ValueError` if some labels are NaN, or multi-hot between 0 and 1.

    Args:
        labels: NumPy, integers `[n]` (or `[n, 1]`) or multi-hot `[n, C]`.

    Raises:
        ValueError: If they are; the message names the first.

    Example:

    >>> import numpy as np
    >>> check_values(np.array([[1, 0, 1]]))
    """
    if labels.dtype.kind != "f":
        return
    if np.isnan(labels).any():
        raise ValueError(
            "`labels` must be numbers. Received: NaN among them, first at index "
            f"{np.argwhere(np.isnan(labels))[0, 0]}"
        )
    is_part = (labels > 0) & (labels < 1) if is_multi_hot(labels) else np.zeros(1, bool)
    if is_part.any():
        item, label = np.argwhere(is_part)[0]
        raise ValueError(
            "multi-hot `labels` must be 0 or 1: mixed or smoothed, each would make items similar. "
            f"Received: {labels[item, label]:g} at index ({item}, {label}). Pass the labels as they "
            "are; `label_smoothing` of a `classification_loss` smooths them for the classifier alone"
        )


def each_label(labels):
    """Every item with each of its labels.

    Args:
        labels: NumPy: integers `[n]` (or `[n, 1]`), or multi-hot `[n, C]`.

    Returns:
        `(items, classes)`, NumPy `int64 [m]` each, in the order of the items.

    Raises:
        ValueError: If `labels` has another rank.

    Example:

    >>> import numpy as np
    >>> [part.tolist() for part in each_label(np.array([[1, 0, 1], [0, 1, 0]]))]
    [[0, 0, 1], [0, 2, 1]]
    """
    labels = np.asarray(labels)
    check_values(labels)
    if is_multi_hot(labels):
        items, classes = np.nonzero(labels > 0)
        return items, classes
    return np.arange(len(labels)), labels.reshape(-1).astype("int64")


def lists(labels):
    """The labels of each item, as a list of lists of class numbers, ascending.

    Args:
        labels: As in `each_label`.

    Example:

    >>> import numpy as np
    >>> lists(np.array([[1, 0, 1], [0, 0, 0]])), lists(np.array([2, 0]))
    ([[0, 2], []], [[2], [0]])
    """
    items, classes = each_label(labels)
    found: list[list[int]] = [[] for _ in range(len(labels))]
    for item, label in zip(items.tolist(), classes.tolist()):
        found[item].append(label)
    return found


def has_similar(labels):
    """Marks the items that share a label with another one.

    Args:
        labels: As in `each_label`.

    Returns:
        NumPy booleans `[n]`.

    Example:

    >>> import numpy as np
    >>> has_similar(np.array([2, 0, 2])).tolist()
    [True, False, True]
    """
    items, classes = each_label(labels)
    _, numbers, counts = np.unique(classes, return_inverse=True, return_counts=True)
    found = np.zeros(len(labels), bool)
    found[items[counts[numbers] > 1]] = True
    return found


def count_shared(left, right):
    """Number of labels that each pair of items shares.

    Args:
        left: Labels of n items: NumPy, integers `[n]` (or `[n, 1]`), or multi-hot `[n, C]`.
        right: The same for m items.

    Returns:
        NumPy `int64 [n, m]`.

    Raises:
        ValueError: If one side is multi-hot and the other is not, or a rank is wrong.

    Example:

    >>> import numpy as np
    >>> count_shared(np.array([[1, 1, 0]]), np.array([[1, 1, 1], [0, 1, 0], [0, 0, 1]])).tolist()
    [[2, 1, 0]]
    """
    left, right = np.asarray(left), np.asarray(right)
    check_values(left)
    check_values(right)
    check_same_kind(left, right)
    if not is_multi_hot(left):
        return (left.reshape(-1, 1) == right.reshape(1, -1)).astype("int64")
    # As float32, whose matrix product is fast and exact here.
    marks = ((side > 0).astype("float32") for side in (left, right))
    left, right = marks
    return (left @ right.T).astype("int64")


def _marks(labels, dtype="float32"):
    # Through float32, because booleans cannot be compared with 0.
    return ops.cast(ops.greater(ops.cast(labels, "float32"), 0), dtype)


def _are_partial(values):
    """Which values of multi-hot labels are NaN, or between 0 and 1: neither a label nor none."""
    values = ops.cast(values, "float32")
    is_part = ops.logical_and(values > 0, values < 1)
    return ops.logical_or(is_part, ops.not_equal(values, values))
