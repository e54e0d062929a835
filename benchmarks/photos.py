"""Speed and memory of reading photos of 12 megapixels, and what decoding at a reduced size changes.

Makes JPEGs of noise with the spectrum of photos in a temporary folder and reads them as training does,
shuffled, once decoded in full and once at a reduced size, then into a disk cache and from it. Every
measurement is a process of its own; they alternate, and ratios are taken within a round. All photos
count as too many for memory.

    python benchmarks/photos.py
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import tables
from absl import app, flags

from tfhash import files
from tfhash.experiments import environment

FLAGS = flags.FLAGS
flags.DEFINE_integer("photos", 100, "Number of photos.")
flags.DEFINE_integer("side", 224, "Side of the network's input.")
flags.DEFINE_integer("repeats", 3, "Rounds.", lower_bound=1)
flags.DEFINE_string("output", "benchmarks/results/photos.json", "Result file.")

SIZE = (3000, 4000)
BATCH_SIZE = 32
WAYS = ("decoded in full", "at a reduced size", "into the disk cache", "from the disk cache")

# Sides of networks' inputs and margins whose pixels are compared with those of full decodings.
SIDES = (32, 48, 64, 100, 224)
MARGINS = (1, 2, 4)


def main(argv):
    if len(argv) > 1:
        print(json.dumps(read(argv[1], argv[2], FLAGS.side)))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_photos(pathlib.Path(folder))
        rounds = []
        for _ in range(FLAGS.repeats):
            rounds.append({way: measure(way, folder) for way in WAYS})
            print(rounds[-1], flush=True)
    cells = {
        way: {
            "images_per_second": [found[way]["images_per_second"] for found in rounds],
            "times_full": [
                found[way]["images_per_second"] / found[WAYS[0]]["images_per_second"]
                for found in rounds
            ],
            **{key: [found[way][key] for found in rounds] for key in ("peak_mb", "own_mb")},
        }
        for way in WAYS
    }
    report = {
        "settings": {name: FLAGS[name].value for name in ("photos", "side", "repeats")},
        "unit": "images per second; MB = 10^6 bytes, the most that reading added, and without what is "
        "mapped from files; mean and largest differences of pixels, of 255",
        "cells": cells,
        "differences": differences(),
        **environment.describe(),
    }
    files.write_json(pathlib.Path(FLAGS.output), report)
    print(tables.header(tables.PHOTO_COLUMNS), end="")
    for name, cell in cells.items():
        print(tables.photos(name, cell), end="")


def write_photos(folder):
    from PIL import Image

    scenes = [np.tile(noise(SIZE[0] // 2, SIZE[1] // 2, seed), (2, 2, 1)) for seed in range(3)]
    rng = np.random.default_rng(0)
    for number in range(FLAGS.photos):
        pixels = np.roll(scenes[number % len(scenes)], rng.integers(0, SIZE), axis=(0, 1))
        path = folder / "photos" / f"class {number % 2}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, quality=90)


def noise(height, width, seed):
    """Colored noise whose amplitude falls with the frequency, as that of photos does."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf
    planes = []
    for _ in range(3):
        spectrum = np.fft.rfft2(rng.normal(size=(height, width)).astype("float32")) / frequency
        plane = np.fft.irfft2(spectrum, (height, width))
        planes.append(plane / plane.std())
    mixed = 40 * np.mean(planes, axis=0)[..., None] + 20 * np.stack(planes, axis=-1)
    return np.clip(128 + mixed, 0, 255).astype("uint8")


def measure(way, folder):
    command = [sys.executable, __file__, way, folder, f"--side={FLAGS.side}"]
    finished = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(finished.stdout.splitlines()[-1])


def read(way, folder, side):
    """Reads an epoch; images per second and the memory that it added, in MB."""
    from tfhash import data
    from tfhash.data import sources
    from tfhash.data.images import resize_to

    sources.MEMORY_BYTES = 0
    cache = pathlib.Path(folder) / "cache"
    if way == "into the disk cache":
        for path in cache.glob("images-*"):
            path.unlink()
    if way == "decoded in full":
        sources.FileSource.resized_image = lambda source, index, shape: resize_to(
            source.image(index), shape
        )
    options = {"query_fraction": 0.1, "validation_fraction": 0, "image_size": side}
    # The cache knows the files, so that examining them takes no part.
    train = data.load(f"{folder}/photos", cache_dir=cache, **options).train
    if "cache" not in way:
        train.source._cache = None
    before = memory()
    peak, is_done = [before], threading.Event()
    watcher = threading.Thread(target=watch, args=(peak, is_done))
    watcher.start()
    started = time.perf_counter()
    count = train.steps_per_epoch(BATCH_SIZE)
    images = sum(len(batch) for batch, _ in train.shuffled_batches(BATCH_SIZE, 0).take(count))
    seconds = time.perf_counter() - started
    is_done.set()
    watcher.join()
    total, own = (round((max(found) - first) / 1e6) for first, found in zip(before, zip(*peak)))
    if way == "into the disk cache":
        images = len(train)
    return {"images_per_second": images / seconds, "peak_mb": total, "own_mb": own}


def watch(peak, is_done):
    while not is_done.wait(0.01):
        peak.append(memory())


def memory():
    """Resident bytes of this process, and those of them that are not mapped from files."""
    lines = pathlib.Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    found = dict(line.split(":", 1) for line in lines)
    return tuple(1024 * int(found[key].split()[0]) for key in ("VmRSS", "RssAnon"))


def differences():
    """Differences of pixels after decoding at a reduced size, for each margin and side."""
    import io

    from PIL import Image
    from sklearn.datasets import load_sample_images

    from tfhash.data import decoding, images

    pictures = [*load_sample_images().images, noise(1500, 2000, 0)]
    found = {}
    for margin in MARGINS:
        decoding.MARGIN = margin
        decoding.trace.cache_clear()  # traced with another margin
        for side in SIDES:
            errors = []
            for pixels in pictures:
                contents = io.BytesIO()
                Image.fromarray(pixels).save(contents, "JPEG", quality=90)
                shape = side, side, 3
                whole = images.resize_to(decoding.decode_image(contents.getvalue()), shape)
                reduced = images.decode_and_resize(contents.getvalue(), shape)
                errors.append(np.abs(whole.numpy().astype(int) - reduced.numpy()))
            found[f"margin {margin}, side {side}"] = {
                "mean": round(max(float(error.mean()) for error in errors), 3),
                "largest": max(int(error.max()) for error in errors),
            }
    return found


if __name__ == "__main__":
    app.run(main)
