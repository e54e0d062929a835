"""The ops for JAX equal the reference, eager and jitted."""

import subprocess
import sys

import numpy as np
import pytest
from hamming_cases import xla

import tfhash_ops
from tfhash_ops import reference

jax = pytest.importorskip("jax")
hamming = pytest.importorskip("tfhash_ops.jax")
pytestmark = xla

ITEMS = 515


@pytest.fixture(params=["eager", "jitted"])
def run(request):
    return lambda function, *arrays: (
        jax.jit(function)(*arrays) if request.param == "jitted" else function(*arrays)
    )


@pytest.fixture(params=[False, True], ids=["32 bits", "64 bits"])
def integer(request):
    with jax.enable_x64(request.param):
        yield "int64" if request.param else "int32"


@pytest.fixture(params=[1, 2, 5, 8, 32])
def sides(request, rng):
    codes = rng.integers(0, 256, (ITEMS + 70, request.param), "uint8")
    codes[:, -1] &= 0x1F
    return codes[:70], codes[70:]


def assert_equal(found, expected, integer):
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == (integer if b.dtype == "int64" else "int32")
        np.testing.assert_array_equal(a, b)


def test_distances_equal_the_reference(run, integer, sides):
    assert_equal(
        [run(hamming.hamming_distance, *sides)], [reference.hamming_distance(*sides)], integer
    )


@pytest.mark.parametrize("k", [1, 20, ITEMS])
def test_top_k_equals_the_reference(run, integer, sides, k):
    found = run(lambda q, d: hamming.hamming_top_k(q, d, k), *sides)
    assert_equal(found, reference.hamming_top_k(*sides, k), integer)


def test_within_equals_the_reference_and_pads_with_minus_one(run, integer, sides):
    radius = 7 * sides[0].shape[1] // 2
    row_splits, distances, indices = reference.hamming_within(*sides, radius)
    found = len(distances)
    assert 10 < found < 70 * ITEMS
    for size in (found + 3, found, found - 5, 0):
        expected = [
            np.pad(part[:size], (0, max(0, size - found)), constant_values=-1)
            for part in (distances, indices)
        ]
        result = run(lambda q, d, r: hamming.hamming_within(q, d, r, size), *sides, radius)  # noqa: B023
        assert_equal(result, [row_splits, *expected], integer)


@pytest.mark.parametrize("labels", ["integers", "multi-hot"])
def test_histograms_equal_the_reference(run, integer, sides, rng, labels):
    bits = 8 * sides[0].shape[1] - 3
    if labels == "integers":
        marks = rng.integers(-2, 4, 70 + ITEMS)
    else:
        marks = rng.integers(0, 2, (70 + ITEMS, 3), "uint8") << 4
    marks = marks[:70], marks[70:]
    found = run(lambda *inputs: hamming.hamming_histogram(*inputs, bits=bits), *sides, *marks)
    assert_equal(found, reference.hamming_histogram(*sides, *marks, bits=bits), integer)


@pytest.mark.parametrize(("queries", "items"), [(0, 0), (0, 3), (2, 0), (1, 1)])
def test_empty_and_single_sides_give_empty_and_single_results(run, queries, items):
    sides = np.zeros((queries, 2), "uint8"), np.zeros((items, 2), "uint8")
    labels = np.zeros(queries, "int32"), np.zeros(items, "int32")
    assert run(hamming.hamming_distance, *sides).shape == (queries, items)
    row_splits, distances, _ = run(lambda q, d: hamming.hamming_within(q, d, 1, 4), *sides)
    assert row_splits.tolist() == [items * i for i in range(queries + 1)]
    assert distances.tolist() == [0] * queries * items + [-1] * (4 - queries * items)
    counts = run(lambda *inputs: hamming.hamming_histogram(*inputs, bits=16), *sides, *labels)
    assert [part.sum() for part in counts] == [queries * items] * 2
    assert counts[0].shape == (queries, 17)


def test_vmap_over_queries_works(sides):
    queries, database = sides
    mapped = jax.vmap(lambda q: hamming.hamming_distance(q, database))(
        queries[:6].reshape(3, 2, -1)
    )
    np.testing.assert_array_equal(
        mapped.reshape(6, -1), reference.hamming_distance(queries[:6], database)
    )


def test_errors_say_what_was_expected_and_received():
    codes = np.zeros((3, 2), "uint8")
    for call, message in (
        (lambda: hamming.hamming_distance(codes, codes[:, :1]), r"\(3, 2\).*\(3, 1\)"),
        (lambda: hamming.hamming_distance(codes, codes.astype("int32")), "int32"),
        (lambda: hamming.hamming_top_k(codes, codes, 4), "k = 4 and 3 items"),
        (lambda: hamming.hamming_top_k(codes, codes, 0), "k = 0"),
        (lambda: hamming.hamming_within(codes, codes, 1, -1), "size = -1"),
        (lambda: hamming.hamming_within(codes, codes, -1, 3), "radius = -1"),
        (lambda: hamming.hamming_within(codes, codes, np.int64(1 - 2**32), 3), "= -4294967295"),
        (lambda: hamming.hamming_histogram(codes, codes, [1], [1, 2, 3], 16), r"\(1,\)"),
        (lambda: hamming.hamming_histogram(codes, codes, [1.0], [1, 2, 3], 16), "float"),
        (lambda: hamming.hamming_histogram(codes, codes, [1, 2, 3], [1, 2, 3], 17), "17"),
        (lambda: hamming.hamming_histogram(codes, codes, [1, 2, 2**33], [1, 2, 3], 16), "from 1 t"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    for radius in (2.7, np.float32(2), jax.numpy.float32(2)):
        with pytest.raises(TypeError, match="float"):
            hamming.hamming_within(codes, codes, radius, 3)
    with pytest.raises(jax.errors.JaxRuntimeError, match="radius = -1"):
        jax.block_until_ready(hamming.hamming_within(codes, codes, jax.numpy.int32(-1), 3))
    with pytest.raises(jax.errors.JaxRuntimeError, match="padding bits"):
        jax.block_until_ready(
            hamming.hamming_histogram(codes + 255, codes, [1, 2, 3], [1, 2, 3], 12)
        )


@pytest.mark.parametrize("radius", [2**31, 2**31 + 5, np.int64(2**32 + 1)])
def test_a_radius_beyond_32_bits_finds_everything(radius):
    codes = np.array([[0], [255]], "uint8")
    row_splits, distances, _ = hamming.hamming_within(codes, codes, radius, 4)
    assert row_splits.tolist() == [0, 2, 4]
    assert distances.tolist() == [0, 8, 0, 8]


def test_within_gives_the_same_result_when_split_into_several_searches(rng):
    # More pairs of queries and items than one search compares.
    queries, database = (rng.integers(0, 256, (count, 2), "uint8") for count in (1100, 70_000))
    row_splits, distances, indices = tfhash_ops.hamming_within(queries, database, 1)
    size = len(distances) - 3
    found = hamming.hamming_within(queries, database, 1, size)
    for part, expected in zip(found, (row_splits, distances[:size], indices[:size]), strict=True):
        np.testing.assert_array_equal(part, expected)


def test_jax_needs_no_tensorflow():
    code = """
import sys
sys.modules["tensorflow"] = None
from tfhash_ops import jax
print(jax.hamming_distance(*2 * [__import__("numpy").ones((1, 3), "uint8")]))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "[[0]]\n", result.stderr
