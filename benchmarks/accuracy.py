"""Every loss on one backbone, one budget and one protocol.

For each seed a network is pre-trained once, and every arm fine-tunes it from there for the same
number of steps, at the same learning rate, on the same batches. The last weights count; the test
queries are asked once, when a cell ends. Validation queries are reported beside them, for choices
may rest on those alone. Every cell is saved as it ends: run again to go on.

    python benchmarks/accuracy.py --dataset=mnist --data_dir=../shared/datasets
    python benchmarks/accuracy.py --dataset=cifar10 --data_dir=../shared/datasets
"""

import dataclasses
import json
import pathlib
import statistics
import time
from collections.abc import Callable

import keras
from absl import app, flags

from tfhash import data, files, losses, metrics
from tfhash.callbacks import TanhContinuation, TwoStageTraining
from tfhash.cli import environment
from tfhash.data import Augmentation
from tfhash.data.content import digest
from tfhash.models import HashingModel, build_backbone

FLAGS = flags.FLAGS
flags.DEFINE_enum("dataset", "mnist", ["mnist", "cifar10"], "Dataset of tensorflow-datasets.")
flags.DEFINE_string("data_dir", None, "Where the prepared dataset is.")
flags.DEFINE_multi_integer("seeds", [0, 1, 2], "Seeds.")
flags.DEFINE_multi_string("arms", None, "Names of the arms to run; by default all.")
flags.DEFINE_string("checkpoints", "runs/accuracy", "Where pre-trained weights are kept.")
flags.DEFINE_string("output_dir", "benchmarks/results", "Where accuracy-DATASET.json is kept.")


@dataclasses.dataclass(frozen=True)
class Budget:
    """One network and one training, for all arms."""

    backbone: str
    width: int
    batch_size: int
    pretrain_epochs: int
    finetune_epochs: int
    weight_decay: float
    label_smoothing: float
    augmentation: Augmentation
    pretrain_learning_rate: float = 2e-3
    finetune_learning_rate: float = 1e-3


BUDGETS = {
    "mnist": Budget("convnet", 16, 256, 3, 4, 1e-4, 0.0, Augmentation(max_shift=2)),
    "cifar10": Budget(
        "whitenet", 32, 500, 6, 3, 0.05, 0.1, Augmentation(max_shift=2, flip=True, cutout=8)
    ),
}


@dataclasses.dataclass(frozen=True)
class Arm:
    """What is compared: a loss at a length of code, and how it is trained."""

    loss: Callable[[int, int], keras.losses.Loss]  # of the number of classes and the bits
    bits: int = 12
    pretrained: bool = True
    continuation: bool = False


def _exponentiated(**arguments):
    return lambda classes, bits: losses.ExponentiatedHashingLoss(**arguments)


ARMS = {
    "exponentiated": Arm(_exponentiated()),
    "DPSH": Arm(lambda classes, bits: losses.DPSHLoss()),
    "HashNet": Arm(lambda classes, bits: losses.HashNetLoss(), continuation=True),
    "DCH": Arm(lambda classes, bits: losses.DCHLoss()),
    "DTSH": Arm(lambda classes, bits: losses.DTSHLoss()),
    "CSQ": Arm(losses.CSQLoss),
    "OrthoHash": Arm(losses.OrthoHashLoss),
    "GreedyHash": Arm(losses.GreedyHashLoss),
    **{f"exponentiated, {bits} bits": Arm(_exponentiated(), bits) for bits in (24, 32, 48, 64)},
    "exponentiated, not pre-trained": Arm(_exponentiated(), pretrained=False),
    "exponentiated, not bilinear": Arm(_exponentiated(approximation=None)),
    **{
        f"exponentiated, scale {scale:g}": Arm(_exponentiated(scale=scale))
        for scale in (1.0, 2.0, 8.0, 16.0)
    },
}


def main(_):
    budget = BUDGETS[FLAGS.dataset]
    output = pathlib.Path(FLAGS.output_dir) / f"accuracy-{FLAGS.dataset}.json"
    report = json.loads(output.read_text()) if output.exists() else {"cells": {}}
    splits = data.load(FLAGS.dataset, data_dir=FLAGS.data_dir)
    settings = {
        "dataset": FLAGS.dataset,
        "protocol": splits.protocol,
        "fingerprint": splits.fingerprint(),
        **dataclasses.asdict(budget),
    }
    if report.setdefault("settings", settings) != settings:
        raise ValueError(f"{output} was made with {report['settings']}, not with {settings}")
    checkpoints = pathlib.Path(FLAGS.checkpoints) / digest(json.dumps(settings).encode())[:12]
    for seed in FLAGS.seeds:
        for name in FLAGS.arms or ARMS:
            cell = f"{name}, seed {seed}"
            if cell in report["cells"]:
                continue
            checkpoint = checkpoints / f"{seed}.weights.h5"
            report["cells"][cell] = run(ARMS[name], budget, splits, seed, checkpoint)
            files.write_json(output, report)
            print(f"{cell}: {json.dumps(report['cells'][cell])}", flush=True)
    print(table(report))


def run(arm, budget, splits, seed, checkpoint):
    """Trains and measures one cell. `checkpoint` holds, or will hold, the pre-trained backbone."""
    model = build(arm, budget, splits, seed)
    # Arms without pre-training have the steps of both stages, and the same batches.
    epochs, first_epoch = budget.finetune_epochs + budget.pretrain_epochs, 0
    if arm.pretrained:
        restore_pretrained(model.backbone, budget, splits, seed, checkpoint)
        epochs, first_epoch = budget.finetune_epochs, budget.pretrain_epochs
    callbacks = [
        TwoStageTraining(0, None, schedule(budget.finetune_learning_rate, budget, splits, epochs))
    ]
    if arm.continuation:
        callbacks.append(TanhContinuation())
    started = time.time()
    try:
        history = fit(model, budget, splits, seed, first_epoch, epochs, callbacks)
    except FloatingPointError as error:
        return {"diverged": str(error), **environment.describe()}
    seconds = time.time() - started
    return {
        **measure(model, splits),
        "saturation": history["finetune_saturation"][-1],
        "seconds": round(seconds, 1),
        **environment.describe(),
    }


def build(arm, budget, splits, seed):
    keras.utils.set_random_seed(seed)
    backbone = build_backbone(budget.backbone, splits.image_shape, budget.width)
    classes = len(splits.classes)
    model = HashingModel(backbone, arm.bits, classes)
    model.build((None, *splits.image_shape))
    model.adapt(splits.train.take(5000).batches())
    model.compile(
        keras.optimizers.AdamW(weight_decay=budget.weight_decay),
        hashing_loss=arm.loss(classes, arm.bits),
        classification_loss=losses.SmoothedCrossentropy(budget.label_smoothing),
    )
    return model


def restore_pretrained(backbone, budget, splits, seed, checkpoint):
    """Gives a backbone the pre-trained weights of a seed, after training them if need be."""
    if not checkpoint.exists():
        model = build(ARMS["exponentiated"], budget, splits, seed)
        epochs = budget.pretrain_epochs
        rate = schedule(budget.pretrain_learning_rate, budget, splits, epochs)
        model.begin_stage("pretrain", rate)
        fit(model, budget, splits, seed, 0, epochs, [])
        with files.written_whole(checkpoint) as temporary:
            model.backbone.save_weights(temporary)
    backbone.load_weights(checkpoint)


def schedule(rate, budget, splits, epochs):
    steps = epochs * splits.train.steps_per_epoch(budget.batch_size)
    rising = steps // 5
    return keras.optimizers.schedules.CosineDecay(
        0.0, steps - rising, warmup_target=rate, warmup_steps=rising
    )


def fit(model, budget, splits, seed, first_epoch, epochs, callbacks):
    batches = splits.train.shuffled_batches(
        budget.batch_size, seed, first_epoch, budget.augmentation
    )
    steps = splits.train.steps_per_epoch(budget.batch_size)
    fitted = model.fit(
        batches,
        epochs=epochs,
        steps_per_epoch=steps,
        shuffle=False,
        verbose=2,
        callbacks=callbacks,
    )
    return fitted.history


def measure(model, splits):
    """Test queries against the database, and validation queries against the training items."""
    packed = {
        name: model.encode(getattr(splits, name).batches())
        for name in ("train", "validation", "queries", "database")
    }

    def histograms(queries, database):
        return metrics.distance_histograms(
            packed[queries],
            packed[database],
            getattr(splits, queries).labels,
            getattr(splits, database).labels,
            model.bits,
        )

    return {
        "bits": model.bits,
        "metrics": metrics.summarize(histograms("queries", "database")),
        "val_map": metrics.mean_average_precision(histograms("validation", "train")),
        "distinct_codes": metrics.count_distinct_codes(packed["database"]),
    }


def table(report):
    """Mean and standard deviation over seeds, as Markdown."""
    lines = [
        "| arm | bits | mAP | precision, radius 2 | validation mAP | distinct codes | seeds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, arm in ARMS.items():
        cells = [
            report["cells"][f"{name}, seed {seed}"]
            for seed in FLAGS.seeds
            if "metrics" in report["cells"].get(f"{name}, seed {seed}", {})
        ]
        if not cells:
            continue
        columns = [
            [cell["metrics"]["map"] for cell in cells],
            [cell["metrics"]["precision_radius_2"] for cell in cells],
            [cell["val_map"] for cell in cells],
        ]
        codes = statistics.mean(cell["distinct_codes"] for cell in cells)
        figures = " | ".join(mean_and_deviation(values) for values in columns)
        lines.append(f"| {name} | {arm.bits} | {figures} | {codes:.0f} | {len(cells)} |")
    return "\n".join(lines)


def mean_and_deviation(values):
    deviation = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{deviation}"


if __name__ == "__main__":
    app.run(main)
