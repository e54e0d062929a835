"""Speed and memory of `tfhash.index` and of the indexes of faiss, on one thread.

Single queries are timed one by one: `search` right after other searches of the index, and
`search_after_flat` right after a scan by faiss, which leaves the caches without the index. Figures are
medians. `search_mapped` searches a file opened by memory map, `first_search` is its first query. Every
size is checked against a scan of all codes before it is timed. Codes are random, or
clustered as learned ones are: with --codes, real codes (`tfhash encode`) of which a few bits are
changed until there are enough. A run continues where it stopped, and more sizes may be added to its
report.

    pip install -e '.[benchmarks]'
    python benchmarks/index.py --items=1000000,10000000 --output=benchmarks/results/index-zen4.json
    python benchmarks/index.py --draw --output=benchmarks/results/index-zen4.json
"""

import contextlib
import json
import os
import pathlib
import statistics
import tempfile
import time

import example_codes
import faiss
import numpy as np
import reports
from absl import app, flags
from matplotlib.figure import Figure
from tables import header, row

from tfhash import codes as code_layout
from tfhash import files, plots
from tfhash.index import HammingIndex

FLAGS = flags.FLAGS
flags.DEFINE_list("bits", ["64"], "Lengths of the codes.")
flags.DEFINE_list("items", ["1000000", "10000000"], "Numbers of codes.")
flags.DEFINE_list("layouts", ["random", "clustered"], "Kinds of codes: random, clustered, learned.")
flags.DEFINE_string("codes", None, "Packed codes for the layout learned: .npy, or .npz with codes.")
flags.DEFINE_list(
    "engines",
    ["flat", "hash", "multihash", "hnsw"],
    "Indexes of faiss: hnsw up to a million codes, hash and multihash up to ten.",
)
flags.DEFINE_integer("queries", 200, "Single queries.")
flags.DEFINE_integer("slow_queries", 20, "Single queries for faiss's flat index and slow calls.")
flags.DEFINE_integer("batch", 1_000, "Queries of a batch.")
flags.DEFINE_integer("k", 10, "Neighbors.")
flags.DEFINE_integer("radius", 3, "Radius of range searches.")
flags.DEFINE_integer("changed", 1_000, "Items added and removed.")
flags.DEFINE_integer("seed", 0, "Seed of the codes.")
flags.DEFINE_string("output", None, "Result file.", required=True)
flags.DEFINE_bool("draw", False, "Only draw the result file, as a .png beside it.")

SETTINGS = ("queries", "slow_queries", "batch", "k", "radius", "changed", "seed")
# Engines that take long to build, or much memory, and up to how many codes they are tried.
MAX_ITEMS = {"hnsw": 1_000_000, "hash": 10_000_000, "multihash": 10_000_000}
ROUNDS = 3
# Calls that take longer, in seconds, are timed for `slow_queries` only.
SLOW = 0.05
# Batches of other engines are cut to about this time.
BATCH_SECONDS = 20
# What the picture shows: label and style of each figure.
LINES = {
    "search": ("tfhash", "o-C0"),
    "search_after_flat": ("tfhash, caches cold", "o--C0"),
    "reading": ("reading the codes", ":k"),
    "flat": ("faiss Flat", "s-C1"),
    "hash": ("faiss Hash", "v-C2"),
    "multihash": ("faiss MultiHash", "^-C3"),
    "hnsw": ("faiss HNSW", "D-C4"),
}
SHOWN = (
    "search",
    "search_after_flat",
    "batch",
    "within",
    "flat",
    "times_flat",
    "times_flat_in_turn",
    "reading",
    "build",
    "load",
    "bytes",
)


def main(_):
    faiss.omp_set_num_threads(1)
    path = pathlib.Path(FLAGS.output)
    if FLAGS.draw:
        draw(json.loads(path.read_text(encoding="utf-8")), path.with_suffix(".png"))
        return
    made_with = reports.of_compiled(
        "seconds of one query unless stated otherwise; bytes of an item",
        {name: FLAGS[name].value for name in SETTINGS},
        ["faiss-cpu"],
    )
    report = reports.read(path, made_with)
    print(header(["layout", "bits", "items", *SHOWN]), end="")
    for layout in FLAGS.layouts:
        for bits in map(int, FLAGS.bits):
            for items in map(int, FLAGS.items):
                key = f"{layout}-{bits}-{items}"
                if key not in report["cells"]:
                    report["cells"][key] = {
                        "layout": layout,
                        "bits": bits,
                        "items": items,
                        "load_average": os.getloadavg()[0],
                        **measure(layout, bits, items),
                    }
                    files.write_json(path, report)
                cell = report["cells"][key]
                shown = [f"{cell[name]:.3g}" if name in cell else "" for name in SHOWN]
                print(row([layout, bits, f"{items:,}", *shown]), end="", flush=True)


def measure(layout, bits, items):
    """All figures for codes of one kind, length and number."""
    codes, queries = make_codes(layout, bits, items)
    single = queries[: FLAGS.queries]
    index = HammingIndex(bits)
    cell = {"build": seconds(lambda: index.add(codes, threads=1))}
    expected, cell["compact_bytes"] = check(index, codes, bits, queries)
    cell["bytes"] = index.nbytes / items
    engines = {}
    for name, engine in make_engines(bits, codes):
        cell[f"{name}_build"] = seconds(lambda engine=engine: engine.add(codes))
        engines[name] = engine
    calls = {"search": lambda query: index.search(query, FLAGS.k, threads=1)}
    calls["within"] = lambda query: index.within(query, FLAGS.radius, threads=1)
    for name, engine in engines.items():
        calls[name] = lambda query, engine=engine: engine.search(query, FLAGS.k)
        if name != "hnsw":  # which has no range search
            calls[f"{name}_within"] = lambda query, engine=engine: ball(engine, query)
    cell.update(medians(calls, single))
    few = single[: FLAGS.slow_queries]
    within = index.within(few, FLAGS.radius).row_splits[-1]
    for name, engine in engines.items():
        found = engine.search(few if name == "flat" else single, FLAGS.k)[0]
        cell[f"{name}_recall"] = recall(found, expected[: len(found)])
        if name != "hnsw" and within:
            cell[f"{name}_within_recall"] = float(ball(engine, few)[0][-1] / within)
        batch = queries[: max(1, min(FLAGS.batch, int(BATCH_SECONDS / cell[name])))]
        took = seconds(lambda engine=engine, batch=batch: engine.search(batch, FLAGS.k))
        cell[f"{name}_batch"] = took / len(batch)
    if "flat" in engines:
        cell["times_flat"] = cell["flat"] / cell["search"]
        cell.update(in_turn(calls["search"], calls["flat"], single[: 2 * FLAGS.slow_queries]))
        cell["times_flat_in_turn"] = cell["flat_in_turn"] / cell["search_after_flat"]
    cell["batch"] = seconds(lambda: index.search(queries, FLAGS.k, threads=1)) / len(queries)
    cell["reading"] = min(seconds(lambda: reading(codes)) for _ in range(5))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "index"
        cell["save"] = seconds(lambda: index.save(path))
        cell["file"] = path.stat().st_size / items
        cell["load"] = min(seconds(lambda: HammingIndex.load(path)) for _ in range(5))
        mapped = HammingIndex.load(path)
        cell["first_search"] = seconds(lambda: mapped.search(single[:1], FLAGS.k, threads=1))
        calls = {"search_mapped": lambda query: mapped.search(query, FLAGS.k, threads=1)}
        cell.update(medians(calls, single))
        cell["verify"] = seconds(mapped.verify)
    more = codes[: FLAGS.changed]
    cell["add"] = seconds(lambda: index.add(more, threads=1)) / len(more)
    removed = np.arange(len(more)) * (items // len(more))
    cell["remove"] = seconds(lambda: index.remove(removed, threads=1)) / len(more)
    cell["search_after_changes"] = medians(
        {"": lambda query: index.search(query, FLAGS.k, threads=1)}, single
    )[""]
    return cell


def check(index, codes, bits, queries):
    """Distances, which must be those of a scan, as must the ids; and bytes of an item that a scan needs."""
    scan = HammingIndex(bits, compact=True)
    scan.add(codes)
    expected, found = scan.search(queries, FLAGS.k), index.search(queries, FLAGS.k)
    np.testing.assert_array_equal(found.distances, expected.distances)
    np.testing.assert_array_equal(found.ids, expected.ids)
    return expected.distances, scan.nbytes / len(scan)


def ball(engine, queries):
    """What an index of faiss finds within the radius; there, distances are below the given one."""
    return engine.range_search(queries, FLAGS.radius + 1)


def make_engines(bits, codes):
    """Empty indexes of faiss that are asked for, and their names. Codes are padded to whole bytes."""
    padded, tables = 8 * codes.shape[1], max(1, min(4, bits // 16))
    makers = {
        "flat": lambda: faiss.IndexBinaryFlat(padded),
        "hash": lambda: with_flips(faiss.IndexBinaryHash(padded, min(bits, 20))),
        "multihash": lambda: with_flips(
            faiss.IndexBinaryMultiHash(padded, tables, min(16, bits // tables))
        ),
        "hnsw": lambda: faiss.IndexBinaryHNSW(padded, 16),
    }
    for name in FLAGS.engines:
        if len(codes) <= MAX_ITEMS.get(name, len(codes)):
            yield name, makers[name]()


def with_flips(index):
    """Also searches the buckets at 1 and 2 bits from the query's."""
    index.nflip = 2
    return index


def recall(found, expected):
    """Share of the places with the right distance, as ids of ties are arbitrary in faiss."""
    return float(np.mean(np.sort(found, axis=1) == expected))


def medians(calls, queries):
    """Median seconds of each call for a query; calls take turns, each with all queries."""
    taken = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            for i in range(len(queries)):
                taken[name].append(seconds(lambda call=call, i=i: call(queries[i : i + 1])))
                is_slow = name.startswith("flat") or statistics.median(taken[name]) > SLOW
                if is_slow and i + 1 == FLAGS.slow_queries:
                    break
    return {name: statistics.median(each) for name, each in taken.items()}


def in_turn(search, flat, queries):
    """Median seconds of both when every search follows a scan."""
    taken = {"search_after_flat": [], "flat_in_turn": []}
    for i in range(len(queries)):
        taken["flat_in_turn"].append(seconds(lambda i=i: flat(queries[i : i + 1])))
        taken["search_after_flat"].append(seconds(lambda i=i: search(queries[i : i + 1])))
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
        codes = example_codes.random(rng, count, bits)
    elif layout == "learned":
        codes = example_codes.around(rng, example_codes.read(FLAGS.codes, bits), count, bits)
    else:
        centers = rng.integers(0, 256, (count // 200 + 1, length), "uint8")
        codes = example_codes.around(rng, centers, count, bits)
    return codes[FLAGS.batch :], codes[: FLAGS.batch]


def draw(report, path):
    """Draws the time of a query against the number of codes of 64 bits, both on a log scale."""
    cells = [cell for cell in report["cells"].values() if cell["bits"] == 64]
    layouts = list(dict.fromkeys(cell["layout"] for cell in cells))
    figure = Figure(figsize=(4.5 * len(layouts), 4.6), layout="tight")
    axes = figure.subplots(1, len(layouts), sharey=True, squeeze=False)
    for axis, layout in zip(axes[0], layouts):
        rows = sorted((c for c in cells if c["layout"] == layout), key=lambda c: c["items"])
        for name, (label, style) in LINES.items():
            drawn = [(c["items"], 1e3 * c[name]) for c in rows if name in c]
            if drawn:
                recall_at = [c[f"{name}_recall"] for c in rows if f"{name}_recall" in c]
                missed = recall_at and min(recall_at) < 1
                note = f", recall {min(recall_at):.2f} to {max(recall_at):.2f}" if missed else ""
                axis.loglog(*zip(*drawn), style, label=label + note)
        axis.set(title=f"{layout} codes of 64 bits", xlabel="codes")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.14))
    axes[0, 0].set_ylabel("ms a query, k = 10, one thread")
    plots.save_figure(figure, path)


if __name__ == "__main__":
    app.run(main)
