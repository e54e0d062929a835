"""How well codes use their bits."""

import numpy as np
from keras import ops

from tfhash import codes


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


def _signs(packed, bits):
    if len(packed) == 0:
        raise ValueError("`packed` must hold at least one code. Received: 0 codes")
    return ops.convert_to_numpy(codes.unpack(packed, bits)).astype("float64")
