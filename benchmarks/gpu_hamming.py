"""Speed of exact search on a GPU with JAX, compared with a lower bound and with plain JAX.

The lower bound is the larger of two times: reading the codes once at the memory bandwidth of the device,
and counting the bits of all pairs in 32-bit words at the rate at which it counts in registers. Methods
that do not count word by word may be faster. Engines take turns. All must find the same distances as the
CPU, on random codes and on codes with many ties, before anything is timed.

    python benchmarks/gpu_hamming.py
"""

import pathlib
import statistics

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from tables import header, row, spread
from timing import divide, rounds

import tfhash_ops.jax as hamming
from tfhash import files
from tfhash.experiments import environment

FLAGS = flags.FLAGS
flags.DEFINE_multi_integer("bits", [12, 32, 48, 64, 96, 128, 256, 512], "Lengths of the codes.")
flags.DEFINE_integer("items", 10_000_000, "Codes in the database.")
flags.DEFINE_integer("queries", 4_096, "Queries.")
flags.DEFINE_integer("k", 10, "Neighbors of each query.")
flags.DEFINE_integer("chunk", 65_536, "Items at a time, for engines that store all distances.")
flags.DEFINE_integer("checked_items", 100_000, "Items that are also searched on the CPU.")
flags.DEFINE_integer("repeats", 7, "Rounds.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Seed of the codes.")
flags.DEFINE_bool("on_cpu", False, "Run without a GPU, to test the program.")
flags.DEFINE_string("output", "benchmarks/results/gpu_hamming.json", "Result file.")

SETTINGS = ("items", "queries", "k", "chunk", "checked_items", "repeats", "seed")

# For the limits of the device: words to copy, words to count, and how often.
COPIED_WORDS = 2**29
COUNTED_WORDS = 2**26
COUNTS_IN_A_ROW = 512


def main(_):
    device = jax.devices()[0]
    if device.platform != "gpu" and not FLAGS.on_cpu:
        raise SystemExit(f"expected a GPU. Received: JAX with {device.device_kind} only")
    report = {
        "settings": {name: FLAGS[name].value for name in SETTINGS},
        "unit": "seconds of each round; rates in 10^9 pairs of a query and an item per second",
        "device": device.device_kind,
        **environment.describe(["jax", "jaxlib"]),
        "ceilings": ceilings(),
        "search": {},
    }
    print(device.device_kind, report["ceilings"])
    names = list(ENGINES)
    print(
        header(["bits", *names, "share of the floor", *(f"times {n}" for n in names[1:])]), end=""
    )
    for bits in FLAGS.bits:
        check(bits)
        cell = search(bits, report["ceilings"])
        report["search"][bits] = cell
        rates = [spread(cell["rates"][name]) for name in names]
        times = [spread(cell["times"][name]) for name in names[1:]]
        print(row([bits, *rates, spread(cell["share_of_floor"]), *times]), end="", flush=True)
        files.write_json(pathlib.Path(FLAGS.output), report)


def ceilings():
    """Bytes read and written per second, and 32-bit words whose bits are counted per second."""
    shrink = 1 if FLAGS.items > 1_000_000 else 64  # for a trial
    source = jnp.arange(COPIED_WORDS // shrink, dtype=jnp.uint32)
    words = source[: COUNTED_WORDS // shrink]

    @jax.jit
    def copy(words):
        return words ^ 1

    @jax.jit
    def count(words):
        for i in range(COUNTS_IN_A_ROW):
            # Summed up, because the compiler simplifies a chain of counts.
            words = words + jax.lax.population_count(words ^ np.uint32(i))
        return words

    calls = {
        "copy": lambda: copy(source).block_until_ready(),
        "count": lambda: count(words).block_until_ready(),
    }
    for call in calls.values():
        call()
    seconds = rounds(calls, FLAGS.repeats)
    return {
        "bytes_per_second": 2 * source.nbytes / statistics.median(seconds["copy"]),
        "counts_per_second": COUNTS_IN_A_ROW * words.size / statistics.median(seconds["count"]),
    }


def check(bits):
    """Checks that every engine finds the results of the CPU, including with many ties."""
    for distinct in (256, 2):
        database = random_codes(bits, FLAGS.checked_items, 2, distinct)
        queries = random_codes(bits, 100, 3, distinct)
        with jax.default_device(jax.devices("cpu")[0]):
            expected = [np.asarray(part) for part in top_k(queries, database)]
        for name, prepare in ENGINES.items():
            distances, indices = prepare(queries, database, bits)()
            np.testing.assert_array_equal(distances, expected[0], err_msg=name)
            if name == "tfhash":
                np.testing.assert_array_equal(indices, expected[1], err_msg=name)


def check_as_timed(found, queries, database):
    """Checks that all engines agree on distances, and tfhash with the CPU on some queries."""
    for name, (distances, _) in found.items():
        np.testing.assert_array_equal(distances, found["tfhash"][0], err_msg=name)
    some = np.linspace(0, len(queries) - 1, 8).astype(int)
    with jax.default_device(jax.devices("cpu")[0]):
        expected = top_k(queries[some], database)
    for part, of_cpu in zip(found["tfhash"], expected):
        np.testing.assert_array_equal(np.asarray(part)[some], of_cpu)


def search(bits, ceilings):
    database = random_codes(bits, FLAGS.items, 0)
    queries = random_codes(bits, FLAGS.queries, 1)
    calls = {name: prepare(queries, database, bits) for name, prepare in ENGINES.items()}
    check_as_timed({name: call() for name, call in calls.items()}, queries, database)
    for part, again in zip(calls["tfhash"](), calls["tfhash"]()):
        np.testing.assert_array_equal(part, again)
    timed = {name: lambda call=call: jax.block_until_ready(call()) for name, call in calls.items()}
    seconds = rounds(timed, FLAGS.repeats)
    pairs = FLAGS.queries * FLAGS.items
    floors = {
        "bytes": (database.nbytes + queries.nbytes) / ceilings["bytes_per_second"],
        "counts": pairs * -(-bits // 32) / ceilings["counts_per_second"],
    }
    return {
        "seconds": seconds,
        "rates": {name: [pairs / s / 1e9 for s in each] for name, each in seconds.items()},
        "floors": floors,
        "share_of_floor": [max(floors.values()) / s for s in seconds["tfhash"]],
        "times": {name: divide(seconds[name], seconds["tfhash"]) for name in list(ENGINES)[1:]},
    }


@jax.jit
def top_k(queries, database):
    return hamming.hamming_top_k(queries, database, FLAGS.k)


def prepare_tfhash(queries, database, bits):
    queries, database = jnp.asarray(queries), jnp.asarray(database)
    return lambda: top_k(queries, database)


def prepare_counting(queries, database, bits):
    """XOR and population count, with items in chunks."""
    asked, chunks = jnp.asarray(as_words(queries)), jnp.asarray(in_chunks(as_words(database)))

    def distances(words):
        differ = [asked[:, None, w] ^ words[None, :, w] for w in range(words.shape[1])]
        return sum(jax.lax.population_count(word).astype(jnp.int32) for word in differ)

    return nearest_of_chunks(distances, chunks, len(database))


def prepare_product(dtype, result_dtype):
    """Products of codes of +1 and -1: the distance is (bits - product) / 2."""

    def prepare(queries, database, bits):
        asked = as_signs(jnp.asarray(queries), bits, dtype)
        chunks = jnp.asarray(in_chunks(database))

        def distances(codes):
            signs = as_signs(codes, bits, dtype)
            product = jnp.matmul(asked, signs.T, preferred_element_type=result_dtype)
            return ((bits - product) / 2).astype(jnp.int32)

        return nearest_of_chunks(distances, chunks, len(database))

    return prepare


def nearest_of_chunks(distances, chunks, items):
    """Searches chunk by chunk and keeps the nearest so far."""

    def absorb(nearest, numbered):
        number, chunk = numbered
        places = number * FLAGS.chunk + jnp.arange(FLAGS.chunk)
        found = jnp.where(places < items, distances(chunk), jnp.iinfo(jnp.int32).max)
        # float32 represents these integers exactly, and top_k is fastest for it.
        negated, chosen = jax.lax.top_k(-found.astype(jnp.float32), FLAGS.k)
        both = [jnp.concatenate(pair, 1) for pair in zip(nearest, (negated, places[chosen]))]
        kept, order = jax.lax.top_k(both[0], FLAGS.k)
        return (kept, jnp.take_along_axis(both[1], order, 1)), None

    @jax.jit
    def search(chunks):
        count = jax.eval_shape(distances, chunks[0]).shape[0]
        nothing = jnp.full((count, FLAGS.k), -jnp.inf), jnp.zeros((count, FLAGS.k), int)
        nearest, _ = jax.lax.scan(absorb, nothing, (jnp.arange(len(chunks)), chunks))
        return -nearest[0], nearest[1]

    return lambda: search(chunks)


ENGINES = {
    "tfhash": prepare_tfhash,
    "counting": prepare_counting,
    "product, bfloat16": prepare_product(jnp.bfloat16, jnp.float32),
    "product, int8": prepare_product(jnp.int8, jnp.int32),
}


def random_codes(bits, count, side, distinct=256):
    """Packed codes whose bytes take `distinct` values."""
    random = np.random.default_rng([FLAGS.seed, bits, side])
    values = (
        random.integers(0, 256, 256, "uint8") if distinct < 256 else np.arange(256, dtype="uint8")
    )
    codes = values[random.integers(0, distinct, (count, -(-bits // 8)), "uint8")]
    codes[:, -1] >>= -bits % 8  # padding bits are zero
    return codes


def in_chunks(rows):
    """Rows as `[chunks, FLAGS.chunk, columns]`, padded with zeros."""
    chunks = -(-len(rows) // FLAGS.chunk)
    filled = np.zeros((chunks * FLAGS.chunk, rows.shape[1]), rows.dtype)
    filled[: len(rows)] = rows
    return filled.reshape(chunks, FLAGS.chunk, -1)


def as_words(codes):
    filled = np.zeros((len(codes), -(-codes.shape[1] // 4) * 4), "uint8")
    filled[:, : codes.shape[1]] = codes
    return filled.view("uint32")


def as_signs(codes, bits, dtype):
    planes = codes[:, :, None] >> jnp.arange(8, dtype=jnp.uint8) & 1
    return (2 * planes.reshape(len(codes), -1)[:, :bits].astype(dtype) - 1).astype(dtype)


if __name__ == "__main__":
    app.run(main)
