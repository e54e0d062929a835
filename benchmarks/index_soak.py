"""Soak test of an index: threads and processes add, remove, search, save and load, and are killed.

Two threads of a process change an index and a dictionary with the same items; other threads search the
index and check the results. From time to time the process saves the index and logs what it saved. Every
few seconds it is killed with SIGKILL. The next process loads the file, checks it against the log and
continues. Another process loads the file in a loop.

    python benchmarks/index_soak.py --seconds=600
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
from absl import app, flags

from tfhash import files
from tfhash.index import HammingIndex

BITS = 20
MAX_ITEMS = 40_000

FLAGS = flags.FLAGS
flags.DEFINE_float("seconds", 600, "Duration.", lower_bound=1)
flags.DEFINE_float("seconds_of_life", 3, "Mean time until a process is killed.", lower_bound=0.1)
flags.DEFINE_integer("seed", 0, "Seed.")


def main(_):
    counts = soak(FLAGS.seconds, FLAGS.seconds_of_life, FLAGS.seed)
    print(json.dumps(counts))


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


def code_of(item):
    """The code of an id: so every process knows it."""
    # An odd multiplier spreads ids; some of its bits are dropped, so that codes repeat.
    number = (item * 2654435761) % 2**32 >> (12 + item % 3)
    return np.array([number & 255, number >> 8 & 255, number >> 16 & 15], np.uint8)


def codes_of(ids):
    return np.array([code_of(item) for item in ids], np.uint8).reshape(-1, 3)


def _load(folder):
    """The index that was saved last, checked against what was written down."""
    path, notes = folder / "photos.index", folder / "notes.json"
    if not path.exists():
        assert not notes.exists()
        return HammingIndex(BITS), 0
    index = HammingIndex.load(path)
    index.verify()
    codes, ids = index.items()
    np.testing.assert_array_equal(codes, codes_of(ids.tolist()))
    assert index.names == [f"{item}.png" for item in ids.tolist()]
    generation = int(index.model)
    if notes.exists():
        written = json.loads(notes.read_text())
        # Killed between the two, the index is one ahead.
        assert generation in (written["generation"], written["generation"] + 1)
        if generation == written["generation"]:
            assert ids.tolist() == written["ids"]
    return index, generation


def write(folder, seed):
    """Changes the index until killed."""
    chance = random.Random(seed)
    index, generation = _load(folder)
    model, changing, failures = set(index.ids.tolist()), threading.Lock(), []

    def guarded(work):
        def run():
            try:
                while not failures:
                    work()
            except BaseException as error:
                failures.append(error)

        return threading.Thread(target=run, daemon=True)

    def change():
        with changing:
            if len(model) < MAX_ITEMS and chance.random() < 0.6:
                start = chance.randrange(2**40)
                count = chance.choice([1, 10, 300, 5_000])
                ids = sorted(set(range(start, start + 3 * count, 3)) - model)
                index.add(codes_of(ids), ids=ids, names=[f"{item}.png" for item in ids])
                model.update(ids)
            else:
                ids = chance.sample(sorted(model), int(len(model) * chance.choice([0, 0.01, 0.5])))
                index.remove(ids)
                model.difference_update(ids)
            assert len(index) == len(model)

    def search():
        query = code_of(chance.randrange(2**40))[None]
        distances, ids = index.search(query, 20)
        found = np.bitwise_count(codes_of(ids[0].tolist()) ^ query).sum(axis=1)
        np.testing.assert_array_equal(distances[0], found)
        order = list(zip(distances[0].tolist(), ids[0].tolist()))
        assert order == sorted(set(order))
        with changing:
            exact = sorted(
                zip(np.bitwise_count(codes_of(model) ^ query).sum(axis=1).tolist(), model)
            )[:20]
            distances, ids = index.search(query, 20)
            assert list(zip(distances[0].tolist(), ids[0].tolist())) == exact

    threads = [guarded(change), guarded(change), guarded(search)]
    for thread in threads:
        thread.start()
    while not failures:
        time.sleep(chance.random())
        with changing:
            generation += 1
            index._model = str(generation)
            index.save(folder / "photos.index")
            ids = sorted(model)
            files.write_json(folder / "notes.json", {"generation": generation, "ids": ids})
    raise failures[0]


def read(folder):
    """Loads the index again and again until killed."""
    while True:
        if (folder / "photos.index").exists():
            index = HammingIndex.load(folder / "photos.index")
            codes, ids = index.items()
            np.testing.assert_array_equal(codes, codes_of(ids.tolist()))
        time.sleep(0.05)


if __name__ == "__main__":
    if sys.argv[1:2] == ["write"]:
        write(pathlib.Path(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1:2] == ["read"]:
        read(pathlib.Path(sys.argv[2]))
    else:
        app.run(main)
