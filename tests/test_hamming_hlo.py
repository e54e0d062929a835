"""The plain HLO of the ops, for devices without handlers, bounds its memory and its work."""

import re

import pytest
import tensorflow as tf
from hamming_cases import assert_equal, make_codes, xla

import tfhash_ops


@xla
@pytest.mark.parametrize(
    ("length", "items", "k"),
    [
        (2, 40_000, 50),  # several chunks, the last one padded
        (8, 40_000, 20_000),  # k above a chunk
        (4096, 1000, 300),  # chunks limited by what floats represent exactly
        (4096, 700, 515),  # too wide for floats
    ],
)
def test_plain_hlo_of_top_k_processes_items_in_chunks(monkeypatch, rng, length, items, k):
    monkeypatch.setenv("TFHASH_XLA_HANDLERS", "0")
    queries, database = make_codes(rng, 3, length), make_codes(rng, items, length) & 3
    call = tf.function(lambda q, d: tfhash_ops.hamming_top_k(q, d, k), jit_compile=True)
    assert_equal(
        call(*map(tf.constant, (queries, database))), tfhash_ops.hamming_top_k(queries, database, k)
    )


@xla
def test_plain_hlo_of_the_histogram_holds_no_tensor_of_all_pairs(monkeypatch, rng, largest_tensor):
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


@xla
def test_plain_hlo_of_top_k_uses_smaller_chunks_for_many_queries(monkeypatch, largest_tensor):
    monkeypatch.setenv("TFHASH_XLA_HANDLERS", "0")
    queries, items, k = 2**13, 20_000, 10
    call = tf.function(lambda q, d: tfhash_ops.hamming_top_k(q, d, k), jit_compile=True)
    sides = [tf.zeros([count, 16], tf.uint8) for count in (queries, items)]
    text = call.experimental_get_compiler_ir(*sides)(stage="hlo")
    assert largest_tensor(text) <= 2**26 < queries * items


# Operations allowed on labels and results, which are 64-bit integers.
MOVES = (
    "parameter constant reshape bitcast broadcast pad dynamic-slice get-tuple-element tuple while"
)


@xla
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
    # A loop starts from copies of zeros, one for each result.
    copied = {shape for _, shape, operation in after if operation in ("copy", "transpose")}
    assert copied <= {"", "16,10", "16,65"}
    in_64_bits = {operation for kind, _, operation in before if kind in ("s64", "u64")}
    assert in_64_bits <= {*MOVES.split(), "convert"}
