"""Speed of exact search, compared with other engines on the same codes and threads.

Engines take turns, so that noise of the machine affects all of them, and ratios are taken within a
round. All engines must find the same distances before anything is timed. Slow engines get fewer
queries, because their rate does not depend on the number of queries.

    pip install -e '.[benchmarks]'
    python benchmarks/hamming.py --output=benchmarks/results/hamming-zen5.json
"""

import concurrent.futures
import statistics

import faiss
import numpy as np
import reports
import tensorflow as tf
import usearch.index
from absl import app, flags
from tables import header, row, spread
from timing import divide, rounds

import tfhash_ops
from tfhash import files

FLAGS = flags.FLAGS
flags.DEFINE_multi_integer("bits", [12, 16, 32, 48, 64, 128, 256], "Lengths of the codes.")
flags.DEFINE_integer("items", 1_000_000, "Codes in the database.")
flags.DEFINE_integer("queries", 1_000, "Queries.")
flags.DEFINE_integer("few_queries", 100, "Queries for slow engines.")
flags.DEFINE_integer("scanned_items", 10_000_000, "64-bit codes searched for a single query.")
flags.DEFINE_integer("threads", 2, "Threads of every engine.", lower_bound=1)
flags.DEFINE_integer("repeats", 7, "Rounds.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Seed of the codes.")
flags.DEFINE_string("output", None, "Result file.", required=True)

SETTINGS = ("items", "queries", "few_queries", "scanned_items", "threads", "repeats", "seed")


def main(_):
    tf.config.threading.set_intra_op_parallelism_threads(FLAGS.threads)
    tf.config.threading.set_inter_op_parallelism_threads(FLAGS.threads)
    faiss.omp_set_num_threads(FLAGS.threads)
    report = {
        **reports.of_compiled(
            "seconds of each round; rates in 10^9 pairs of a query and an item per second",
            {name: FLAGS[name].value for name in SETTINGS},
            ["faiss-cpu", "usearch"],
        ),
        "search": {},
    }
    print(f"{report['machine']['processor']}, kernel {report['kernel']}, {FLAGS.threads} threads")
    print(f"\n10^9 pairs/s, {FLAGS.items:,} items, k = 10: median (min to max)\n")
    names = [name for name, _ in ENGINES]
    print(header(["bits", *names, "tfhash / faiss", "k = 100 / k = 10"]), end="")
    for bits in FLAGS.bits:
        cell = search(bits)
        report["search"][bits] = cell
        rates = [spread(cell["rates"][name]) for name in names]
        ratios = [spread(cell[name]) for name in ("times_faiss", "k100_to_k10")]
        print(row([bits, *rates, *ratios]), end="", flush=True)
    report["single_query"] = cell = single_query()
    print(f"\nOne query against {FLAGS.scanned_items:,} codes of 64 bits, k = 10, milliseconds\n")
    for name, seconds in cell["seconds"].items():
        print(row([name, spread([1000 * s for s in seconds])]), end="")
    times = spread(cell["times_fastest_reading"])
    print(row(["tfhash / fastest reading", times]))
    files.write_json(FLAGS.output, report)


def search(bits):
    """Rates of every engine, and the ratio to faiss, for codes of one length."""
    database, queries = random_codes(bits, FLAGS.items), random_codes(bits, FLAGS.queries, 1)
    few = queries[: FLAGS.few_queries]
    calls, counts = {}, {}
    for name, prepare in ENGINES:
        asked = few if name in SLOW else queries
        calls[name], counts[name] = prepare(asked, database), len(asked)
    ours = calls["tfhash"]
    expected = ours(10)
    for name, call in calls.items():
        np.testing.assert_array_equal(call(10), expected[: counts[name]], err_msg=name)
    timed = {name: lambda call=call: call(10) for name, call in calls.items()}
    timed["tfhash, k=100"], counts["tfhash, k=100"] = lambda: ours(100), len(queries)
    seconds = rounds(timed, FLAGS.repeats)
    rates = {
        name: [counts[name] * len(database) / s / 1e9 for s in each]
        for name, each in seconds.items()
    }
    return {
        "queries": counts,
        "seconds": seconds,
        "rates": rates,
        "times_faiss": divide(rates["tfhash"], rates["faiss"]),
        "k100_to_k10": divide(rates["tfhash, k=100"], rates["tfhash"]),
    }


def single_query():
    """Seconds of the search for one query, and of merely reading the codes."""
    database, query = random_codes(64, FLAGS.scanned_items), random_codes(64, 1, 1)
    ours, theirs = prepare_tfhash(query, database), prepare_faiss(query, database)
    np.testing.assert_array_equal(ours(10), theirs(10))
    calls = {"tfhash": lambda: ours(10), "faiss": lambda: theirs(10), **readings(database)}
    seconds = rounds(calls, FLAGS.repeats)
    fastest = min(readings(database), key=lambda name: statistics.median(seconds[name]))
    return {
        "bytes": database.nbytes,
        "seconds": seconds,
        "fastest_reading": fastest,
        "times_fastest_reading": divide(seconds["tfhash"], seconds[fastest]),
    }


def prepare_tfhash(queries, database):
    queries, database = tf.constant(queries), tf.constant(database)
    return lambda k: tfhash_ops.hamming_top_k(queries, database, k).distances.numpy()


def prepare_faiss(queries, database):
    index = faiss.IndexBinaryFlat(8 * database.shape[1])
    index.add(database)
    return lambda k: index.search(queries, k)[0]


def prepare_usearch(queries, database):
    metric = usearch.index.MetricKind.Hamming
    options = {"exact": True, "threads": FLAGS.threads}
    return lambda k: usearch.index.search(database, queries, k, metric, **options).distances


def prepare_numpy(queries, database):
    queries, database = as_words(queries), np.ascontiguousarray(as_words(database).T)

    def nearest(query, k):
        distances = np.zeros(database.shape[1], "uint16")
        for query_word, words in zip(query, database):
            distances += np.bitwise_count(query_word ^ words)
        return np.sort(distances[np.argpartition(distances, k - 1)[:k]])

    def search(k):
        with concurrent.futures.ThreadPoolExecutor(FLAGS.threads) as pool:
            return np.stack(list(pool.map(nearest, queries, [k] * len(queries))))

    return search


def prepare_tensorflow(queries, database):
    queries, database = tf.constant(as_words(queries)), tf.constant(as_words(database))

    @tf.function
    def search(k):
        def nearest(query):
            differ = tf.raw_ops.PopulationCount(x=tf.bitwise.bitwise_xor(query, database))
            return -tf.math.top_k(-tf.reduce_sum(tf.cast(differ, tf.int32), axis=1), k)[0]

        return tf.map_fn(nearest, queries, fn_output_signature=tf.int32)

    return lambda k: search(tf.constant(k)).numpy()


def readings(database):
    """Ways to read all codes with hardly any computation."""
    pool = concurrent.futures.ThreadPoolExecutor(FLAGS.threads)
    pieces = np.array_split(database.reshape(-1), FLAGS.threads)

    def by(reduce, dtype):
        return lambda: list(pool.map(lambda piece: reduce(piece.view(dtype)), pieces))

    return {
        "reading by maximum": by(np.max, "uint8"),
        "reading by or": by(np.bitwise_or.reduce, "uint64"),
        "reading by sum": by(np.sum, "uint64"),
    }


ENGINES = [
    ("tfhash", prepare_tfhash),
    ("faiss", prepare_faiss),
    ("usearch", prepare_usearch),
    ("NumPy", prepare_numpy),
    ("TensorFlow", prepare_tensorflow),
]
SLOW = {"usearch", "NumPy", "TensorFlow"}


def random_codes(bits, count, side=0):
    signs = np.random.default_rng([FLAGS.seed, bits, side])
    codes = signs.integers(0, 256, (count, -(-bits // 8)), "uint8")
    codes[:, -1] >>= -bits % 8  # padding bits are zero
    return codes


def as_words(codes):
    """The same bytes as the longest words that fit, which NumPy and TensorFlow count fastest."""
    length = max(size for size in (1, 2, 4, 8) if codes.shape[1] % size == 0)
    return codes.view(f"uint{8 * length}")


if __name__ == "__main__":
    app.run(main)
