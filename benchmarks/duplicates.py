"""Speed of the join of codes within a radius, and its exactness.

Codes are random, lie in clusters, or, with --codes, around real codes (`tfhash encode`) of which a few
bits are changed; all with planted duplicates. On a part of the codes, all pairs are compared one by
one and must be the pairs of the join. Of all codes, every pair that the join finds must be at its
distance, found once, and the planted ones among them. Times are of whole calls of
`tfhash.index.duplicates`, from packed codes in NumPy to the result. A run continues where it stopped.

    python benchmarks/duplicates.py --output=benchmarks/results/duplicates-zen4.json
    python benchmarks/duplicates.py --output=benchmarks/results/duplicates-zen4.json \
        --codes=runs/cifar10-64/database.npz
"""

import pathlib
import re
import time

import example_codes
import numpy as np
import reports
from absl import app, flags
from search_tables import JOIN_COLUMNS as COLUMNS
from search_tables import joined
from tables import header, row

from tfhash import files
from tfhash.index import duplicates

FLAGS = flags.FLAGS
flags.DEFINE_multi_string(
    "random",
    ["1000000:64:2", "10000000:64:2", "10000000:64:3", "10000000:64:4", "1000000:256:8"],
    "Joins of random codes, ITEMS:BITS:RADIUS.",
)
flags.DEFINE_multi_string(
    "clustered",
    ["1000000:48:2", "1000000:64:2", "1000000:64:4", "10000000:64:2"],
    "Joins of clustered codes, ITEMS:BITS:RADIUS.",
)
flags.DEFINE_multi_string(
    "learned",
    ["1000000:64:0", "1000000:64:1", "1000000:64:2", "3000000:64:2"],
    "Joins of codes around those of --codes, ITEMS:BITS:RADIUS.",
)
flags.DEFINE_string("codes", None, "Packed codes, all of one length: .npy, or .npz with codes.")
flags.DEFINE_integer("planted", 1_000, "Duplicates planted at each distance up to the radius + 1.")
flags.DEFINE_integer("cluster", 1_000, "Codes in a cluster.", lower_bound=1)
flags.DEFINE_float("spread", 0.08, "Probability that a bit differs from the cluster's.")
flags.DEFINE_integer("compared", 200_000, "Codes of which all pairs are compared one by one.")
flags.DEFINE_integer("threads", 2, "Threads.", lower_bound=1)
flags.DEFINE_integer("repeats", 5, "Times that each join runs.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Seed of the codes.")
flags.DEFINE_string("output", None, "Result file.", required=True)

SETTINGS = ("planted", "cluster", "spread", "compared", "threads", "repeats", "seed")


def main(_):
    path = pathlib.Path(FLAGS.output)
    made_with = reports.of_compiled(
        "seconds of each call; added_bytes is the memory that the calls took at most",
        {name: FLAGS[name].value for name in SETTINGS},
    )
    report = reports.read(path, made_with)
    print(f"{report['machine']['processor']}, kernel {report['kernel']}, {FLAGS.threads} threads")
    print("\nSeconds: median (min to max)\n")
    print(header(COLUMNS), end="")
    makers = {"random": make_random, "clustered": make_clustered}
    if FLAGS.codes:
        makers["learned"] = make_learned
    for kind, make in makers.items():
        for case in FLAGS[kind].value:
            items, bits, radius = map(int, case.split(":"))
            key = f"{kind} {case}"
            if key not in report["cells"]:
                found = join(make(items, bits, radius), bits, radius)
                report["cells"][key] = {"codes": kind, **found}
                files.write_json(path, report)
            print(row(joined(report["cells"][key])), end="", flush=True)


def join(codes, bits, radius):
    """Checks a join on a part of the codes, then times all of it."""
    compared = check(codes[: FLAGS.compared], bits, radius)
    options = {"threads": FLAGS.threads}
    calls = {
        "pairs": lambda: duplicates.count_pairs(codes, bits, radius, **options),
        "groups": lambda: len(duplicates.groups(codes, bits, radius, **options)),
    }
    found, seconds = {}, {name: [] for name in calls}
    before = memory("VmRSS")
    reset_peak()
    for _ in range(FLAGS.repeats):
        for name, call in calls.items():
            started = time.perf_counter()
            found[name] = call()
            seconds[name].append(time.perf_counter() - started)
    added = max(0, memory("VmHWM") - before)
    checked = found["pairs"] <= duplicates.MOST_PAIRS
    if checked:
        check_pairs(codes, bits, radius)
    return {
        "items": len(codes),
        "bits": bits,
        "radius": radius,
        **found,
        "compared": compared,
        "pairs_checked": checked,
        "seconds": seconds,
        "added_bytes": added,
    }


def memory(name):
    """A line of /proc/self/status, in bytes."""
    status = pathlib.Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(re.search(rf"{name}:\s+(\d+) kB", status)[1])


def reset_peak():
    """From now on, VmHWM is the most memory that the process has had since."""
    pathlib.Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def check(codes, bits, radius):
    """Compares the pairs of a join with those of a comparison of all pairs; returns their number.

    Raises:
        AssertionError: If they differ, or there are none, which would show nothing.
    """
    expected = []
    columns = [np.ascontiguousarray(column) for column in as_words(codes).T]
    for first in range(len(codes)):
        differing = [np.bitwise_count(column[first + 1 :] ^ column[first]) for column in columns]
        distances = sum(differing[1:], start=differing[0].astype("uint16"))
        near = np.flatnonzero(distances <= radius)
        rows = np.full(len(near), first), first + 1 + near, distances[near]
        expected.append(np.stack(rows))
    found = duplicates.pairs(codes, bits, radius, threads=FLAGS.threads)
    np.testing.assert_array_equal(np.stack(found), np.concatenate(expected, axis=1))
    assert len(found.first), "there are no pairs among the codes that are compared"
    return {"codes": len(codes), "pairs": len(found.first)}


def check_pairs(codes, bits, radius):
    """Raises unless all pairs have their distances, once each, and planted ones are among them."""
    found = duplicates.pairs(codes, bits, radius, threads=FLAGS.threads)
    words = as_words(codes)
    for start in range(0, len(found.first), 1_000_000):
        first, second, distances = (column[start : start + 1_000_000] for column in found)
        differing = np.bitwise_count(words[first] ^ words[second]).sum(axis=1, dtype="int32")
        np.testing.assert_array_equal(differing, distances)
    assert (found.distances <= radius).all(), "there are pairs beyond the radius"
    keys = found.first * len(codes) + found.second
    assert (np.diff(keys) > 0).all(), "there are pairs out of order, or twice"
    first, second, distances = planted(len(codes), radius)
    is_found = np.isin(first * len(codes) + second, keys)
    np.testing.assert_array_equal(is_found, distances <= radius)


def planted(items, radius):
    """Pairs to plant, spread over all items: an item and its copy, and their distance.

    Distances are 0 to radius + 1 in turn, so that the last ones must not be found.
    """
    count = min(FLAGS.planted * (radius + 2), items // 2)
    apart = items // max(count, 1)
    first = np.arange(count) * apart
    return first, first + apart // 2, np.arange(count) % (radius + 2)


def make_random(items, bits, radius):
    rng = np.random.default_rng([FLAGS.seed, items, bits])
    return plant(example_codes.random(rng, items, bits), bits, radius, rng)


def make_clustered(items, bits, radius):
    rng = np.random.default_rng([FLAGS.seed, items, bits, 1])
    centers = example_codes.random(rng, -(-items // FLAGS.cluster), bits)
    codes = example_codes.around(rng, centers, items, bits, FLAGS.spread)
    return plant(codes, bits, radius, rng)


def make_learned(items, bits, radius):
    rng = np.random.default_rng([FLAGS.seed, items, bits, 2])
    centers = example_codes.read(FLAGS.codes, bits)
    return plant(example_codes.around(rng, centers, items, bits), bits, radius, rng)


def plant(codes, bits, radius, rng):
    for first, second, distance in zip(*planted(len(codes), radius)):
        codes[second] = codes[first]
        for bit in rng.choice(bits, distance, replace=False):
            codes[second, bit // 8] ^= np.uint8(1 << bit % 8)
    return codes


def as_words(codes):
    """The same bytes as the longest words that fit."""
    length = max(size for size in (1, 2, 4, 8) if codes.shape[1] % size == 0)
    return codes.view(f"uint{8 * length}")


if __name__ == "__main__":
    app.run(main)
