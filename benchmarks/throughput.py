"""Images per second of fine-tuning, compared with training the same backbone as a classifier.

Both train on the same batches of random images with the same optimizer. They alternate, and ratios are
taken within a round. Each cell is saved when it is done: run again to continue.

    python benchmarks/throughput.py
"""

import pathlib

import keras
import numpy as np
import reports
import tables
from absl import app, flags
from timing import divide, rounds

from tfhash import files
from tfhash.experiments import environment
from tfhash.layers import ImageScaling
from tfhash.models import BACKBONES, HashingModel, build_backbone
from tfhash.optimizers import ConvMuon

FLAGS = flags.FLAGS
flags.DEFINE_multi_integer("bits", [12, 64], "Lengths of the codes.")
flags.DEFINE_multi_integer("batch_sizes", [256, 512, 1024, 2048], "Images in a batch.")
flags.DEFINE_enum("backbone", "whitenet", list(BACKBONES), "Backbone.")
flags.DEFINE_integer("width", 48, "Channels of the backbone's first layer.")
flags.DEFINE_integer("repeats", 31, "Rounds of each cell.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Seed of the weights and the images.")
flags.DEFINE_string("output", "benchmarks/results/throughput.json", "Result file.")

IMAGE_SHAPE = (32, 32, 3)
CLASSES = 10


def main(_):
    output = pathlib.Path(FLAGS.output)
    settings = {name: FLAGS[name].value for name in ("backbone", "width", "repeats", "seed")}
    settings["optimizer"] = optimizer().name
    report = reports.read(output, {"settings": settings, **environment.describe()})
    report["unit"] = "images per second, of each round"
    print(tables.header(tables.THROUGHPUT_COLUMNS), end="")
    for bits in FLAGS.bits:
        for batch_size in FLAGS.batch_sizes:
            name = f"{bits} bits, batch {batch_size}"
            if name not in report["cells"]:
                report["cells"][name] = measure(bits, batch_size)
                files.write_json(output, report)
            print(tables.throughput(name, report["cells"][name]), end="", flush=True)


def measure(bits, batch_size):
    keras.utils.set_random_seed(FLAGS.seed)
    rng = np.random.default_rng([FLAGS.seed, bits, batch_size])
    images = rng.integers(0, 256, (batch_size, *IMAGE_SHAPE), "uint8")
    labels = rng.integers(0, CLASSES, batch_size)
    steps = {
        name: lambda model=model: model.train_on_batch(images, labels)
        for name, model in (("plain", plain_classifier()), ("finetune", hashing_model(bits)))
    }
    for step in steps.values():  # traced and compiled before it counts
        step()
        step()
    rates = {
        name: [batch_size / second for second in seconds]
        for name, seconds in rounds(steps, FLAGS.repeats).items()
    }
    return {**rates, "share": divide(rates["finetune"], rates["plain"])}


def plain_classifier():
    backbone = build_backbone(FLAGS.backbone, IMAGE_SHAPE, FLAGS.width)
    images = keras.Input(IMAGE_SHAPE)
    model = keras.Model(images, keras.layers.Dense(CLASSES)(backbone(ImageScaling()(images))))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer(), loss, metrics=["accuracy"])
    return model


def hashing_model(bits):
    model = HashingModel(build_backbone(FLAGS.backbone, IMAGE_SHAPE, FLAGS.width), bits, CLASSES)
    model.build((None, *IMAGE_SHAPE))
    model.compile(optimizer())
    model.begin_stage("finetune")
    return model


def optimizer():
    return ConvMuon(1e-3, weight_decay=0.5)


if __name__ == "__main__":
    app.run(main)
