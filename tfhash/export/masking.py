"""What an answer holds for a file that could not be read."""

import tensorflow as tf

# Codes have no value of their own for it: a code of 0 may be that of an image. So answers have `valid`.
MASKED = {
    "codes": 0,
    "relaxed_codes": 0,
    "class_ids": -1,
    "ids": -1,
    "distances": -1,
    "names": "",
}


def masked(outputs, valid):
    """Outputs of a batch, with the values of `MASKED` where a file could not be read.

    Args:
        outputs: Dictionary from a name to a tensor `[n, ...]`.
        valid: `bool [n]`, whether each file could be read.

    Returns:
        Dictionary of the same names and shapes, and `valid`.

    Example:

    >>> found = masked({"ids": tf.constant([[7, 8], [1, 2]])}, tf.constant([True, False]))
    >>> found["ids"].numpy().tolist(), found["valid"].numpy().tolist()
    ([[7, 8], [-1, -1]], [True, False])
    """
    rows = {}
    for name, values in outputs.items():
        column = tf.reshape(valid, [-1] + [1] * (values.shape.rank - 1))
        rows[name] = tf.where(column, values, tf.constant(MASKED[name], values.dtype))
    return {**rows, "valid": valid}
