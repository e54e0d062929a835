"""Soak test of an index: threads and processes add, remove, search, save and load, and are killed.

Threads of a process add, remove, search and save at the same time, none waiting for another. Each of the
two that change the index has ids of its own, so it knows which of them are there: items that were there
from before a search until after it must be found, and none that was removed before. From time to time all
changes wait, the results must be those of comparing all codes, and the process saves the index and logs
what it saves. Every few seconds it is killed with SIGKILL. The next process loads the file, checks it
against the log and continues. Another process loads the file in a loop.

    python benchmarks/index_soak.py --output=benchmarks/results/index_soak.json
"""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import reports
from absl import app, flags

from tfhash import files
from tfhash.index import HammingIndex

# Long enough for tables with the items that there are.
BITS, RADIUS, K = 64, 6, 20
MAX_ITEMS = 60_000
CENTERS = np.random.default_rng(0).integers(0, 256, (50, BITS // 8), "uint8")

FLAGS = flags.FLAGS
flags.DEFINE_float("seconds", 600, "Duration.", lower_bound=1)
flags.DEFINE_float("seconds_of_life", 3, "Mean time until a process is killed.", lower_bound=0.1)
flags.DEFINE_integer("seed", 0, "Seed.")
flags.DEFINE_string("output", None, "Result file; none by default.")


def main(_):
    counts = soak(FLAGS.seconds, FLAGS.seconds_of_life, FLAGS.seed)
    print(json.dumps(counts))
    if FLAGS.output:
        settings = {name: FLAGS[name].value for name in ("seconds", "seconds_of_life", "seed")}
        made_with = reports.of_compiled("killed processes, items at the end", settings)
        files.write_json(pathlib.Path(FLAGS.output), {**made_with, **counts})


def soak(seconds, seconds_of_life, seed):
    """Runs processes until the time is over.

    Returns:
        How many processes were killed, and what the last state that was saved holds.

    Raises:
        AssertionError: If anything was lost, or anything wrong was found.
    """
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        end, kills = time.monotonic() + seconds, 0
        reader = _start("read", folder, seed)
        try:
            while time.monotonic() < end:
                writer = _start("write", folder, seed + kills)
                try:
                    writer.wait(chance.expovariate(1 / seconds_of_life) + 1)
                except subprocess.TimeoutExpired:
                    writer.send_signal(signal.SIGKILL)
                    kills += 1
                output = writer.communicate()[0]
                assert writer.returncode == -signal.SIGKILL, output
                assert reader.poll() is None, reader.communicate()[0]
        finally:
            reader.kill()
            output = reader.communicate()[0]
        assert "Error" not in output, output
        saved = len(_load(pathlib.Path(folder))[0])
        return {"kills": kills, "items": saved}


def _start(role, folder, seed):
    command = [sys.executable, __file__, role, folder, str(seed)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env=dict(os.environ), **options)


def codes_of(ids):
    """The codes of ids, so every process knows them: near one of the centers, and many of them equal."""
    ids = np.asarray(ids, np.uint64).reshape(-1)
    mixed = ids * np.uint64(0x9E3779B97F4A7C15)
    codes = CENTERS[(mixed >> np.uint64(40)) % np.uint64(len(CENTERS))].copy()
    for shift in (0, 6, 12):
        bits = (mixed >> np.uint64(20 + shift)) % np.uint64(BITS)
        rows = np.flatnonzero(mixed >> np.uint64(58) > shift)  # some codes stay the center's
        codes[rows, bits[rows] // 8] ^= (1 << bits[rows] % 8).astype("uint8")
    return codes


def _load(folder):
    """The index that was saved last, checked against what was written down before it was saved."""
    path = folder / "photos.index"
    if not path.exists():
        return HammingIndex(BITS), 0
    index = HammingIndex.load(path)
    index.verify()
    codes, ids = index.items()
    np.testing.assert_array_equal(codes, codes_of(ids))
    assert index.names == [f"{item}.png" for item in ids.tolist()]
    generation = int(index.model)
    assert ids.tolist() == json.loads(_notes(folder, generation).read_text())
    return index, generation


def _notes(folder, generation):
    """Where the ids of a generation are written down."""
    return folder / f"notes-{generation}.json"


class Changes:
    """Adds and removes items of an index whose ids leave the remainder `part` of 2.

    Attributes:
        present: Ids that are there, and are not being removed.
        gone: Ids whose removal is done.
    """

    def __init__(self, index, part, chance):
        self.index, self.part, self.chance = index, part, chance
        self.present = {item for item in index.ids.tolist() if item % 2 == part}
        self.gone = set()
        self.lock = threading.Lock()  # held while something changes

    def __call__(self):
        with self.lock:
            if len(self.present) < MAX_ITEMS // 2 and self.chance.random() < 0.6:
                start = 2 * self.chance.randrange(2**40) + self.part
                count = self.chance.choice([1, 10, 300, 5_000])
                ids = sorted(set(range(start, start + 6 * count, 6)) - self.present - self.gone)
                self.index.add(codes_of(ids), ids=ids, names=[f"{item}.png" for item in ids])
                self.present = self.present | set(ids)
            else:
                share = self.chance.choice([0, 0.01, 0.5])
                ids = self.chance.sample(sorted(self.present), int(len(self.present) * share))
                self.present = self.present - set(ids)
                self.index.remove(ids)
                self.gone = self.gone | set(ids)


def check_search(index, changes, chance):
    """Searches while the index changes."""
    query = codes_of([chance.randrange(2**41)])
    gone = [change.gone for change in changes]
    before = set().union(*(change.present for change in changes))
    is_radius = chance.random() < 0.5
    found = index.within(query, RADIUS) if is_radius else index.search(query, K)
    distances, ids = found.distances.reshape(-1), found.ids.reshape(-1)
    lasting = before & set().union(*(change.present for change in changes))
    assert not set(ids.tolist()) & set().union(*gone), "a removed item was found"
    np.testing.assert_array_equal(distances, distances_of(query, ids))
    order = list(zip(distances.tolist(), ids.tolist()))
    assert order == sorted(set(order)), "the order is wrong"
    end = (RADIUS, 2**63) if is_radius else order[-1] if len(order) == K else (BITS, 2**63)
    lasting = np.array(sorted(lasting), np.int64)
    nearer = [
        pair for pair in zip(distances_of(query, lasting).tolist(), lasting.tolist()) if pair <= end
    ]
    assert set(nearer) <= set(order), "an item is missing"


def check_at_rest(index, changes, chance):
    """Searches while nothing changes: the results must be those of comparing all codes."""
    present = np.array(sorted(set().union(*(change.present for change in changes))), np.int64)
    np.testing.assert_array_equal(index.ids, present)
    query = codes_of([chance.randrange(2**41)])
    exact = sorted(zip(distances_of(query, present).tolist(), present.tolist()))
    distances, ids = index.search(query, K)
    assert list(zip(distances[0].tolist(), ids[0].tolist())) == exact[:K]
    for group in index.duplicates(0)[:3]:
        assert len(np.unique(codes_of(group.members), axis=0)) == 1
    return present


def distances_of(query, ids):
    return np.bitwise_count(codes_of(ids) ^ query).sum(axis=1)


def write(folder, seed):
    """Changes the index until killed."""
    index, generation = _load(folder)
    chances = [random.Random(10 * seed + i) for i in range(5)]
    changes = [Changes(index, part, chances[part]) for part in range(2)]
    failures = []

    def guarded(work, *arguments):
        def run():
            try:
                while not failures:
                    work(*arguments)
            except BaseException as error:
                failures.append(error)

        return threading.Thread(target=run, daemon=True)

    def save_meanwhile():
        index.save(folder / "meanwhile.index")
        time.sleep(0.2)

    threads = [guarded(change) for change in changes]
    threads += [guarded(check_search, index, changes, chances[2]), guarded(save_meanwhile)]
    for thread in threads:
        thread.start()
    while not failures:
        time.sleep(chances[3].random())
        with changes[0].lock, changes[1].lock:
            present = check_at_rest(index, changes, chances[4])
            generation += 1
            files.write_json(_notes(folder, generation), present.tolist())
            index._model = str(generation)
            index.save(folder / "photos.index")
            _notes(folder, generation - 1).unlink(missing_ok=True)
    raise failures[0]


def read(folder):
    """Loads the index again and again until killed."""
    while True:
        for name in ("photos.index", "meanwhile.index"):
            if (folder / name).exists():
                index = HammingIndex.load(folder / name)
                index.verify()
                codes, ids = index.items()
                np.testing.assert_array_equal(codes, codes_of(ids))
        time.sleep(0.05)


if __name__ == "__main__":
    if sys.argv[1:2] == ["write"]:
        write(pathlib.Path(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1:2] == ["read"]:
        read(pathlib.Path(sys.argv[2]))
    else:
        app.run(main)
