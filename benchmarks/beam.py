"""Speed of bulk encoding on Apache Beam on 1 and 2 workers, beside `tfhash encode`.

Makes JPEGs of noise in a temporary folder and an untrained network, and runs the commands, each in
processes of its own. They alternate, and ratios are taken within a round. Seconds are of whole commands:
start, loading the network and tracing included, which take longer with more processes. So give enough
images. The codes of all ways are compared; a code may differ where sums of another batch round another
way.

    python benchmarks/beam.py
"""

import pathlib
import subprocess
import sys
import tempfile
import time

import keras
import numpy as np
import reports
from absl import app, flags
from PIL import Image
from tables import header, row

from tfhash import files
from tfhash.experiments import environment
from tfhash.experiments.code_files import read_codes
from tfhash.models import HashingModel, build_backbone

FLAGS = flags.FLAGS
flags.DEFINE_integer("images", 8192, "Number of images.", lower_bound=1)
flags.DEFINE_integer("stored_side", 500, "Side of the images in pixels.", lower_bound=1)
flags.DEFINE_integer("side", 224, "Side of the network's input.", lower_bound=1)
flags.DEFINE_string("backbone", "MobileNetV3Small", "Backbone, with random weights.")
flags.DEFINE_integer("bits", 64, "Length of the codes.", lower_bound=1)
flags.DEFINE_integer("shard_size", 512, "Images of a shard.", lower_bound=1)
flags.DEFINE_integer("repeats", 3, "Rounds.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Seed of the images and the weights.")
flags.DEFINE_string("output", "benchmarks/results/beam.json", "Result file.")

SETTINGS = ("images", "stored_side", "side", "backbone", "bits", "shard_size", "repeats", "seed")
WAYS = {
    "tfhash encode": None,
    "direct, 1 worker": 1,
    "direct, 2 workers": 2,
}


def main(_):
    path = pathlib.Path(FLAGS.output)
    made_with = {
        "settings": {name: FLAGS[name].value for name in SETTINGS},
        "unit": "seconds of each round, of the whole command",
        **environment.describe(["apache-beam"]),
    }
    report = reports.read(path, made_with)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        prepare(folder)
        for number in range(FLAGS.repeats):
            if (key := f"round {number}") not in report["cells"]:
                report["cells"][key] = one_round(folder)
                files.write_json(path, report)
    print(header(("way", "images per second", "times tfhash encode")), end="")
    for way in WAYS:
        cells = report["cells"].values()
        rates = [FLAGS.images / cell[way]["seconds"] for cell in cells]
        ratios = [cell["tfhash encode"]["seconds"] / cell[way]["seconds"] for cell in cells]
        print(row((way, f"{np.median(rates):,.0f}", f"{np.median(ratios):.2f}")), end="")


def prepare(folder):
    """Writes the images and the network."""
    rng = np.random.default_rng(FLAGS.seed)
    (folder / "images").mkdir()
    for i in range(FLAGS.images):
        coarse = Image.fromarray(rng.integers(0, 256, (16, 16, 3), "uint8"))
        side = FLAGS.stored_side
        coarse.resize((side, side), Image.Resampling.BICUBIC).save(folder / f"images/{i:06d}.jpg")
    keras.utils.set_random_seed(FLAGS.seed)
    shape = (FLAGS.side, FLAGS.side, 3)
    model = HashingModel(build_backbone(FLAGS.backbone, shape), FLAGS.bits, num_classes=10)
    model.build((None, *shape))
    model.save(folder / "model.keras")


def one_round(folder):
    """Seconds of each way, and how many of its codes are not those of `tfhash encode`."""
    found, expected = {}, None
    for way, workers in WAYS.items():
        with tempfile.TemporaryDirectory() as output:
            target = pathlib.Path(output) / ("codes" if workers else "codes.npz")
            command = [f"--model={folder / 'model.keras'}", f"--images={folder / 'images'}"]
            command += [f"--output={target}"]
            if workers:
                sizes = [f"--workers={workers}", f"--shard_size={FLAGS.shard_size}"]
                command += ["--runner=direct", *sizes]
            started = time.perf_counter()
            subprocess.run([sys.executable, "-m", "tfhash", "encode", *command], check=True)
            seconds = time.perf_counter() - started
            read = read_codes(target)
        codes = dict(zip(read.names, map(bytes, read.codes)))
        expected = expected or codes
        assert codes.keys() == expected.keys(), "images are missing"
        differing = sum(codes[name] != expected[name] for name in codes)
        found[way] = {"seconds": seconds, "differing_codes": differing}
        print(way, found[way], flush=True)
    return found


if __name__ == "__main__":
    app.run(main)
