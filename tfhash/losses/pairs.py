"""Checks and means for objectives over the pairs of a batch."""

from keras import ops

from tfhash import labels as labels_lib


def check_batch(y_true, y_pred):
    """Raises `ValueError` unless there are codes `[n, bits]` and one label for each."""
    if len(y_pred.shape) != 2:
        raise ValueError(
            f"codes must have shape [n, bits]. Received: y_pred of shape {tuple(y_pred.shape)}"
        )
    labels_lib.is_multi_hot(y_true)
    known = [s for s in (y_true.shape[0], y_pred.shape[0]) if s is not None]
    if len(known) == 2 and known[0] != known[1]:
        raise ValueError(
            "there must be one label for each code. "
            f"Received: {known[0]} labels and {known[1]} codes"
        )


def sign_of_pairs(similar, dtype):
    """+1 where a pair is similar, -1 elsewhere."""
    return 2 * ops.cast(similar, dtype) - 1


def between(takes_part):
    """1 for the pairs of two different items that take part, else 0, float `[n, n]`.

    Args:
        takes_part: 1 or 0 for each item, float `[n]`.

    Example:

    >>> import numpy as np
    >>> from keras import ops
    >>> ops.convert_to_numpy(between(np.array([1.0, 1.0, 0.0]))).tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    both = ops.expand_dims(takes_part, 1) * ops.expand_dims(takes_part, 0)
    return both * (1 - ops.eye(ops.shape(takes_part)[0], dtype=both.dtype))


def into_cube(codes):
    """Codes whose values outside [-1, 1] count as the nearest of it.

    Their gradient is that at the nearest value, so that a wrong bit is still pulled back.

    Example:

    >>> import numpy as np
    >>> from keras import ops
    >>> ops.convert_to_numpy(into_cube(np.array([[-3.0, 0.5]]))).tolist()
    [[-1.0, 0.5]]
    """
    codes = ops.convert_to_tensor(codes)  # PyTorch's `stop_gradient` takes no array
    nearest = ops.stop_gradient(ops.clip(codes, -1, 1))
    return nearest + (codes - ops.stop_gradient(codes))


def row_mean(values, weights):
    """Mean of each row over the entries whose weight is 1, not 0; 0 if there are none."""
    return ops.sum(values * weights, axis=1) / ops.maximum(ops.sum(weights, axis=1), 1)


def unit_rows(codes):
    """Codes `[n, B]` scaled to length 1; a zero vector stays zero, with a finite gradient."""
    return codes * ops.rsqrt(ops.sum(ops.square(codes), axis=1, keepdims=True) + 1e-12)


def distance_to_vertex(codes):
    """Mean over bits of the squared distance to the nearest vertex of the cube, float `[n]`."""
    return ops.mean(ops.square(1 - ops.abs(codes)), axis=1)


def balanced_pair_mean(pair_loss, similar, between):
    """Mean over the similar pairs plus mean over the others, for every anchor.

    Both kinds have the same weight for any number of classes. An anchor without pairs of one kind keeps the other term.

    Args:
        pair_loss: Float `[n, n]`; row i holds the pairs of anchor i.
        similar: Booleans `[n, n]`.
        between: 1 for the pairs that count, else 0, float `[n, n]`; see `between`.

    Returns:
        Float `[n]`.

    Example:

    >>> import numpy as np
    >>> from keras import ops
    >>> loss = np.array([[9.0, 1.0, 2.0], [1.0, 9.0, 4.0], [2.0, 4.0, 9.0]], "float32")
    >>> similar = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]], bool)
    >>> between = 1 - np.eye(3, dtype="float32")
    >>> ops.convert_to_numpy(balanced_pair_mean(loss, similar, between)).tolist()
    [3.0, 5.0, 3.0]
    """
    positive = ops.cast(similar, pair_loss.dtype) * between
    return row_mean(pair_loss, positive) + row_mean(pair_loss, between - positive)


def class_balanced_pair_mean(pair_loss, similar, between):
    """Mean over all pairs of a batch; similar and dissimilar pairs have the same total weight.

    A similar pair has weight |S| / |S1|, a dissimilar one |S| / |S0|, where |S1| and |S0| count such
    pairs in the batch and |S| is their sum. Anchor i gets the weighted mean of its pairs.

    Args:
        pair_loss: Float `[n, n]`; row i holds the pairs of anchor i.
        similar: Booleans `[n, n]`.
        between: 1 for the pairs that count, else 0, float `[n, n]`; see `between`.

    Returns:
        Float `[n]`.

    Example:

    >>> import numpy as np
    >>> from keras import ops
    >>> loss = np.array([[9.0, 1.0, 2.0], [1.0, 9.0, 4.0], [2.0, 4.0, 9.0]], "float32")
    >>> similar = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]], bool)
    >>> between = 1 - np.eye(3, dtype="float32")
    >>> ops.convert_to_numpy(class_balanced_pair_mean(loss, similar, between)).tolist()
    [3.0, 4.5, 4.5]

    Reference: Cao, Long, Wang and Yu, "HashNet: Deep Learning to Hash by Continuation" (ICCV
    2017).
    """
    positive = ops.cast(similar, pair_loss.dtype) * between
    negative = between - positive
    pairs = ops.sum(between)
    weights = positive * _ratio(pairs, ops.sum(positive)) + negative * _ratio(
        pairs, ops.sum(negative)
    )
    return ops.sum(pair_loss * weights, axis=1) / ops.maximum(ops.sum(between, axis=1), 1)


def _ratio(pairs, count):
    return pairs / ops.maximum(count, 1)


def check_positive(name, value):
    """Returns `value` as a float, or raises `ValueError` unless it is above 0."""
    if not value > 0:
        raise ValueError(f"`{name}` must be above 0. Received: {name}={value!r}")
    return float(value)


def check_weight(name, value):
    """Returns `value` as a float, or raises `ValueError` if it is below 0."""
    if not value >= 0:
        raise ValueError(f"`{name}` must be at least 0. Received: {name}={value!r}")
    return float(value)
