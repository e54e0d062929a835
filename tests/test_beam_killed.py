"""Whatever of a bulk encoding is killed, all codes are made, and each once."""

import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image
from shard_cases import together

pytest.importorskip("apache_beam", reason="needs the extra beam: pip install '.[beam]'")

from beam_cases import run_here

from tfhash.beam import encode_images
from tfhash.experiments import RunDirectory
from tfhash.experiments.encoding import encode
from tfhash.experiments.progress import Progress
from tfhash.experiments.settings import Source
from tfhash.index import shards

IMAGES, SHARD_SIZE = 80, 2


@pytest.fixture(scope="module")
def given(make_model, tmp_path_factory):
    """Paths of a model and of a folder, and the codes of its images by name."""
    folder = tmp_path_factory.mktemp("killed")
    make_model(image_shape=(8, 8, 3)).save(folder / "model.keras")
    rng = np.random.default_rng(0)
    (folder / "photos").mkdir()
    for i in range(IMAGES):
        pixels = rng.integers(0, 256, (8, 8, 3), "uint8")
        Image.fromarray(pixels).save(folder / "photos" / f"{i}.png")
    model = RunDirectory.of_model(folder / "model.keras").load_model()
    images = str(folder / "photos")
    codes, names = encode(model, Progress(0), images=images, source=Source())
    return str(folder / "model.keras"), images, dict(zip(names, map(bytes, codes)))


def descendants(parent):
    """Process ids of all that a process has started, by their command lines."""
    children, commands = {}, {}
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            above = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            commands[int(path.name)] = (path / "cmdline").read_bytes().decode()
        except OSError:  # it has ended meanwhile
            continue
        children.setdefault(above, []).append(int(path.name))
    found, waiting = {}, [parent]
    while waiting:
        for child in children.get(waiting.pop(), []):
            found[child] = commands.get(child, "")
            waiting.append(child)
    return found


def workers_of(parent):
    return [pid for pid, command in descendants(parent).items() if "sdk_worker_main" in command]


def wait_for(condition, seconds=300):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


def reports(output):
    return list(output.glob("*.report"))


def contents(output):
    ids, codes, names = together(shards.blocks(output))
    assert len(np.unique(ids)) == len(names) == IMAGES
    return dict(zip(names, map(bytes, codes)))


def test_a_worker_that_is_killed_is_replaced(given, tmp_path, capsys):
    model, images, codes = given
    output = tmp_path / "codes"
    killed = []

    def kill():
        wait_for(lambda: reports(output))
        killed.append(workers_of(os.getpid())[0])
        os.kill(killed[0], signal.SIGKILL)
        killed.append(len(reports(output)))

    killer = threading.Thread(target=kill)
    killer.start()
    settings = {"images": images, "shard_size": SHARD_SIZE, "workers": 2, "progress": Progress(2)}
    encode_images(model, output, **settings)
    killer.join()
    assert 0 < killed[1] < IMAGES // SHARD_SIZE
    assert "a worker died; starting again with the" in capsys.readouterr().out
    assert contents(output) == codes
    assert workers_of(os.getpid()) == []


def test_a_run_that_is_killed_ends_its_workers_and_is_continued(
    given, tmp_path, monkeypatch, capsys
):
    model, images, codes = given
    output = tmp_path / "codes"
    command = ["encode", f"--model={model}", f"--images={images}", f"--output={output}"]
    command += ["--runner=direct", "--workers=1", f"--shard_size={SHARD_SIZE}"]
    with subprocess.Popen([sys.executable, "-m", "tfhash", *command]) as process:
        wait_for(lambda: len(reports(output)) > 2)
        started = descendants(process.pid)
        assert workers_of(process.pid)
        process.kill()
    wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in started))
    finished = {path: path.stat().st_mtime_ns for path in reports(output)}
    assert len(finished) < IMAGES // SHARD_SIZE
    # One that was being written is not taken for whole.
    half = min(finished)
    half.write_text(half.read_text()[:20])
    monkeypatch.setattr("tfhash.beam.local.run", run_here)
    settings = {"images": images, "shard_size": SHARD_SIZE, "progress": Progress(2)}
    encode_images(model, output, **settings)
    printed = capsys.readouterr().out
    assert f"{len(finished) - 1:,} of {IMAGES // SHARD_SIZE} shards are there already" in printed
    again = {path: path.stat().st_mtime_ns for path in finished}
    assert {path for path in finished if again[path] != finished[path]} == {half}
    assert contents(output) == codes
    assert not list(output.glob(".partial-*"))
