"""The compiled ops equal the reference: eager, in a graph, and compiled by XLA."""

import numpy as np
import pytest
import tensorflow as tf
from hamming_cases import assert_equal, compiled, make_codes

import tfhash_ops
from tfhash_ops import reference

BYTES = [1, 2, 3, 8, 9, 32]


ITEMS = 515  # above a block of any kernel, and no multiple of anything


@pytest.fixture(params=["eager", "graph", "xla", "xla, plain HLO"])
def run(request, monkeypatch):
    """Calls a function eagerly, in a graph, and compiled with and without handlers."""
    if "xla" in request.param and not tfhash_ops.has_xla():
        pytest.skip("the ops were compiled without XLA")
    if request.param == "xla, plain HLO":
        monkeypatch.setenv("TFHASH_XLA_HANDLERS", "0")

    def call(function, *tensors):
        if request.param == "eager":
            return function(*tensors)
        # As arguments: TensorFlow would fold constants before XLA sees them.
        compiled = tf.function(function, jit_compile="xla" in request.param, autograph=False)
        return compiled(*map(tf.constant, tensors))

    return call


def test_reference_gives_hand_worked_values():
    queries = tf.constant([[0b0000, 0], [0b1111, 1]], tf.uint8)
    database = tf.constant([[0b0011, 0], [0b0000, 0], [0b1100, 0], [0b0000, 3]], tf.uint8)
    assert reference.hamming_distance(queries, database).numpy().tolist() == [
        [2, 0, 2, 2],
        [3, 5, 3, 5],
    ]
    distances, indices = reference.hamming_top_k(queries, database, 3)
    assert distances.numpy().tolist() == [[0, 2, 2], [3, 3, 5]]
    assert indices.numpy().tolist() == [[1, 0, 2], [0, 2, 1]]
    row_splits, distances, indices = reference.hamming_within(queries, database, 3)
    assert row_splits.numpy().tolist() == [0, 4, 6]
    assert distances.numpy().tolist() == [0, 2, 2, 2, 3, 3]
    assert indices.numpy().tolist() == [1, 0, 2, 3, 0, 2]
    items, relevant = reference.hamming_histogram(
        queries, database, tf.constant([5, 6]), tf.constant([5, 6, 5, 6]), bits=10
    )
    assert items.numpy()[:, :6].tolist() == [[1, 0, 3, 0, 0, 0], [0, 0, 0, 2, 0, 2]]
    assert relevant.numpy()[:, :6].tolist() == [[0, 0, 2, 0, 0, 0], [0, 0, 0, 0, 0, 2]]


@pytest.mark.parametrize("length", BYTES)
def test_distances_equal_the_reference(run, rng, length):
    queries, database = make_codes(rng, 13, length), make_codes(rng, ITEMS, length)
    assert_equal(
        run(tfhash_ops.hamming_distance, queries, database),
        reference.hamming_distance(queries, database),
    )


@pytest.mark.parametrize(
    ("length", "layout", "k"),
    [
        (1, "random", 1),
        (2, "equal", 7),
        (3, "tied", ITEMS),
        (8, "random", 100),
        (9, "tied", 10),
        (32, "random", ITEMS),
    ],
)
def test_top_k_equals_the_reference_including_the_order_of_ties(run, rng, length, layout, k):
    queries, database = make_codes(rng, 70, length), make_codes(rng, ITEMS, length, layout)
    assert_equal(
        run(lambda q, d: tfhash_ops.hamming_top_k(q, d, k), queries, database),
        reference.hamming_top_k(queries, database, k),
    )


@pytest.mark.parametrize(
    ("length", "layout", "radius"),
    [(1, "random", 0), (2, "equal", 8), (3, "tied", 24), (8, "tied", 20), (9, "random", 1000)],
)
def test_within_equals_the_reference_including_the_order_of_ties(run, rng, length, layout, radius):
    queries, database = make_codes(rng, 14, length), make_codes(rng, ITEMS, length, layout)
    assert_equal(
        run(
            lambda q, d, r: tfhash_ops.hamming_within(q, d, r),
            queries,
            database,
            np.int64(radius),
        ),
        reference.hamming_within(queries, database, radius),
    )


@pytest.mark.parametrize("labels", ["int32", "int64", "multi-hot"])
@pytest.mark.parametrize("bits", [5, 12, 64, 70])
def test_histograms_equal_the_reference(run, rng, bits, labels):
    codes = np.packbits(rng.integers(0, 2, (ITEMS + 9, bits)), axis=1, bitorder="little")
    if labels == "multi-hot":
        marks = rng.integers(0, 2**16, (ITEMS + 9, 2)) & rng.integers(0, 2**16, (ITEMS + 9, 2))
        marks = (marks & 0xFF).astype("uint8")
    else:
        marks = rng.integers(-3, 5, ITEMS + 9).astype(labels)
    sides = codes[:9], codes[9:], marks[:9], marks[9:]
    assert_equal(
        run(lambda *sides: tfhash_ops.hamming_histogram(*sides, bits=bits), *sides),
        reference.hamming_histogram(*sides[:2], *map(tf.constant, sides[2:]), bits=bits),
    )


@pytest.mark.parametrize(("queries", "items"), [(0, 3), (2, 0), (1, 1)])
def test_the_reference_handles_empty_and_single_sides(rng, queries, items):
    codes = make_codes(rng, queries, 2), make_codes(rng, items, 2)
    labels = np.zeros(queries, "int64"), np.zeros(items, "int64")
    for name, arguments in (
        ("hamming_distance", codes),
        ("hamming_within", (*codes, 16)),
        ("hamming_histogram", (*codes, *labels, 16)),
        *([("hamming_top_k", (*codes, 1))] if items else []),
    ):
        found = getattr(reference, name)(*arguments)
        assert_equal(getattr(tfhash_ops, name)(*arguments), found)


@pytest.mark.parametrize(("queries", "items"), [(0, 0), (0, 3), (2, 0), (1, 1)])
def test_empty_and_single_sides_give_empty_and_single_results(run, rng, queries, items):
    codes = make_codes(rng, queries, 2), make_codes(rng, items, 2)
    labels = np.zeros(queries, "int64"), np.zeros(items, "int64")
    assert run(tfhash_ops.hamming_distance, *codes).shape == (queries, items)
    row_splits, distances, indices = run(lambda q, d: tfhash_ops.hamming_within(q, d, 16), *codes)
    assert row_splits.numpy().tolist() == [items * i for i in range(queries + 1)]
    assert distances.shape == indices.shape == (queries * items,)
    histograms = run(lambda *sides: tfhash_ops.hamming_histogram(*sides, bits=16), *codes, *labels)
    assert np.sum(histograms.items) == np.sum(histograms.relevant) == queries * items
    if items > 0:
        top = run(lambda q, d: tfhash_ops.hamming_top_k(q, d, 1), *codes)
        assert top.distances.shape == top.indices.shape == (queries, 1)


def test_flipping_and_permuting_bits_of_all_codes_preserves_distances(rng):
    bits = rng.integers(0, 2, (40, 45))
    changed = (bits ^ rng.integers(0, 2, 45))[:, rng.permutation(45)]
    codes, others = (np.packbits(b, axis=1, bitorder="little") for b in (bits, changed))
    assert_equal(
        tfhash_ops.hamming_distance(codes, codes), tfhash_ops.hamming_distance(others, others)
    )
    assert_equal(
        tfhash_ops.hamming_top_k(codes, codes, 40), tfhash_ops.hamming_top_k(others, others, 40)
    )


def test_unaligned_and_strided_arrays_are_supported(rng):
    memory = make_codes(rng, 100, 9)
    queries, database = memory[::3, 1:], memory[::-1, :-1]
    assert_equal(
        tfhash_ops.hamming_distance(queries, database),
        reference.hamming_distance(queries.copy(), database.copy()),
    )


def test_shapes_are_inferred_in_graphs():
    unknown, codes = tf.TensorSpec(None, tf.uint8), tf.TensorSpec([None, 4], tf.uint8)
    three = tf.TensorSpec([3, 4], tf.uint8)
    seen = {}

    def trace(queries, database, k):
        seen["distance"] = tfhash_ops.hamming_distance(queries, database).shape
        seen["top 5"] = tfhash_ops.hamming_top_k(queries, database, 5).indices.shape
        seen["top k"] = tfhash_ops.hamming_top_k(queries, database, k).distances.shape
        within = tfhash_ops.hamming_within(queries, database, 1)
        seen["within"] = within.row_splits.shape, within.indices.shape
        zeros = tf.zeros(tf.shape(queries)[0], tf.int32), tf.zeros(tf.shape(database)[0], tf.int32)
        items = tfhash_ops.hamming_histogram(queries, database, *zeros, bits=30).items
        seen["histogram"] = items.shape

    k = tf.TensorSpec([], tf.int64)
    tf.function(trace, autograph=False).get_concrete_function(unknown, unknown, k)
    if tfhash_ops.is_compiled():
        assert seen["distance"].as_list() == [None, None]
        assert seen["top 5"].as_list() == [None, 5]
    tf.function(trace, autograph=False).get_concrete_function(three, codes, k)
    assert seen["distance"].as_list() == [3, None]
    assert seen["top 5"].as_list() == [3, 5]
    assert seen["top k"].as_list() == [3, None]
    if tfhash_ops.is_compiled():
        assert [shape.as_list() for shape in seen["within"]] == [[4], [None]]
        assert seen["histogram"].as_list() == [3, 31]


@compiled
def test_more_than_2_to_the_32_pairs_are_searched():
    queries = np.arange(256, dtype="uint8")[:, None]
    database = np.zeros((2**24 + 1, 1), "uint8")
    items, relevant = tfhash_ops.hamming_histogram(
        queries, database, np.zeros(256, "int32"), np.zeros(2**24 + 1, "int32"), bits=8
    )
    assert np.sum(items) == np.sum(relevant) == 256 * (2**24 + 1) > 2**32
    row_splits, distances, _ = tfhash_ops.hamming_within(queries, database, 0)
    assert row_splits.numpy().tolist() == [0] + [2**24 + 1] * 256
    assert not np.any(distances)
