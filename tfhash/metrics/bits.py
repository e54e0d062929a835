"""How well codes use their bits."""

import numpy as np
from keras import ops

from tfhash import codes
from tfhash.labels import each_label


def bit_balance(packed, bits):
    """Share of items in which each bit is +1; 0.5 carries the most information.

    Args:
        packed: Packed codes, `uint8 [n, ceil(bits / 8)]`, n >= 1.
        bits: Number of bits of a code.

    Returns:
        NumPy float `[bits]` in [0, 1].

    Example:

    >>> import numpy as np
    >>> bit_balance(np.array([[0b01], [0b11]], "uint8"), bits=2).tolist()
    [1.0, 0.5]
    """
    return (_signs(packed, bits).mean(axis=0) + 1) / 2


def bit_correlation(packed, bits):
    """Pearson correlation of every pair of bits over the items.

    Args:
        packed, bits: As in `bit_balance`.

    Returns:
        NumPy float `[bits, bits]` in [-1, 1]; 0 in row and column of a constant bit.

    Example:

    >>> import numpy as np
    >>> bit_correlation(np.array([[0b00], [0b11]], "uint8"), bits=2).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    centered = _signs(packed, bits)
    centered = centered - centered.mean(axis=0)
    deviation = np.sqrt((centered**2).mean(axis=0))
    covariance = centered.T @ centered / len(centered)
    scale = np.outer(deviation, deviation)
    correlation = np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0)
    return np.clip(correlation, -1, 1)  # rounding may lead beyond


def count_distinct_codes(packed):
    """Number of different codes among packed codes `uint8 [n, bytes]`.

    Args:
        packed: Packed codes, `uint8 [n, bytes]`.

    Returns:
        An `int`.

    Example:

    >>> import numpy as np
    >>> count_distinct_codes(np.array([[1], [2], [1]], "uint8"))
    2
    """
    return len(np.unique(np.asarray(packed), axis=0))


def count_redundant_bits(packed, bits):
    """Number of bits that tell nothing beyond the others.

    A bit is redundant if it is the same on all items, or equal or opposite to an earlier bit on all of
    them: its correlation with that bit is 1 or -1.

    Args:
        packed, bits: As in `bit_balance`.

    Returns:
        An `int`, 0 to `bits`.

    Example: bit 1 is the opposite of bit 0, and bit 2 is constant.

    >>> import numpy as np
    >>> count_redundant_bits(np.array([[0b001], [0b010]], "uint8"), bits=3)
    2
    """
    is_set = _signs(packed, bits) > 0
    # Relative to the first item, a bit and its opposite are the same column, and a constant one is 0.
    columns = np.unique(np.packbits(is_set ^ is_set[:1], axis=0), axis=1)
    return bits - int(columns.any(axis=0).sum())


def share_with_code_of_class(packed, labels):
    """Share of items whose code is that of more than half of the other items of their class.

    Near 1, codes tell the class and nothing else, however many distinct codes there are: most items of
    a class are at distance 0 from each other. An item of several labels counts if that is so for one of
    its labels. Items that are alone in their classes are left out.

    Args:
        packed: Packed codes, `uint8 [n, bytes]`.
        labels: Integers `[n]`, or multi-hot `[n, C]`. Negative ones are no labels.

    Returns:
        A `float` in [0, 1]; 0 if every item is alone in its class.

    Example: four of five items of class 0 have one code, those of class 1 differ.

    >>> import numpy as np
    >>> codes = np.array([[1], [1], [1], [1], [2], [4], [5], [6]], "uint8")
    >>> share_with_code_of_class(codes, np.array([0, 0, 0, 0, 0, 1, 1, 1]))
    0.5
    """
    _, code = np.unique(np.asarray(packed), axis=0, return_inverse=True)
    items, classes = each_label(labels)
    items, classes = items[classes >= 0], classes[classes >= 0]
    others = _count_each(classes) - 1
    code_of_class = np.unique(classes, return_inverse=True)[1] * len(code) + code.reshape(-1)[items]
    others_alike = _count_each(code_of_class) - 1
    is_compared, is_alike = (np.zeros(len(code), bool) for _ in range(2))
    is_compared[items[others > 0]] = True
    is_alike[items[2 * others_alike > others]] = True
    return float(is_alike[is_compared].mean()) if is_compared.any() else 0.0


def _count_each(values):
    """How often each value is there, beside it."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    return counts[which]


def _signs(packed, bits):
    if len(packed) == 0:
        raise ValueError("`packed` must hold at least one code. Received: 0 codes")
    return ops.convert_to_numpy(codes.unpack(packed, bits)).astype("float64")
