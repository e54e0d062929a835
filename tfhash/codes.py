"""Binary codes: the sign rule and the packed layout.

A relaxed code is a float vector in [-1, 1]^B, its binary code is +1 where the relaxed
code is >= 0 and -1 elsewhere (so the sign of 0 is +1). A packed code is `ceil(B / 8)`
bytes: bit j is in byte `j // 8` at position `j % 8`, least significant first; +1 is
stored as 1, and padding bits are 0. That is `numpy.packbits(..., bitorder="little")`.
"""

import operator

import numpy as np

# Keras is imported by the functions that compute with it: an index needs the layout alone.


def check_bits(bits):
    """Returns `bits` as an `int`, or raises `ValueError` unless it is an integer >= 1.

    Args:
        bits: Length of a code.

    Returns:
        The same as an `int`.

    Raises:
        ValueError: If `bits` is not an integer >= 1.

    Example:

    >>> check_bits(12)
    12
    """
    try:
        value = operator.index(bits)
    except TypeError:
        value = 0
    if isinstance(bits, bool) or value < 1:
        raise ValueError(f"`bits` must be an integer >= 1. Received: bits={bits!r}")
    return value


def packed_length(bits):
    """Number of bytes of a packed code of `bits` bits.

    Args:
        bits: Length of the code, an integer >= 1.

    Returns:
        `ceil(bits / 8)`, an `int`.

    Raises:
        ValueError: If `bits` is not an integer >= 1.

    Example:

    >>> packed_length(12)
    2
    """
    return (check_bits(bits) + 7) // 8


def check_packed(packed, bits):
    """Raises `ValueError` unless `packed` is `[..., ceil(bits / 8)]`.

    Args:
        packed: Array or tensor; its shape alone is looked at.
        bits: Length of the codes, an integer >= 1.

    Raises:
        ValueError: If the last axis has another length, or `bits` is not an integer >= 1.

    Example:

    >>> import numpy as np
    >>> check_packed(np.zeros((3, 2), "uint8"), bits=12)
    """
    length = packed_length(bits)
    if len(packed.shape) < 1 or packed.shape[-1] != length:
        raise ValueError(
            f"`packed` must have shape [..., {length}] for bits={bits}. "
            f"Received: packed of shape {tuple(packed.shape)}"
        )


def binarize(relaxed):
    """Applies the sign rule.

    Args:
        relaxed: Relaxed codes, float `[..., B]` in [-1, 1].

    Returns:
        Binary codes, `int8` of the same shape with values -1 and +1.

    Example:

    >>> import numpy as np
    >>> from keras import ops
    >>> ops.convert_to_numpy(binarize(np.array([[0.3, -0.2, 0.0]]))).tolist()
    [[1, -1, 1]]
    """
    from keras import ops

    return ops.cast(ops.where(_is_positive(relaxed), 1, -1), "int8")


def pack(codes):
    """Packs relaxed or binary codes into bytes.

    Args:
        codes: `[..., B]`, B >= 1; the sign rule maps values to bits.

    Returns:
        Packed codes, `uint8 [..., ceil(B / 8)]`.

    Raises:
        ValueError: If the last dimension is unknown or 0.

    Example:

    >>> import numpy as np
    >>> from keras import ops
    >>> ops.convert_to_numpy(pack(np.array([[1., -1., 1., 1., -1., -1., -1., -1., 1.]])))
    array([[13,  1]], dtype=uint8)
    """
    from keras import ops

    codes = ops.convert_to_tensor(codes)
    bits = codes.shape[-1] if len(codes.shape) else None
    if not bits:
        raise ValueError(
            "`codes` must have shape [..., bits] with bits known and >= 1. "
            f"Received: codes of shape {tuple(codes.shape)}"
        )
    length = packed_length(bits)
    ones = ops.cast(_is_positive(codes), "int32")
    padding = [(0, 0)] * (len(codes.shape) - 1) + [(0, 8 * length - bits)]
    by_byte = ops.reshape(ops.pad(ones, padding), (*ops.shape(codes)[:-1], length, 8))
    return ops.cast(ops.sum(by_byte * _place_values(), axis=-1), "uint8")


def unpack(packed, bits):
    """Restores binary codes from packed ones.

    Args:
        packed: `uint8 [..., ceil(bits / 8)]`.
        bits: Number of bits of a code.

    Returns:
        Binary codes, `int8 [..., bits]` with values -1 and +1.

    Raises:
        ValueError: If the number of bytes does not fit `bits`.

    Example:

    >>> import numpy as np
    >>> from keras import ops
    >>> ops.convert_to_numpy(unpack(np.array([[13, 1]], "uint8"), bits=9))
    array([[ 1, -1,  1,  1, -1, -1, -1, -1,  1]], dtype=int8)
    """
    from keras import ops

    packed = ops.convert_to_tensor(packed)
    check_packed(packed, bits)
    length = packed_length(bits)
    as_int = ops.expand_dims(ops.cast(packed, "int32"), -1)
    ones = ops.floor_divide(as_int, _place_values()) % 2
    flat = ops.reshape(ones, (*ops.shape(packed)[:-1], 8 * length))
    return ops.cast(2 * flat[..., :bits] - 1, "int8")


def as_packed(codes, bits, name="codes"):
    """Converts codes in any of their forms to packed ones, without Keras.

    Args:
        codes: Packed codes, `uint8 [n, ceil(bits / 8)]`; or booleans or signs -1 and +1 of any other
            type, `[n, bits]`.
        bits: Number of bits of a code.
        name: What an error calls the codes.

    Returns:
        NumPy `uint8 [n, ceil(bits / 8)]`, contiguous; the array itself if it is one.

    Raises:
        ValueError: If the shape does not fit `bits`, a padding bit is 1, or a sign is neither -1
            nor +1.

    Example:

    >>> as_packed(np.array([[True, False, True]]), bits=3)
    array([[5]], dtype=uint8)
    >>> as_packed(np.array([[1, -1, 1]]), bits=3)
    array([[5]], dtype=uint8)
    """
    codes = np.asarray(codes)
    length = packed_length(bits)
    is_packed = codes.dtype == np.uint8
    if codes.ndim != 2 or codes.shape[1] != (length if is_packed else bits):
        raise ValueError(
            f"`{name}` of {bits} bits must be packed, uint8 [n, {length}], or booleans or signs "
            f"[n, {bits}]. Received: {codes.dtype} of shape {codes.shape}"
        )
    if not is_packed:
        ones = codes if codes.dtype == bool else codes == 1
        if codes.dtype != bool and not np.all(ones | (codes == -1)):
            raise ValueError(
                f"`{name}` of type {codes.dtype} must be signs, -1 or +1. Binarize relaxed codes "
                "with tfhash.codes.pack"
            )
        # The bytes of an array in Fortran order come in that order, too.
        return np.ascontiguousarray(np.packbits(ones, axis=1, bitorder="little"))
    if bits % 8 and np.any(codes[:, -1] >> (bits % 8)):
        row = int(np.argmax(codes[:, -1] >> (bits % 8) != 0))
        raise ValueError(
            f"the padding bits of `{name}` of {bits} bits must be zero. Received: a padding bit "
            f"that is 1 in row {row}"
        )
    return np.ascontiguousarray(codes)


def pack_signs(relaxed):
    """As `pack`, of NumPy arrays and without Keras.

    Args:
        relaxed: Relaxed codes, float `[n, bits]`.

    Returns:
        Packed codes, NumPy `uint8 [n, ceil(bits / 8)]`.

    Example:

    >>> pack_signs(np.array([[0.5, -0.25, -0.0]])).tolist()
    [[5]]
    """
    return as_packed(relaxed >= 0, relaxed.shape[1])


def _is_positive(codes):
    from keras import ops

    return ops.greater_equal(codes, 0)


def _place_values():
    from keras import ops

    return ops.convert_to_tensor([1, 2, 4, 8, 16, 32, 64, 128], dtype="int32")
