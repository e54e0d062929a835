"""
Trains a network in two stages (supervised pre-training, then fine-tuning by the exponentiated
hashing loss), evaluates it on queries that training never saw, and writes into --output_dir:

  model.keras     the trained model, for keras.saving.load_model
  saved_model/    the same for TensorFlow Serving: images in, packed codes out
  pictures/       neighbors, precision and recall, training curves, bit balance
  report.json     figures, protocol, seed, versions, times and this command

  tfhash train --dataset=mnist --bits=12
  tfhash train --dataset=photos/ --bits=32 --image_size=48

The state is saved after every epoch. A run that was stopped goes on with --resume.

Flags without a default below, from --backbone to --dtype_policy, are chosen by dataset: what was
chosen is printed as "Recipe" and kept in report.json.
"""

import dataclasses
import functools
import json
import math
import pathlib
import shutil
import time

import keras
import numpy as np
from absl import flags

from tfhash import export, files, plots
from tfhash.callbacks import RetrievalEvaluation, SelfTraining, TimeEstimate, TwoStageTraining
from tfhash.callbacks.backup import Backup
from tfhash.callbacks.estimate import in_words
from tfhash.cli import dataset_flags, environment, evaluation
from tfhash.cli import recipe as recipes
from tfhash.cli.main import require
from tfhash.data import PartlyLabeledBatches
from tfhash.losses import ExponentiatedHashingLoss

# Training images that the first layer is adapted to.
ADAPTED_ITEMS = 5_000

# Training images that give an untrained network its batch statistics.
SAMPLE_ITEMS = 1_000

# Items of the training split that the validation queries search, and how often at most.
VALIDATION_DATABASE = 10_000
VALIDATIONS = 12

# Protocols whose database has images that training may see without their labels.
WITH_UNLABELED = ("cnnh", "cnnh54k")

# Flags that may differ when a run is resumed: they do not change what is learned.
NOT_PART_OF_RUN = (
    "output_dir",
    "data_dir",
    "resume",
    "overwrite",
    "traceback",
    "map_at",
    "map_denominator",
    "map_without_hits",
)


def define_flags(values):
    dataset_flags.define_flags(values)
    dataset_flags.define_image_size(values)
    evaluation.define_flags(values)
    recipes.define_flags(values)
    string, integer, number, boolean = (
        functools.partial(define, flag_values=values)
        for define in (
            flags.DEFINE_string,
            flags.DEFINE_integer,
            flags.DEFINE_float,
            flags.DEFINE_bool,
        )
    )
    integer("bits", 12, "Length of the codes.", lower_bound=1)
    number(
        "scale",
        ExponentiatedHashingLoss().scale,
        "Sharpness of the exponentiated loss: a pair of codes that is wrong in every bit costs "
        "exp(scale).",
    )
    boolean(
        "unlabeled",
        False,
        "Pre-train on the images of the database that are not among the training items, too, with "
        "classes that the network predicts in place of their labels; for the protocols cnnh and "
        "cnnh54k.",
    )
    string("output_dir", None, "Where to write; by default runs/DATASET-BITS.")
    integer("seed", 0, "Seed of the weights and of the order of training.", lower_bound=0)
    boolean("resume", False, "Go on with the run in --output_dir.")
    boolean("overwrite", False, "Remove the run in --output_dir and start over.")


def check_flags(values):
    require(values, "dataset")
    evaluation.check_flags(values)
    if values.unlabeled and values.protocol not in WITH_UNLABELED:
        raise flags.Error(
            f"--unlabeled needs --protocol={' or '.join(WITH_UNLABELED)}: under "
            f"{values.protocol}, no other images may be trained on"
        )
    if values.resume and values.overwrite:
        raise flags.Error("--resume and --overwrite exclude each other")


def run(values, command_line):
    run_directory = RunDirectory(
        values.output_dir or f"runs/{pathlib.Path(values.dataset).name}-{values.bits}"
    )
    run_directory.check_state(values.resume, values.overwrite)
    splits = dataset_flags.load(values, values.image_size)
    unlabeled = splits.unlabeled() if values.unlabeled else splits.train.take(0)
    recipe = recipes.choose(
        values, splits.source, len(splits.train), splits.image_shape, len(unlabeled)
    )
    if values.unlabeled and recipe.pretrain_epochs == recipe.supervised_epochs():
        raise ValueError(
            "with --unlabeled, `pretrain_epochs` must be 2 or more: the first epochs take labeled "
            f"images alone. Received: --pretrain_epochs={recipe.pretrain_epochs}"
        )
    print("Recipe:", ", ".join(f"{k}={v}" for k, v in dataclasses.asdict(recipe).items()))
    settings = _settings(values, recipe)
    model = recipe.build_model(
        splits.image_shape,
        len(splits.classes),
        values.bits,
        ExponentiatedHashingLoss(values.scale),
        values.seed,
    )
    model.adapt(splits.train.take(ADAPTED_ITEMS).batches())
    sample, _ = next(iter(splits.train.batches(SAMPLE_ITEMS)))
    untrained = evaluation.with_batch_statistics(model, sample)
    _print_time_of_encoding(recipe, splits, len(unlabeled), untrained, sample)
    # Only now that the input is known to be good, the directory is touched.
    run_directory.begin(
        settings,
        dataset_flags.located(values.dataset),
        splits.fingerprint(),
        values.resume,
        values.overwrite,
    )
    stages = _fit(values, recipe, splits, unlabeled, model, run_directory.backup)
    trained = time.time()
    figures, encoded = evaluation.evaluate(model, splits, evaluation.variant(values))
    figures["protocol"]["unlabeled_items"] = len(unlabeled)
    figures["baselines"] = evaluation.baselines(
        splits,
        evaluation.variant(values),
        untrained,
        _after_pretraining(model, stages.pretrained_weights) if recipe.pretrain_epochs else None,
    )
    evaluated = time.time()
    run_directory.write_model(model)
    evaluation.draw(splits, encoded, model.bits, run_directory.pictures)
    plots.save_figure(
        plots.plot_training(stages.epoch_logs), run_directory.pictures / "training.png"
    )
    report = {
        "command_line": command_line,
        "settings": settings,
        "resumed": values.resume,
        "model_selection": "none: the weights after the last epoch",
        "bits": model.bits,
        "parameters": model.count_params(),
        **figures,
        "seconds": {
            "training": round(stages.seconds, 1),
            "evaluation": round(evaluated - trained, 1),
        },
        **environment.describe(),
        "epochs": stages.epoch_logs,
    }
    run_directory.finish(report)
    print(f"\n{evaluation.table(figures)}\n")
    print(f"trained in {stages.seconds:.0f} s; written to {run_directory.path}/:")
    print("  report.json  model.keras  saved_model/  pictures/")


class RunDirectory:
    """The files of a run: which there are, and in which order they come to be.

    `run.json` holds the settings from the start; `report.json` comes last and marks the run as
    finished.
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.backup = self.path / "backup"
        self.pictures = self.path / "pictures"
        self._model = self.path / "model.keras"
        self._saved_model = self.path / "saved_model"
        self._settings = self.path / "run.json"
        self._report = self.path / "report.json"

    def check_state(self, resume, overwrite):
        """Raises `ValueError` if what is here does not suit `resume` and `overwrite`."""
        if overwrite:
            return
        if self._report.exists():
            raise ValueError(
                f"`output_dir` {self.path} holds a finished run. Name another with --output_dir, "
                "or pass --overwrite to replace it"
            )
        if self._settings.exists() and not resume:
            raise ValueError(
                f"`output_dir` {self.path} holds a run that did not finish. Pass --resume to go "
                "on with it, or --overwrite to start over"
            )
        if resume and not self._settings.exists():
            raise ValueError(f"`output_dir` {self.path} holds no run to resume")
        if self.backup.exists() and not self._settings.exists():
            raise ValueError(
                f"`output_dir` {self.path} holds the backup of a run without its run.json. Name "
                "another with --output_dir, or pass --overwrite to start over"
            )

    def begin(self, settings, located, items, resume, overwrite):
        """Makes the directory ready for a run with these settings on these items.

        Raises:
            ValueError: If the run to resume had other settings or items; nothing is changed.
        """
        if resume:
            self._check_same_run(settings, items)
        if overwrite:
            self._remove()
        files.remove_partial(self.path)
        files.write_json(self._settings, {"settings": settings, "located": located, "items": items})

    def write_model(self, model):
        with files.atomic_write(self._model) as temporary:
            model.uncompiled_copy().save(temporary)
        # A run that was stopped after its export writes it anew.
        shutil.rmtree(self._saved_model, ignore_errors=True)
        export.export_saved_model(model, self._saved_model, version=1)

    def finish(self, report):
        files.write_json(self._report, report)
        shutil.rmtree(self.backup, ignore_errors=True)

    def _check_same_run(self, settings, items):
        recorded = json.loads(self._settings.read_text(encoding="utf-8"))
        before = recorded["settings"]
        changed = [name for name in settings if settings[name] != before.get(name)]
        if changed:
            raise ValueError(
                f"the run in {self.path} was started with "
                + ", ".join(f"--{name}={before.get(name)}" for name in changed)
                + ". Received: "
                + ", ".join(f"--{name}={settings[name]}" for name in changed)
            )
        if recorded["items"] != items:
            raise ValueError(
                f"the items of the dataset have changed since the run in {self.path} was started. "
                "Restore them, or pass --overwrite to start over"
            )

    def _remove(self):
        # What a run writes, and nothing else that may lie in the directory. The report goes first,
        # for it says that the rest is whole; the settings last, for as long as they are there no
        # other run takes the backup for its own.
        self._report.unlink(missing_ok=True)
        self._model.unlink(missing_ok=True)
        Backup(self.backup).remove()
        for directory in (self.pictures, self._saved_model):
            if directory.exists():
                shutil.rmtree(directory)
        self._settings.unlink(missing_ok=True)


def _settings(values, recipe):
    """What a run depends on: the flags, and in their place what the recipe chose for them."""
    given = {name: values[name].value for name in values if name not in NOT_PART_OF_RUN}
    return {**given, **dataclasses.asdict(recipe)}


def _fit(values, recipe, splits, unlabeled, model, backup):
    steps = splits.train.concatenate(unlabeled).steps_per_epoch(recipe.batch_size)
    stages = TwoStageTraining(
        recipe.pretrain_epochs,
        recipe.schedule("pretrain", steps),
        recipe.schedule("finetune", steps),
        pretrained_weights=backup / "pretrained.weights.h5",
        backup_dir=backup,
    )
    callbacks = [*_validation(recipe, splits), stages, TimeEstimate()]
    if len(unlabeled):
        batches = _partly_labeled_batches(splits.train, unlabeled, recipe, values.seed)
        callbacks.insert(
            0, SelfTraining(batches, recipe.supervised_epochs(), recipe.pretrain_epochs)
        )
        steps = None  # the batches know how many they are
    else:
        batches = _shuffled_batches(splits.train, recipe, values.seed, stages.epochs_done())
    model.fit(
        batches, steps_per_epoch=steps, epochs=recipe.epochs(), shuffle=False, callbacks=callbacks
    )
    return stages


def _validation(recipe, splits) -> list[keras.callbacks.Callback]:
    if not len(splits.validation):
        return []
    # The splits that choices may rest on; the queries are for the report alone.
    return [
        RetrievalEvaluation(
            splits.validation.batches(),
            splits.train.take(VALIDATION_DATABASE).batches(),
            every=_epochs_to_validation(recipe),
            first_epoch=recipe.pretrain_epochs,
        )
    ]


def _shuffled_batches(train, recipe, seed, first_epoch):
    return train.shuffled_batches(
        recipe.batch_size, seed, first_epoch, recipe.augmentation(), recipe.augmented_epochs()
    )


def _partly_labeled_batches(train, unlabeled, recipe, seed):
    return PartlyLabeledBatches(
        train.concatenate(unlabeled).images(),
        np.concatenate([train.labels, np.full(len(unlabeled), -1)]),
        recipe.batch_size,
        seed,
        recipe.augmentation(),
        recipe.augmented_epochs(),
    )


def _print_time_of_encoding(recipe, splits, unlabeled, untrained, sample):
    """Prints how long what is not training will take, judged by the time of a sample."""
    baselines = 2 if recipe.pretrain_epochs else 1
    images = (1 + baselines) * (len(splits.database) + len(splits.queries))
    images += unlabeled * (recipe.pretrain_epochs - recipe.supervised_epochs())
    if len(splits.validation):
        validations = math.ceil(recipe.finetune_epochs / _epochs_to_validation(recipe))
        searched = min(len(splits.train), VALIDATION_DATABASE)
        images += validations * (len(splits.validation) + searched)
    untrained.encode(sample)  # compiled before it counts
    started = time.perf_counter()
    untrained.encode(sample)
    seconds = images * (time.perf_counter() - started) / len(sample)
    print(
        f"about {in_words(seconds)} besides training, to encode {images:,} images: for "
        + ("labels of its own, " if unlabeled else "")
        + "validation, the evaluation and its baselines"
    )


def _epochs_to_validation(recipe):
    return math.ceil(recipe.finetune_epochs / VALIDATIONS)


def _after_pretraining(model, pretrained_weights):
    classifier = model.uncompiled_copy()
    classifier.load_weights(pretrained_weights)
    return classifier
