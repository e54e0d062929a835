"""What a server sees while a version is added, and after an export is killed."""

import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from raw_session import RawSession

from tfhash.export import export_saved_model


@pytest.fixture
def images(striped):
    return striped[0][:8]


def codes_of(version, images):
    return RawSession(version).run("encode", images=images)["codes"]


def versions_in(directory):
    return sorted(path.name for path in directory.iterdir() if path.name.isdigit())


def contents(version):
    """Path and size of each file."""
    return {path: path.stat().st_size for path in version.rglob("*") if path.is_file()}


def test_a_version_is_whole_when_a_server_first_sees_it_and_the_other_still_serves(
    make_model, images, tmp_path
):
    """The watcher lists the directory all the time, as a server does from time to time."""
    old, new = make_model(seed=0), make_model(seed=1)
    first = export_saved_model(old, tmp_path)
    serving = RawSession(first)
    seen, finished = {}, threading.Event()

    def watch():
        last = False
        while not last:
            last = finished.is_set()
            for name in versions_in(tmp_path):
                if name not in seen:
                    seen[name] = contents(tmp_path / name)
            answers.append(serving.run("encode", images=images)["codes"])

    answers = []
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        second = export_saved_model(new, tmp_path)
    finally:
        finished.set()
        watcher.join()
    assert seen == {version.name: contents(version) for version in (first, second)}
    np.testing.assert_array_equal(answers, [old.encode(images)] * len(answers))
    assert len(answers) > 1
    np.testing.assert_array_equal(codes_of(second, images), new.encode(images))
    assert (old.encode(images) != new.encode(images)).any()


KILLED = """
import sys, time
import keras
import tensorflow as tf
from tfhash.export import export_saved_model
save = tf.saved_model.save
def wait_after(*arguments, **options):
    save(*arguments, **options)
    print("half", flush=True)
    time.sleep(600)
tf.saved_model.save = wait_after
export_saved_model(keras.saving.load_model(sys.argv[1]), sys.argv[2])
"""


def test_kill_9_in_the_middle_of_an_export_leaves_what_was_served_and_the_next_one_cleans_up(
    make_model, images, tmp_path
):
    model, directory = make_model(), tmp_path / "served"
    model.save(tmp_path / "model.keras")
    first = export_saved_model(model, directory)
    command = [sys.executable, "-c", KILLED, tmp_path / "model.keras", directory]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"half\n"
        finally:
            process.send_signal(signal.SIGKILL)
    (half,) = directory.glob(".partial-*")
    assert (half / "saved_model.pb").exists()
    assert versions_in(directory) == ["1"]
    np.testing.assert_array_equal(codes_of(first, images), model.encode(images))
    assert export_saved_model(model, directory).name == "2"
    left = {path.name for path in directory.iterdir()}
    assert left == {"1", "2", "model.config", "batching.config"}
