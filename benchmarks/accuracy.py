"""Compares all losses with the same backbone, training budget and protocol.

For each seed, a network is pre-trained once. Every arm fine-tunes it for the same number of steps, with
the same learning rates, on the same batches. The final weights are evaluated, once, on the test queries;
design choices are based on the validation queries alone, which are reported as well. Each cell is saved
when it is done: run again to continue. Several processes with different seeds can run at the same time.

    python benchmarks/accuracy.py --dataset=mnist --title=MNIST --data_dir=../shared/datasets
    python benchmarks/accuracy.py --dataset=cifar10 --title="CIFAR-10 (JPEG copy)" \
        --data_dir=../shared/datasets
"""

import dataclasses
import json
import math
import pathlib
import re
import statistics
import time
from collections.abc import Callable

import keras
import numpy as np
import reports
import tables
from absl import app, flags
from matplotlib.figure import Figure

from tfhash import data, files, losses, metrics, plots
from tfhash.callbacks import TanhContinuation
from tfhash.data.content import digest
from tfhash.experiments import environment, make_recipe, network
from tfhash.experiments.baselines import (
    PREDICTED_CLASS,
    SOFTMAX_CODE,
    choose_temperature,
    class_codes,
    softmax_codes,
    with_batch_statistics,
)
from tfhash.experiments.datasets import spread
from tfhash.experiments.training import ADAPTED_ITEMS, SAMPLE_ITEMS
from tfhash.losses import pairs

# The recipes of `tfhash train`, with smaller networks, fewer epochs and weaker augmentation.
RECIPES = {
    "mnist": dataclasses.replace(
        make_recipe("simple", (28, 28, 1), 57_000),
        width=8,
        pretrain_epochs=3,
        finetune_epochs=2,
        unaugmented_epochs=2,
    ),
    "cifar10": dataclasses.replace(
        make_recipe("photographs", (32, 32, 3), 47_500),
        width=24,
        pretrain_epochs=6,
        finetune_epochs=2,
        max_shift=2,
        cutout=0,
        unaugmented_epochs=2,
        flip_tta=False,
    ),
}


@dataclasses.dataclass(frozen=True)
class Arm:
    """One row of the comparison: a loss, a code length, and how to train."""

    loss: Callable[[int, int], keras.losses.Loss]  # of the number of classes and the bits
    bits: int = 12
    pretrained: bool = True
    trained: bool = True
    callback: Callable[[], keras.callbacks.Callback] | None = None
    changes: dict[str, float] = dataclasses.field(default_factory=dict)  # of the recipe


class WeightedPairs(losses.ExponentiatedHashingLoss):
    """The exponentiated loss with a weight for similar pairs."""

    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def values(self, similar, codes, between):
        pair_loss = losses.bilinear_pair_loss(codes, codes, similar, self.scale)
        weighted = keras.ops.where(similar, self.weight * pair_loss, pair_loss)
        return pairs.balanced_pair_mean(weighted, similar, between)

    def get_config(self):
        return {**super().get_config(), "weight": self.weight}


class AveragedWeights(keras.callbacks.Callback):
    """Sets the weights to their exponential moving average at the end of training."""

    momentum = 0.99

    def on_train_begin(self, logs=None):
        self._average = [np.array(weight) for weight in self.model.get_weights()]

    def on_train_batch_end(self, batch, logs=None):
        for average, weight in zip(self._average, self.model.get_weights()):
            average += (1 - self.momentum) * (weight - average)

    def on_train_end(self, logs=None):
        self.model.set_weights(self._average)


def _exponentiated(**arguments):
    return lambda classes, bits: losses.ExponentiatedHashingLoss(**arguments)


def _weighted(weight):
    return lambda classes, bits: WeightedPairs(weight)


# Arms that train the classifier instead.
CLASSIFIERS = (PREDICTED_CLASS, SOFTMAX_CODE)

# For callbacks that act once per epoch, an epoch is split into this many. It divides the steps per
# epoch of both datasets.
PARTS_OF_EPOCH = 4

LOSSES = {
    "exponentiated": Arm(_exponentiated()),
    "DPSH": Arm(lambda classes, bits: losses.DPSHLoss()),
    # The sharpness of its tanh grows from 1.
    "HashNet": Arm(
        lambda classes, bits: losses.HashNetLoss(),
        callback=TanhContinuation,
        changes={"slope": 1.0},
    ),
    "DCH": Arm(lambda classes, bits: losses.DCHLoss()),
    "DTSH": Arm(lambda classes, bits: losses.DTSHLoss()),
    "CSQ": Arm(losses.CSQLoss),
    "OrthoHash": Arm(losses.OrthoHashLoss),
    "GreedyHash": Arm(losses.GreedyHashLoss),
}

ARMS = {
    PREDICTED_CLASS: Arm(_exponentiated(), bits=4),
    SOFTMAX_CODE: Arm(_exponentiated()),
    "untrained network": Arm(_exponentiated(), trained=False),
    **LOSSES,
    **{f"exponentiated, {bits} bits": Arm(_exponentiated(), bits) for bits in (24, 32, 48, 64)},
    "exponentiated, not pre-trained": Arm(_exponentiated(), pretrained=False),
    "exponentiated, not bilinear": Arm(_exponentiated(approximation=None)),
    **{
        f"exponentiated, scale {scale:g}": Arm(_exponentiated(scale=scale))
        for scale in (1.0, 4.0, 8.0, 16.0)
    },
    **{
        f"exponentiated, similar pairs weighted {weight:g}": Arm(_weighted(weight))
        for weight in (0.5, 2.0)
    },
    "exponentiated, head_lr_multiplier 1": Arm(
        _exponentiated(), changes={"head_lr_multiplier": 1.0}
    ),
    **{
        f"exponentiated, slope {slope:g}": Arm(_exponentiated(), changes={"slope": slope})
        for slope in (1.0, 5.0)
    },
    "exponentiated, averaged weights": Arm(_exponentiated(), callback=AveragedWeights),
}

FLAGS = flags.FLAGS
flags.DEFINE_enum("dataset", "mnist", list(RECIPES), "Dataset of tensorflow-datasets.")
flags.DEFINE_string("data_dir", None, "Directory of prepared datasets.")
flags.DEFINE_multi_integer("seeds", [0, 1, 2], "Seeds.")
flags.DEFINE_multi_enum("arms", None, list(ARMS), "Arms to run; all by default.")
flags.DEFINE_string("checkpoints", "runs/accuracy", "Directory of the pre-trained weights.")
flags.DEFINE_string("title", None, "Title of the data in the figure; --dataset by default.")
flags.DEFINE_string(
    "output_dir", "benchmarks/results", "Directory of accuracy-DATASET.json and its figure."
)


def main(_):
    recipe = RECIPES[FLAGS.dataset]
    output = pathlib.Path(FLAGS.output_dir) / f"accuracy-{FLAGS.dataset}.json"
    splits = data.load(FLAGS.dataset, data_dir=FLAGS.data_dir)
    settings = {
        "dataset": FLAGS.dataset,
        "protocol": splits.protocol,
        "fingerprint": splits.fingerprint(),
        "queries": len(splits.queries),
        "database_items": len(splits.database),
        "average_precision": "of all items, expected over random orders of ties",
        "validation": "validation items among each other",
        **dataclasses.asdict(recipe),
    }
    made_with = {"settings": settings}
    checkpoints = pathlib.Path(FLAGS.checkpoints) / digest(json.dumps(settings).encode())[:12]
    for seed in FLAGS.seeds:
        for name in FLAGS.arms or ARMS:
            done = reports.read(output, made_with)["cells"].get(name, {}).get(str(seed))
            arm = describe(ARMS[name], len(splits.classes))
            if done:
                reports.check_made_with(f"{output}: {name}, seed {seed},", done["arm"], arm)
                continue
            print(f"{name}, seed {seed}", flush=True)
            started = time.time()
            cell = run(name, recipe, splits, seed, checkpoints / f"{seed}.weights.h5")
            cell |= {"arm": arm, "seconds": round(time.time() - started, 1)}
            # Read again, because another process may have added cells of other seeds.
            report = reports.read(output, made_with)
            add_cell(report, name, seed, cell)
            files.write_json(output, report)
            print(json.dumps(cell), flush=True)
    report = reports.read(output, made_with)
    print(tables.losses(report))
    figure = plot(report, FLAGS.title or FLAGS.dataset)
    plots.save_figure(figure, output.with_suffix(".png"))


def describe(arm, classes):
    """Settings of an arm, for the report."""
    loss = arm.loss(classes, arm.bits)
    return {
        "loss": {"class": type(loss).__name__, **loss.get_config()},
        "changes": arm.changes,
        "callback": arm.callback.__name__ if arm.callback else None,
    }


def add_cell(report, name, seed, cell):
    """Adds a cell and keeps arms and seeds sorted."""
    cells = report["cells"]
    cells[name] = dict(sorted({**cells.get(name, {}), str(seed): cell}.items()))
    report["cells"] = {arm: cells[arm] for arm in ARMS if arm in cells}


def run(name, recipe, splits, seed, checkpoint):
    """Trains and evaluates one cell. `checkpoint` is the path of the pre-trained weights."""
    arm = ARMS[name]
    model = build(arm, dataclasses.replace(recipe, **arm.changes), splits, seed)
    if not arm.trained:
        images, _ = next(iter(spread(splits.train, SAMPLE_ITEMS).batches(SAMPLE_ITEMS)))
        network = with_batch_statistics(model, images)
        return {**measure(arm.bits, network.encode, splits), **environment.describe()}
    if arm.pretrained:
        # Without the changes of the arm, because all arms start from the same network.
        pretrained = restore_pretrained(recipe, splits, seed, checkpoint)
        for part in ("backbone", "classifier"):
            getattr(model, part).set_weights(getattr(pretrained, part).get_weights())
    else:
        # Hashing loss from the start, for the same number of steps on the same batches.
        fit(model, "finetune", recipe, "pretrain", splits, seed)
    stage = "pretrain" if name in CLASSIFIERS else "finetune"
    callbacks, parts = ([arm.callback()], PARTS_OF_EPOCH) if arm.callback else ([], 1)
    started = time.time()
    logs = fit(model, stage, recipe, "finetune", splits, seed, callbacks, parts)
    cell = {
        "last_epoch": logs,
        "finetune_seconds": round(time.time() - started, 1),
        **environment.describe(),
    }
    if not math.isfinite(logs["loss"]):
        return {"diverged": True, **cell}
    return {**measure(arm.bits, encoder(name, arm, model, splits), splits), **cell}


def encoder(name, arm, model, splits):
    """A function from images to the codes of an arm."""
    if name not in CLASSIFIERS:
        return model.encode
    if name == PREDICTED_CLASS:
        return lambda images: class_codes(model.predict_logits(images), arm.bits)
    codebook = losses.class_centers(model.num_classes, arm.bits)
    validation = splits.validation
    of_validation = model.predict_logits(validation.batches())
    temperature = choose_temperature(of_validation, validation.labels, codebook)
    return lambda images: softmax_codes(model.predict_logits(images), codebook, temperature)


def build(arm, recipe, splits, seed):
    classes = len(splits.classes)
    loss = arm.loss(classes, arm.bits)
    model = network.build_model(recipe, splits.image_shape, classes, arm.bits, loss, seed)
    model.adapt(spread(splits.train, ADAPTED_ITEMS).batches())
    return model


def restore_pretrained(recipe, splits, seed, checkpoint):
    """Loads the pre-trained network of a seed, after training it if necessary."""
    model = build(ARMS["exponentiated"], recipe, splits, seed)
    if not checkpoint.exists():
        fit(model, "pretrain", recipe, "pretrain", splits, seed)
        with files.atomic_write(checkpoint) as temporary:
            model.uncompiled_copy().save_weights(temporary)
    pretrained = model.uncompiled_copy()
    pretrained.load_weights(checkpoint)
    return pretrained


def fit(model, stage, recipe, budget, splits, seed, callbacks=(), parts=1):
    """Trains a stage with the batches and the learning rates of the recipe's stage `budget`.

    Each epoch is split into `parts` epochs of Keras, for `callbacks`.

    Returns:
        The logs of the last epoch.
    """
    steps = splits.train.steps_per_epoch(recipe.batch_size)
    model.begin_stage(stage, network.schedule(recipe, budget, steps))
    batches = splits.train.shuffled_batches(
        recipe.batch_size,
        seed,
        recipe.pretrain_epochs if budget == "finetune" else 0,
        recipe.augmentation(),
        recipe.augmented_epochs(),
    )
    history = model.fit(
        batches,
        epochs=parts * getattr(recipe, f"{budget}_epochs"),
        steps_per_epoch=steps // parts,
        shuffle=False,
        verbose=2,
        callbacks=[keras.callbacks.TerminateOnNaN(), *callbacks],
    ).history
    return {name: values[-1] for name, values in history.items()}


def measure(bits, encode, splits):
    """Evaluates test queries on the database and among each other, and validation items so, too."""
    parts = splits.queries, splits.database, splits.validation
    queries, database, validation = (encode(part.batches()) for part in parts)
    of_database = metrics.distance_histograms(
        queries, database, splits.queries.labels, splits.database.labels, bits
    )
    of_queries, of_validation = (
        metrics.leave_one_out_histograms(packed, part.labels, bits)
        for packed, part in ((queries, splits.queries), (validation, splits.validation))
    )
    return {
        "bits": bits,
        "metrics": metrics.summarize(of_database),
        "unseen_items": {"metrics": metrics.summarize(of_queries)},
        "val_map": metrics.mean_average_precision(of_validation),
        "distinct_codes": metrics.count_distinct_codes(database),
    }


def plot(report, title):
    """Plots mAP and precision within radius 2 against bits, and compares the losses."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    panels = {
        "mAP": tables.mean_average_precision,
        "precision within radius 2": tables.precision_within_2,
    }
    by_bits = [name for name in ARMS if re.fullmatch(r"exponentiated(, \d+ bits)?", name)]
    others = [name for name in LOSSES if name not in by_bits]
    for axis, (measure, figure_of) in zip(figure.subplots(1, len(panels)), panels.items()):
        draw(axis, report, by_bits, figure_of, "exponentiated", "o-")
        for i, name in enumerate(others):
            # To the left and the right of the exponentiated loss.
            shift = i - len(others) // 2 + (i >= len(others) // 2)
            draw(axis, report, [name], figure_of, name, "s", shift)
        axis.set(xlabel="bits", ylabel=measure, xticks=[4, 12, 24, 32, 48, 64])
        axis.grid(alpha=0.3)
    # Not for precision: class numbers of 4 bits differ in 2 bits or less.
    draw(figure.axes[0], report, [PREDICTED_CLASS], panels["mAP"], PREDICTED_CLASS, "D")
    figure.axes[0].legend(fontsize=8)
    figure.suptitle(f"{title}, mean and standard deviation over seeds")
    return figure


def draw(axis, report, arms, figure_of, label, style, shift=0.0):
    """Draws means with error bars; `shift`, in bits, separates the markers."""
    points = [
        (ARMS[name].bits + shift, [figure_of(cell) for cell in cells])
        for name in arms
        if (cells := tables.finished(report, name))
    ]
    if points:
        bits, values = zip(*points)
        means = [statistics.mean(of_seeds) for of_seeds in values]
        deviations = [tables.deviation(of_seeds) for of_seeds in values]
        axis.errorbar(bits, means, deviations, fmt=style, label=label, capsize=2, markersize=4)


if __name__ == "__main__":
    app.run(main)
