"""Speed and memory of `tfhash.index` and of the indexes of faiss, on one thread.

Single queries are timed one by one, and engines take turns. Figures are medians. Every size is
checked against a scan of all codes before it is timed. Codes are random, or clustered as learned ones
are: with --codes, real codes (`tfhash encode`) of which a few bits are changed until there are enough.

    pip install -e '.[benchmarks]'
    python benchmarks/index.py --items=1000000,10000000 --output=benchmarks/results/index-zen4.json
"""

import contextlib
import os
import pathlib
import statistics
import tempfile
import time

import faiss
import numpy as np
import reports
from absl import app, flags
from tables import header, row

from tfhash import codes as code_layout
from tfhash import files
from tfhash.index import HammingIndex

FLAGS = flags.FLAGS
flags.DEFINE_list("bits", ["64"], "Lengths of the codes.")
flags.DEFINE_list("items", ["1000000", "10000000"], "Numbers of codes.")
flags.DEFINE_list("layouts", ["random", "clustered"], "Kinds of codes: random, clustered, learned.")
flags.DEFINE_string("codes", None, "Packed codes for the layout learned: .npy, or .npz with codes.")
flags.DEFINE_list(
    "engines",
    ["flat", "hash", "multihash", "hnsw"],
    "Indexes of faiss; hnsw up to a million codes.",
)
flags.DEFINE_integer("queries", 200, "Single queries.")
flags.DEFINE_integer("slow_queries", 20, "Single queries for faiss's flat index.")
flags.DEFINE_integer("batch", 1_000, "Queries of a batch.")
flags.DEFINE_integer("k", 10, "Neighbors.")
flags.DEFINE_integer("radius", 3, "Radius of range searches.")
flags.DEFINE_integer("changed", 1_000, "Items added and removed.")
flags.DEFINE_integer("seed", 0, "Seed of the codes.")
flags.DEFINE_string("output", None, "Result file.")

SETTINGS = ("queries", "slow_queries", "batch", "k", "radius", "changed", "seed")
HNSW_MAX_ITEMS = 1_000_000
ROUNDS = 3
SHOWN = ("search", "batch", "within", "flat", "times_flat", "reading", "build", "load", "bytes")


def main(_):
    faiss.omp_set_num_threads(1)
    report = {
        **reports.of_compiled(
            "seconds of one query unless stated otherwise; bytes of an item",
            {name: FLAGS[name].value for name in SETTINGS},
            ["faiss-cpu"],
        ),
        "load_average": os.getloadavg(),
        "cells": [],
    }
    print(header(["layout", "bits", "items", *SHOWN]), end="")
    for layout in FLAGS.layouts:
        for bits in map(int, FLAGS.bits):
            for items in map(int, FLAGS.items):
                cell = {
                    "layout": layout,
                    "bits": bits,
                    "items": items,
                    **measure(layout, bits, items),
                }
                report["cells"].append(cell)
                shown = [f"{cell[name]:.3g}" if name in cell else "" for name in SHOWN]
                print(row([layout, bits, f"{items:,}", *shown]), end="", flush=True)
                if FLAGS.output:
                    files.write_json(FLAGS.output, report)


def measure(layout, bits, items):
    """All figures for codes of one kind, length and number."""
    codes, queries = make_codes(layout, bits, items)
    single = queries[: FLAGS.queries]
    index = HammingIndex(bits)
    cell = {"build": seconds(lambda: index.add(codes, threads=1))}
    expected = check(index, codes, bits, queries)
    engines = {name: engine for name, engine in make_engines(bits, codes) if name in FLAGS.engines}
    cell["bytes"] = index.nbytes / items
    calls = {"search": lambda query: index.search(query, FLAGS.k, threads=1)}
    calls["within"] = lambda query: index.within(query, FLAGS.radius, threads=1)
    for name, engine in engines.items():
        calls[name] = lambda query, engine=engine: engine.search(query, FLAGS.k)
    cell.update(medians(calls, single))
    for name, engine in engines.items():
        found = engine.search(single, FLAGS.k)[0]
        cell[f"{name}_recall"] = recall(found, expected[: len(single)])
    if "flat" in cell:
        cell["times_flat"] = cell["flat"] / cell["search"]
    cell["batch"] = seconds(lambda: index.search(queries, FLAGS.k, threads=1)) / len(queries)
    cell["reading"] = min(seconds(lambda: reading(codes)) for _ in range(5))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "index"
        cell["save"] = seconds(lambda: index.save(path))
        cell["file"] = path.stat().st_size / items
        cell["load"] = min(seconds(lambda: HammingIndex.load(path)) for _ in range(5))
        cell["verify"] = seconds(HammingIndex.load(path).verify)
    more = codes[: FLAGS.changed]
    cell["add"] = seconds(lambda: index.add(more, threads=1)) / len(more)
    removed = np.arange(len(more)) * (items // len(more))
    cell["remove"] = seconds(lambda: index.remove(removed, threads=1)) / len(more)
    cell["search_after_changes"] = medians(
        {"": lambda query: index.search(query, FLAGS.k, threads=1)}, single
    )[""]
    return cell


def check(index, codes, bits, queries):
    """Distances, which must be those of a scan, as must the ids."""
    scan = HammingIndex(bits, compact=True)
    scan.add(codes)
    expected, found = scan.search(queries, FLAGS.k), index.search(queries, FLAGS.k)
    np.testing.assert_array_equal(found.distances, expected.distances)
    np.testing.assert_array_equal(found.ids, expected.ids)
    return expected.distances


def make_engines(bits, codes):
    """Indexes of faiss, and their names. Codes are padded to whole bytes."""
    padded = 8 * codes.shape[1]
    if "flat" in FLAGS.engines:
        yield "flat", filled(faiss.IndexBinaryFlat(padded), codes)
    if "hash" in FLAGS.engines:
        index = faiss.IndexBinaryHash(padded, min(bits, 20))
        index.nflip = 2
        yield "hash", filled(index, codes)
    if "multihash" in FLAGS.engines and bits >= 16:
        tables = max(1, min(4, bits // 16))
        index = faiss.IndexBinaryMultiHash(padded, tables, min(16, bits // tables))
        index.nflip = 2
        yield "multihash", filled(index, codes)
    if "hnsw" in FLAGS.engines and len(codes) <= HNSW_MAX_ITEMS:
        yield "hnsw", filled(faiss.IndexBinaryHNSW(padded, 16), codes)


def filled(index, codes):
    index.add(codes)
    return index


def recall(found, expected):
    """Share of the places with the right distance, as ids of ties are arbitrary in faiss."""
    return float(np.mean(np.sort(found, axis=1) == expected))


def medians(calls, queries):
    """Median seconds of each call for a query; calls take turns, each with all queries."""
    taken = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            count = FLAGS.slow_queries if name == "flat" else len(queries)
            for i in range(min(count, len(queries))):
                taken[name].append(seconds(lambda call=call, i=i: call(queries[i : i + 1])))
    return {name: statistics.median(each) for name, each in taken.items()}


def seconds(call):
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def reading(codes):
    """Reads all codes with hardly any computation."""
    words = codes.reshape(-1)
    with contextlib.suppress(ValueError):
        words = words.view("uint64")
    np.bitwise_or.reduce(words)


def make_codes(layout, bits, items):
    """Codes and queries that are not among them."""
    rng = np.random.default_rng([FLAGS.seed, bits])
    length, count = code_layout.packed_length(bits), items + FLAGS.batch
    if layout == "random":
        codes = rng.integers(0, 256, (count, length), "uint8")
    else:
        if layout == "learned":
            centers = np.load(FLAGS.codes)
            centers = centers if isinstance(centers, np.ndarray) else centers["codes"]
        else:
            centers = rng.integers(0, 256, (count // 200 + 1, length), "uint8")
        codes = np.empty((count, length), "uint8")
        for first in range(0, count, 1_000_000):
            part = codes[first : first + 1_000_000]
            flips = rng.random((len(part), 8 * length), "float32") < 0.05
            part[:] = centers[rng.integers(0, len(centers), len(part))] ^ np.packbits(flips, axis=1)
    if bits % 8:
        codes[:, -1] &= (1 << bits % 8) - 1
    return codes[FLAGS.batch :], codes[: FLAGS.batch]


if __name__ == "__main__":
    app.run(main)
