"""The ops for TensorFlow refuse what they cannot search, and say what they expect."""

import numpy as np
import pytest
import tensorflow as tf
from hamming_cases import assert_equal, compiled, make_codes, xla

import tfhash_ops
from tfhash_ops import reference

WRONG = [
    (
        "hamming_distance",
        {"queries": np.zeros(3, "uint8")},
        r"eceived: .*3,?[\])]? for the queries",
    ),
    ("hamming_distance", {"database": np.zeros((3, 5), "uint8")}, r"3, ?5[\])] for the database"),
    (
        "hamming_distance",
        {"queries": np.zeros((3, 0), "uint8"), "database": np.zeros((3, 0), "uint8")},
        "bytes >= 1",
    ),
    ("hamming_top_k", {"k": 0}, "k = .*0"),
    ("hamming_top_k", {"k": 4}, "k = .*4.* 3"),
    ("hamming_top_k", {"k": -(2**40)}, "k = "),
    ("hamming_within", {"radius": -1}, "radius = .*-1"),
    ("hamming_within", {"radius": -(2**32) + 1}, "radius = .*-4294967295"),
    ("hamming_histogram", {"bits": 25}, "25 .* 3 bytes"),
    ("hamming_histogram", {"bits": 16}, "16 .* 3 bytes"),
    ("hamming_histogram", {"query_labels": np.zeros(5, "int64")}, r"eceived: .*\b5\b"),
    ("hamming_histogram", {"database_labels": np.zeros((3, 1), "int64")}, r"3, ?1"),
    ("hamming_histogram", {"queries": np.full((4, 3), 255, "uint8")}, "padding bits"),
]


@pytest.mark.parametrize(("name", "change", "message"), WRONG)
@pytest.mark.parametrize("module", [tfhash_ops, reference])
def test_errors_say_what_was_expected_and_received(module, name, change, message):
    arguments = {
        "queries": np.zeros((4, 3), "uint8"),
        "database": np.zeros((3, 3), "uint8"),
        "k": 1,
        "radius": 1,
        "query_labels": np.zeros(4, "int64"),
        "database_labels": np.zeros(3, "int64"),
        "bits": 20,
    } | change
    wanted = {
        "hamming_distance": ["queries", "database"],
        "hamming_top_k": ["queries", "database", "k"],
        "hamming_within": ["queries", "database", "radius"],
        "hamming_histogram": ["queries", "database", "query_labels", "database_labels", "bits"],
    }[name]
    with pytest.raises(tf.errors.InvalidArgumentError, match=message) as caught:
        getattr(module, name)(**{key: arguments[key] for key in wanted})
    assert "eceived" in str(caught.value)


@xla
@pytest.mark.parametrize(("name", "change", "message"), WRONG[3:])
def test_xla_raises_the_same_errors(name, change, message):
    codes = tf.zeros([4, 3], tf.uint8), tf.zeros([3, 3], tf.uint8)

    @tf.function(jit_compile=True, autograph=False)
    def call(queries, database, radius):
        if name == "hamming_top_k":
            return tfhash_ops.hamming_top_k(queries, database, change["k"])
        if name == "hamming_within":
            return tfhash_ops.hamming_within(queries, database, radius)
        labels = (
            change.get("query_labels", np.zeros(4, "int64")),
            change.get("database_labels", np.zeros(3, "int64")),
        )
        return tfhash_ops.hamming_histogram(queries, database, *labels, bits=change.get("bits", 20))

    queries = tf.constant(change.get("queries", codes[0]))
    # Shape functions report errors that are known at trace time, as a ValueError.
    by_shape = r"(Dimensions|Shapes?) must be|must be non-negative but is -1099511627776|between"
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=f"{message}|{by_shape}"):
        call(queries, codes[1], tf.constant(change.get("radius", 1), tf.int64))


@pytest.mark.parametrize("module", [tfhash_ops, reference])
@pytest.mark.parametrize("known", [None, [None, None], [None, 4]])
def test_shapes_unknown_at_trace_time_are_checked_at_run_time(rng, module, known):
    queries, database = make_codes(rng, 3, 4), make_codes(rng, 5, 4)
    labels = np.arange(3) % 2, np.arange(5) % 2
    specs = tf.TensorSpec([None, None], tf.uint8), tf.TensorSpec(known, tf.uint8)

    @tf.function(input_signature=specs, autograph=False)
    def search(queries, database):
        return (
            module.hamming_distance(queries, database),
            *module.hamming_top_k(queries, database, 2),
            *module.hamming_within(queries, database, 14),
            *module.hamming_histogram(queries, database, *labels, bits=32),
        )

    expected = (
        tfhash_ops.hamming_distance(queries, database),
        *tfhash_ops.hamming_top_k(queries, database, 2),
        *tfhash_ops.hamming_within(queries, database, 14),
        *tfhash_ops.hamming_histogram(queries, database, *labels, bits=32),
    )
    assert_equal(search(queries, database), expected)
    with pytest.raises(tf.errors.InvalidArgumentError, match="for the queries and"):
        search(queries[:, :1], database)
    if known != [None, 4]:
        with pytest.raises(tf.errors.InvalidArgumentError, match="32 and codes of 3 bytes"):
            search(queries[:, :3], database[:, :3])


@pytest.mark.parametrize("kind", ["int32", "int64", "uint8"])
def test_k_and_radius_may_be_integers_of_any_type(rng, kind):
    codes = make_codes(rng, 9, 2)
    k, radius = tf.constant(3, kind), tf.constant(6, kind)
    assert_equal(
        tfhash_ops.hamming_top_k(codes, codes, k), reference.hamming_top_k(codes, codes, 3)
    )
    assert_equal(
        tfhash_ops.hamming_within(codes, codes, radius), reference.hamming_within(codes, codes, 6)
    )


@pytest.mark.parametrize("module", [tfhash_ops, reference])
@pytest.mark.parametrize("number", [2.7, np.float32(2), [1.0]])
def test_k_and_radius_must_be_integers(module, number):
    codes = np.zeros((3, 1), "uint8")
    with pytest.raises(TypeError, match="`k` must be an integer. Received: .*float32"):
        module.hamming_top_k(codes, codes, number)
    with pytest.raises(TypeError, match="`radius` must be an integer. Received: .*float32"):
        module.hamming_within(codes, codes, number)


@xla
def test_xla_errors_show_shapes_of_any_rank():
    unknown = tf.TensorSpec(None, tf.uint8)
    call = tf.function(
        tfhash_ops.hamming_distance, input_signature=[unknown, unknown], jit_compile=True
    )
    codes = tf.zeros(range(1, 10), tf.uint8)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[1,2,3,4,5,6,7,8,9\] for the quer"):
        call(codes, codes)


@pytest.mark.parametrize(
    "codes",
    [
        np.zeros((2, 3), "int64"),
        np.zeros((2, 3)),
        [[300, 0, 0]],
        [[-1, 0, 0]],
        [[1.9, 0, 0]],
        [np.array([300, 0, 0])],
    ],
)
def test_codes_must_be_uint8(codes):
    with pytest.raises(TypeError, match="`queries` must be packed codes of type uint8. Received"):
        tfhash_ops.hamming_distance(codes, np.zeros((2, 3), "uint8"))


@pytest.mark.parametrize("module", [tfhash_ops, reference])
@pytest.mark.parametrize("radius", [2**31 + 5, 2**32, 2**32 + 1])
def test_a_radius_beyond_32_bits_finds_everything(module, radius):
    codes = np.array([[0], [255]], "uint8")
    row_splits, distances, _ = module.hamming_within(codes, codes, radius)
    assert row_splits.numpy().tolist() == [0, 2, 4]
    assert distances.numpy().tolist() == [0, 8, 0, 8]


@compiled
def test_codes_too_long_for_32_bit_distances_are_refused():
    codes = tf.zeros([1, 2**28], tf.uint8)
    for module in (tfhash_ops, reference):
        with pytest.raises(tf.errors.InvalidArgumentError, match="fewer than 2.28 bytes"):
            module.hamming_within(codes, codes, 5)


def test_labels_of_different_kinds_are_refused():
    codes = np.zeros((2, 1), "uint8")
    with pytest.raises(TypeError, match="both packed multi-hot"):
        tfhash_ops.hamming_histogram(codes, codes, [1, 2], np.zeros((2, 1), "uint8"), bits=8)
    with pytest.raises(TypeError, match="integers"):
        tfhash_ops.hamming_histogram(codes, codes, [1.5, 2], [1.5, 2], bits=8)


@xla
def test_xla_refuses_more_pairs_than_it_can_count():
    @tf.function(jit_compile=True)
    def call(queries, database):
        return tfhash_ops.hamming_within(queries, database, 0)

    with pytest.raises(tf.errors.InvalidArgumentError, match="65536 queries and 32768 items"):
        call(tf.zeros([2**16, 1], tf.uint8), tf.zeros([2**15, 1], tf.uint8))


@compiled
def test_a_result_too_large_for_memory_is_an_error_not_a_crash():
    # 2^48 bytes, more than there are addresses for.
    codes = np.zeros((2**23, 1), "uint8")
    with pytest.raises(tf.errors.ResourceExhaustedError):
        tfhash_ops.hamming_distance(codes, codes)
