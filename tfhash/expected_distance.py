"""The expected Hamming distance of a relaxed code from binary codes.

A relaxed code h is a distribution over codes: bit k is +1 with probability (1 + h_k) / 2, bits
independent. The expectation of the Hamming distance from a binary code b is then
`d(h, b) = (B - <h, b>) / 2` (derived here). Values of h are rounded to multiples of a power of two,
2^-44 for 64 bits, so that float64 sums are exact in any order: equal codes have equal distances, bit
for bit, however a distance is computed.
"""

import numpy as np

from tfhash import codes as code_layout

# Signs of the bits of each byte, `[256, 8]`.
_SIGNS = 2.0 * np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little") - 1


def as_relaxed(relaxed, bits, name="relaxed"):
    """Checks relaxed codes and rounds them to values that float64 adds exactly.

    Args:
        relaxed: Relaxed codes, `[n, bits]`, floats in [-1, 1] or signs -1 and +1.
        bits: Number of bits of a code.
        name: What an error calls the codes.

    Returns:
        NumPy float64 `[n, bits]`. Negative values next to 0 become 0, from which both codes are as far.

    Raises:
        ValueError: If the shape or type does not fit, or a value is NaN or outside [-1, 1].

    Example:

    >>> as_relaxed(np.array([[0.5, -0.25, -0.0]], "float32"), bits=3).tolist()
    [[0.5, -0.25, 0.0]]
    """
    relaxed = np.asarray(relaxed)
    if relaxed.ndim != 2 or relaxed.shape[1] != bits or relaxed.dtype.kind not in "fi":
        raise ValueError(
            f"`{name}` must be relaxed codes, float [n, {bits}] in [-1, 1], as `model.predict` "
            f"returns them. Received: {relaxed.dtype} of shape {relaxed.shape}"
        )
    relaxed = relaxed.astype(np.float64)
    is_wrong = ~(np.abs(relaxed) <= 1).all(axis=1)
    if is_wrong.any():
        row = int(np.argmax(is_wrong))
        wrong = next(value for value in relaxed[row].tolist() if not abs(value) <= 1)
        raise ValueError(
            f"`{name}` must lie in [-1, 1]. Received: {wrong:g} in row {row}. Relaxed codes are the "
            "output of a `tfhash.layers.HashingLayer`"
        )
    # A sum of `bits` multiples of 2^-p that are at most 1, halved, takes 53 binary digits at most.
    places = 51 - bits.bit_length()
    return np.ldexp(np.rint(np.ldexp(relaxed, places)), -places) + 0.0


def tables(relaxed):
    """What each byte of a packed code adds to its distance from a relaxed code.

    Args:
        relaxed: A relaxed code, a row of `as_relaxed`, `[bits]`.

    Returns:
        NumPy float64 `[ceil(bits / 8), 256]`.

    Example:

    >>> tables(np.array([0.5, -0.25]))[0, :4].tolist()
    [1.125, 0.625, 1.375, 0.875]
    """
    bits = len(relaxed)
    length = code_layout.packed_length(bits)
    by_byte = np.pad(relaxed, (0, 8 * length - bits)).reshape(length, 8)
    bits_of = np.clip(bits - 8 * np.arange(length), 0, 8)
    return (bits_of[:, None] - by_byte @ _SIGNS.T) / 2


def distances(tables, packed):
    """Expected Hamming distances of packed codes from the relaxed code of `tables`.

    Args:
        tables: As `tables` returns them.
        packed: Packed codes, `uint8 [n, ceil(bits / 8)]`.

    Returns:
        NumPy float32 `[n]`, in bits.

    Example: 1 bit is certain to differ, and one differs with probability 0.25.

    >>> distances(tables(np.array([1.0, 0.5])), np.array([[0b10]], "uint8")).tolist()
    [1.25]
    """
    total = np.zeros(len(packed))
    for of_byte, column in zip(tables, packed.T):
        total += of_byte[column]
    return total.astype(np.float32)
