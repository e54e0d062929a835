import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from tfhash import codes


def relaxed_codes(max_bits=40, max_items=5):
    shape = st.tuples(
        st.integers(0, max_items), st.integers(1, max_bits), st.integers(0, 2**32 - 1)
    )
    return shape.map(lambda s: np.random.default_rng(s[2]).uniform(-1, 1, s[:2]).astype("float32"))


@given(relaxed_codes())
@settings(deadline=None, max_examples=50)
def test_pack_is_packbits_in_little_order(relaxed):
    expected = np.packbits(relaxed >= 0, axis=-1, bitorder="little")
    packed = ops.convert_to_numpy(codes.pack(relaxed))
    assert packed.dtype == np.uint8
    np.testing.assert_array_equal(packed, expected)


@given(relaxed_codes())
@settings(deadline=None, max_examples=50)
def test_unpack_restores_the_binary_code(relaxed):
    restored = codes.unpack(codes.pack(relaxed), relaxed.shape[1])
    np.testing.assert_array_equal(
        ops.convert_to_numpy(restored), ops.convert_to_numpy(codes.binarize(relaxed))
    )


def test_the_sign_of_zero_is_plus_one():
    zeros = np.array([[0.0, -0.0, -1e-30, 1e-30]], "float32")
    assert ops.convert_to_numpy(codes.binarize(zeros)).tolist() == [[1, 1, -1, 1]]
    assert ops.convert_to_numpy(codes.pack(zeros)).tolist() == [[0b1011]]


@pytest.mark.parametrize(("bits", "length"), [(1, 1), (8, 1), (9, 2), (12, 2), (64, 8), (65, 9)])
def test_packed_length_is_whole_bytes_and_padding_is_zero(bits, length):
    assert codes.packed_length(bits) == length
    packed = ops.convert_to_numpy(codes.pack(np.ones((1, bits))))
    assert packed.shape == (1, length)
    assert np.unpackbits(packed).sum() == bits


@pytest.mark.parametrize("bits", [0, -1, 1.5, "12", None, True])
def test_bits_below_one_or_not_integer_are_refused(bits):
    with pytest.raises(ValueError, match=r"`bits` must be an integer >= 1. Received: bits="):
        codes.check_bits(bits)


def test_unpack_refuses_a_length_that_does_not_fit_the_bits():
    with pytest.raises(ValueError, match=r"shape \[..., 2\] for bits=12"):
        codes.unpack(np.zeros((3, 1), "uint8"), 12)


def test_pack_refuses_codes_without_bits():
    with pytest.raises(ValueError, match=r"bits known and >= 1"):
        codes.pack(np.zeros((3, 0)))
