"""The compiled ops equal the reference: eagerly, in graphs, and compiled by XLA."""

import os
import re
import subprocess
import sys
import threading

import numpy as np
import pytest
import tensorflow as tf

import tfhash_ops
from tfhash_ops import reference

compiled = pytest.mark.skipif(
    not tfhash_ops.is_compiled(), reason="tfhash was installed with TFHASH_BUILD_OPS=0"
)

BYTES = [1, 2, 3, 8, 9, 32]
ITEMS = 515  # above a block of any kernel, and no multiple of anything


def make_codes(rng, count, length, layout="random"):
    if layout == "equal":
        return np.full((count, length), 0xA5, "uint8")
    codes = rng.integers(0, 256, (count, length), "uint8")
    return np.where(codes < 200, 0, codes).astype("uint8") if layout == "tied" else codes


@pytest.fixture(params=["eager", "graph", "xla", "plain HLO"])
def run(request, monkeypatch):
    """Calls a function in each of the ways TensorFlow can."""
    if request.param == "plain HLO":
        monkeypatch.setenv("TFHASH_XLA_HANDLERS", "0")

    def call(function, *tensors):
        if request.param == "eager":
            return function(*tensors)
        # As arguments: TensorFlow would compute a function of constants before XLA sees it.
        compiled = tf.function(
            function, jit_compile=request.param in ("xla", "plain HLO"), autograph=False
        )
        return compiled(*map(tf.constant, tensors))

    return call


def assert_equal(left, right):
    left, right = (list(x) if isinstance(x, tuple) else [x] for x in (left, right))
    assert len(left) == len(right)
    for a, b in zip(left, right):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


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
def test_top_k_equals_the_reference_in_the_order_of_ties(run, rng, length, layout, k):
    queries, database = make_codes(rng, 70, length), make_codes(rng, ITEMS, length, layout)
    assert_equal(
        run(lambda q, d: tfhash_ops.hamming_top_k(q, d, k), queries, database),
        reference.hamming_top_k(queries, database, k),
    )


@pytest.mark.parametrize(
    ("length", "layout", "radius"),
    [(1, "random", 0), (2, "equal", 8), (3, "tied", 24), (8, "tied", 20), (9, "random", 1000)],
)
def test_within_equals_the_reference_in_the_order_of_ties(run, rng, length, layout, radius):
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
def test_the_reference_knows_empty_and_single_sides_too(rng, queries, items):
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


def test_no_constant_mask_and_no_order_of_bits_changes_a_distance(rng):
    bits = rng.integers(0, 2, (40, 45))
    changed = (bits ^ rng.integers(0, 2, 45))[:, rng.permutation(45)]
    codes, others = (np.packbits(b, axis=1, bitorder="little") for b in (bits, changed))
    assert_equal(
        tfhash_ops.hamming_distance(codes, codes), tfhash_ops.hamming_distance(others, others)
    )
    assert_equal(
        tfhash_ops.hamming_top_k(codes, codes, 40), tfhash_ops.hamming_top_k(others, others, 40)
    )


def test_unaligned_and_strided_arrays_are_read_as_they_are(rng):
    memory = make_codes(rng, 100, 9)
    queries, database = memory[::3, 1:], memory[::-1, :-1]
    assert_equal(
        tfhash_ops.hamming_distance(queries, database),
        reference.hamming_distance(queries.copy(), database.copy()),
    )


def test_shapes_are_known_as_far_as_they_can_be_in_graphs():
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
def test_wrong_input_is_told_with_what_was_expected_and_received(module, name, change, message):
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


@compiled
@pytest.mark.parametrize(("name", "change", "message"), WRONG[3:])
def test_xla_tells_the_same_of_wrong_input(name, change, message):
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
    # What is known when the function is traced is told by the shape functions, as a ValueError.
    by_shape = r"(Dimensions|Shapes?) must be|must be non-negative but is -1099511627776|between"
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=f"{message}|{by_shape}"):
        call(queries, codes[1], tf.constant(change.get("radius", 1), tf.int64))


@pytest.mark.parametrize("module", [tfhash_ops, reference])
@pytest.mark.parametrize("known", [None, [None, None], [None, 4]])
def test_shapes_that_are_not_known_when_traced_are_checked_when_run(rng, module, known):
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
def test_k_and_radius_are_integers_of_any_type(rng, kind):
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
def test_k_and_radius_that_are_no_integers_are_refused(module, number):
    codes = np.zeros((3, 1), "uint8")
    with pytest.raises(TypeError, match="`k` must be an integer. Received: .*float32"):
        module.hamming_top_k(codes, codes, number)
    with pytest.raises(TypeError, match="`radius` must be an integer. Received: .*float32"):
        module.hamming_within(codes, codes, number)


@compiled
def test_xla_names_the_shape_of_codes_of_any_rank():
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
def test_codes_of_another_type_are_refused(codes):
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
def test_codes_whose_distance_would_not_fit_are_refused():
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


@compiled
def test_more_than_32_bits_of_pairs_are_searched():
    queries = np.arange(256, dtype="uint8")[:, None]
    database = np.zeros((2**24 + 1, 1), "uint8")
    items, relevant = tfhash_ops.hamming_histogram(
        queries, database, np.zeros(256, "int32"), np.zeros(2**24 + 1, "int32"), bits=8
    )
    assert np.sum(items) == np.sum(relevant) == 256 * (2**24 + 1) > 2**32
    row_splits, distances, _ = tfhash_ops.hamming_within(queries, database, 0)
    assert row_splits.numpy().tolist() == [0] + [2**24 + 1] * 256
    assert not np.any(distances)


@compiled
def test_xla_refuses_more_pairs_than_it_can_count():
    @tf.function(jit_compile=True)
    def call(queries, database):
        return tfhash_ops.hamming_within(queries, database, 0)

    with pytest.raises(tf.errors.InvalidArgumentError, match="65536 queries and 32768 items"):
        call(tf.zeros([2**16, 1], tf.uint8), tf.zeros([2**15, 1], tf.uint8))


@compiled
def test_a_result_that_does_not_fit_into_memory_is_an_error_not_a_crash():
    # 2^48 bytes, more than there are addresses for.
    codes = np.zeros((2**23, 1), "uint8")
    with pytest.raises(tf.errors.ResourceExhaustedError):
        tfhash_ops.hamming_distance(codes, codes)


@compiled
@pytest.mark.parametrize(
    ("length", "items", "k"),
    [
        (2, 40_000, 50),  # several chunks, the last one padded
        (8, 40_000, 20_000),  # k above a chunk
        (4096, 1000, 300),  # chunks cut to what floats hold
        (4096, 700, 515),  # too wide for floats
    ],
)
def test_plain_hlo_meets_the_items_in_chunks(monkeypatch, rng, length, items, k):
    monkeypatch.setenv("TFHASH_XLA_HANDLERS", "0")
    queries, database = make_codes(rng, 3, length), make_codes(rng, items, length) & 3
    call = tf.function(lambda q, d: tfhash_ops.hamming_top_k(q, d, k), jit_compile=True)
    assert_equal(
        call(*map(tf.constant, (queries, database))), tfhash_ops.hamming_top_k(queries, database, k)
    )


@compiled
def test_the_plain_hlo_of_the_histogram_holds_no_tensor_of_all_pairs(
    monkeypatch, rng, largest_tensor
):
    monkeypatch.setenv("TFHASH_XLA_HANDLERS", "0")
    queries, items = 300, 20_000
    codes = [make_codes(rng, count, 8) for count in (queries, items)]
    labels = [rng.integers(0, 3, count) for count in (queries, items)]
    call = tf.function(
        lambda *sides: tfhash_ops.hamming_histogram(*sides, bits=64), jit_compile=True
    )
    sides = [*map(tf.constant, codes), *map(tf.constant, labels)]
    assert_equal(call(*sides), tfhash_ops.hamming_histogram(*codes, *labels, bits=64))
    text = call.experimental_get_compiler_ir(*sides)(stage="optimized_hlo")
    assert largest_tensor(text) <= 2**26 < queries * items * 65


@compiled
def test_the_plain_hlo_of_top_k_meets_fewer_items_at_a_time_if_there_are_many_queries(
    monkeypatch, largest_tensor
):
    monkeypatch.setenv("TFHASH_XLA_HANDLERS", "0")
    queries, items, k = 2**13, 20_000, 10
    call = tf.function(lambda q, d: tfhash_ops.hamming_top_k(q, d, k), jit_compile=True)
    sides = [tf.zeros([count, 16], tf.uint8) for count in (queries, items)]
    text = call.experimental_get_compiler_ir(*sides)(stage="hlo")
    assert largest_tensor(text) <= 2**26 < queries * items


# What may be done to labels and results, which are 64-bit integers.
MOVES = (
    "parameter constant reshape bitcast broadcast pad dynamic-slice get-tuple-element tuple while"
)


@compiled
@pytest.mark.parametrize("name", ["distance", "top_k", "histogram"])
def test_plain_hlo_neither_copies_nor_sorts_nor_computes_in_64_bits(monkeypatch, rng, name):
    monkeypatch.setenv("TFHASH_XLA_HANDLERS", "0")
    arguments = {"top_k": {"k": 10}, "histogram": {"bits": 64}}.get(name, {})
    counts = (16, 100_000)
    sides = [make_codes(rng, count, 8) for count in counts]
    if name == "histogram":
        sides += [rng.integers(0, 10, count) for count in counts]
    call = tf.function(
        lambda *sides: getattr(tfhash_ops, f"hamming_{name}")(*sides, **arguments),
        jit_compile=True,
    )
    text_of = call.experimental_get_compiler_ir(*map(tf.constant, sides))
    instruction = re.compile(r"= (\w+)\[([\d,]*)\]\S* ([\w-]+)\(")
    before, after = (instruction.findall(text_of(stage)) for stage in ("hlo", "optimized_hlo"))
    assert {"popcnt", "xor"} <= {operation for _, _, operation in after}
    assert "sort" not in {operation for _, _, operation in before + after}
    # A loop begins with copies of zeros, as many as it returns.
    copied = {shape for _, shape, operation in after if operation in ("copy", "transpose")}
    assert copied <= {"", "16,10", "16,65"}
    in_64_bits = {operation for kind, _, operation in before if kind in ("s64", "u64")}
    assert in_64_bits <= {*MOVES.split(), "convert"}


@compiled
def test_many_python_threads_get_the_answers_of_one(rng):
    queries, database = make_codes(rng, 100, 8), make_codes(rng, 40000, 8)
    labels = np.arange(100) % 3, np.arange(40000) % 3
    calls = [
        lambda: tfhash_ops.hamming_top_k(queries, database, 5),
        lambda: tfhash_ops.hamming_within(queries, database, 20),
        lambda: tfhash_ops.hamming_histogram(queries, database, *labels, bits=64),
    ]
    expected = [[x.numpy() for x in call()] for call in calls]
    equal = []

    def search():
        for call, values in zip(calls, expected):
            equal.append(all(np.array_equal(a, b) for a, b in zip(call(), values)))

    threads = [threading.Thread(target=search) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert equal == [True] * 48


DIGEST = """
import hashlib, sys
import numpy as np, tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[1]))
import tfhash_ops
digest = hashlib.sha256()
rng = np.random.default_rng(5)
for length, queries, items in ((2, 100, 30000), (3, 300, 2000), (8, 5, 40000), (12, 70, 1000)):
    codes = rng.integers(0, 256, (queries + items, length), "uint8") & 0x3F
    labels = rng.integers(0, 9, queries + items)
    sides = codes[:queries], codes[queries:]
    results = (
        tfhash_ops.hamming_distance(*sides),
        *tfhash_ops.hamming_top_k(*sides, 20),
        *tfhash_ops.hamming_within(*sides, length),
        *tfhash_ops.hamming_histogram(*sides, labels[:queries], labels[queries:], 8 * length),
    )
    for result in results:
        digest.update(result.numpy().tobytes())
print(tfhash_ops.cpu_kernel(), digest.hexdigest())
"""


def run_python(code, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )


@compiled
def test_no_kernel_and_no_number_of_threads_changes_an_answer():
    runs = [("1", ""), ("2", ""), ("7", "")]
    runs += [("2", name) for name in tfhash_ops.supported_cpu_kernels()]
    digests = {}
    for threads, kernel in runs:
        result = run_python(DIGEST, threads, TFHASH_CPU_KERNEL=kernel)
        assert result.returncode == 0, result.stderr
        used, digests[threads, kernel] = result.stdout.split()
        assert kernel in ("", used)
    assert len(set(digests.values())) == 1, digests


@compiled
def test_a_kernel_the_cpu_cannot_run_is_refused_by_name():
    result = run_python(
        "import tfhash_ops; tfhash_ops.hamming_distance([[1]], [[2]])", TFHASH_CPU_KERNEL="mmx"
    )
    assert result.returncode == 1
    assert "TFHASH_CPU_KERNEL must name a kernel this CPU can run" in result.stderr
    assert "scalar" in result.stderr
    assert "Received: mmx" in result.stderr


@compiled
def test_ops_compile_whether_or_not_tensorflow_was_in_use_before_they_were_loaded():
    code = """
import sys, tensorflow as tf
if sys.argv[1] == "before":
    tf.constant(1) + 1
import tfhash_ops
call = tf.function(lambda q: tfhash_ops.hamming_within(q, q, 0).indices, jit_compile=True)
print(call(tf.constant([[1], [2]], tf.uint8)).numpy().tolist())
"""
    for order in ("before", "after"):
        result = run_python(code, order)
        assert result.stdout.split("\n")[0] == "[0, 1]", result.stderr


@compiled
def test_a_library_for_another_tensorflow_is_refused_naming_both():
    code = "import tensorflow as tf; tf.__version__ = '2.99.1'; import tfhash_ops as t; t.TopK"
    result = run_python(code)
    assert result.returncode == 1
    assert "ImportError" in result.stderr
    assert "2.99.1" in result.stderr
    assert tf.__version__ in result.stderr


def test_the_package_can_be_imported_without_importing_tensorflow():
    code = "import sys, tfhash_ops; print(tfhash_ops.is_compiled(), 'tensorflow' in sys.modules)"
    assert run_python(code).stdout.split()[1] == "False"
    with pytest.raises(AttributeError, match="hamming_weight"):
        _ = tfhash_ops.hamming_weight
