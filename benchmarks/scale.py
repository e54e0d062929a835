"""Which `scale` of the exponentiated loss retrieves best on validation queries?

A network is pre-trained once for each seed and fine-tuned from that point with every scale, for
the same number of steps. Queries are the validation split, the database is the training subset;
the test split plays no part. Every cell is saved as it ends; run again to go on.

    python benchmarks/scale.py --data_dir=../shared/datasets
"""

import json
import pathlib
import statistics
import tempfile
import time

import keras
import numpy as np
from absl import app, flags

from tfhash import data, files, metrics
from tfhash.callbacks import TwoStageTraining
from tfhash.cli import environment
from tfhash.losses import ExponentiatedHashingLoss
from tfhash.models import HashingModel, build_backbone

FLAGS = flags.FLAGS
flags.DEFINE_string("dataset", "mnist", "Dataset of tensorflow-datasets.")
flags.DEFINE_string("data_dir", None, "Where the prepared dataset is.")
flags.DEFINE_integer("bits", 12, "Length of the codes.")
flags.DEFINE_integer("items", 20_000, "Training items, also the database.")
flags.DEFINE_integer("pretrain_epochs", 3, "Epochs of pre-training.")
flags.DEFINE_integer("finetune_epochs", 4, "Epochs of fine-tuning.")
flags.DEFINE_multi_integer("seeds", [0, 1], "Seeds.")
flags.DEFINE_multi_float("scales", [1.0, 2.0, 4.0, 8.0, 16.0], "Scales.")
flags.DEFINE_string("output", "benchmarks/results/scale.json", "Where results are kept.")

BATCH_SIZE = 256
WIDTH = 16


def main(_):
    output = pathlib.Path(FLAGS.output)
    settings = {
        name: FLAGS[name].value
        for name in ("dataset", "bits", "items", "pretrain_epochs", "finetune_epochs")
    }
    report = json.loads(output.read_text()) if output.exists() else {"cells": {}}
    if report.setdefault("settings", settings) != settings:
        raise ValueError(f"{output} was made with {report['settings']}, not with {settings}")
    report.update(environment.describe())
    splits = data.load(FLAGS.dataset, data_dir=FLAGS.data_dir)
    train = _arrays(splits.train.take(FLAGS.items))
    queries = _arrays(splits.validation)
    for seed in FLAGS.seeds:
        missing = [scale for scale in FLAGS.scales if _name(scale, seed) not in report["cells"]]
        if not missing:
            continue
        with tempfile.TemporaryDirectory() as directory:
            start = pathlib.Path(directory) / "pretrained.weights.h5"
            _pretrain(train, splits, seed).save_weights(start)
            for scale in missing:
                cell = _finetune(start, scale, train, queries, splits, seed)
                report["cells"][_name(scale, seed)] = cell
                files.write_json(output, report)
                print(_name(scale, seed), cell, flush=True)
    print(_table(report))


def _arrays(split):
    images, labels = zip(*split.batches(1000).as_numpy_iterator())
    return np.concatenate(images), np.concatenate(labels)


def _name(scale, seed):
    return f"scale={scale:g} seed={seed}"


def _model(splits, seed, loss=None):
    keras.utils.set_random_seed(seed)
    backbone = build_backbone("convnet", splits.image_shape, WIDTH)
    model = HashingModel(backbone, FLAGS.bits, len(splits.classes))
    model.build((None, *splits.image_shape))
    model.compile(keras.optimizers.AdamW(weight_decay=1e-4), hashing_loss=loss)
    return model


def _schedule(rate, epochs):
    return keras.optimizers.schedules.CosineDecay(rate, epochs * (FLAGS.items // BATCH_SIZE))


def _pretrain(train, splits, seed):
    epochs = FLAGS.pretrain_epochs
    model = _model(splits, seed)
    stages = TwoStageTraining(epochs, pretrain_learning_rate=_schedule(2e-3, epochs))
    model.fit(*train, BATCH_SIZE, epochs, verbose=2, callbacks=[stages])
    return model


def _finetune(start, scale, train, queries, splits, seed):
    epochs = FLAGS.finetune_epochs
    model = _model(splits, seed, ExponentiatedHashingLoss(scale))
    model.begin_stage("pretrain", learning_rate=_schedule(2e-3, FLAGS.pretrain_epochs))
    model.load_weights(start)
    started = time.time()
    stages = TwoStageTraining(0, finetune_learning_rate=_schedule(1e-3, epochs))
    history = model.fit(*train, BATCH_SIZE, epochs, verbose=0, callbacks=[stages]).history
    database, packed = (model.encode(images) for images in (train[0], queries[0]))
    histograms = metrics.distance_histograms(packed, database, queries[1], train[1], FLAGS.bits)
    return {
        "val_map": round(metrics.mean_average_precision(histograms), 5),
        "val_precision_radius_2": round(metrics.precision_within_radius(histograms, 2), 5),
        "distinct_codes": metrics.count_distinct_codes(database),
        "saturation": round(history["finetune_saturation"][-1], 4),
        "seconds": round(time.time() - started, 1),
    }


def _table(report):
    lines = [f"{'scale':>7}{'val mAP':>10}{'+-':>9}{'P(r<=2)':>10}{'codes':>7}"]
    for scale in FLAGS.scales:
        cells = [report["cells"][_name(scale, seed)] for seed in FLAGS.seeds]
        value, precision, codes = (
            [cell[key] for cell in cells]
            for key in ("val_map", "val_precision_radius_2", "distinct_codes")
        )
        spread = statistics.stdev(value) if len(value) > 1 else 0.0
        lines.append(
            f"{scale:7g}{statistics.mean(value):10.4f}{spread:9.4f}"
            f"{statistics.mean(precision):10.4f}{statistics.mean(codes):7.0f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    app.run(main)
