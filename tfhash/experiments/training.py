"""Trains a network on a dataset, evaluates it, and writes the run."""

import dataclasses
import math
import textwrap
import time

import keras

from tfhash.callbacks.backup import Backup
from tfhash.data import keras_layers
from tfhash.data.augmentation import LARGER
from tfhash.experiments import (
    environment,
    estimate,
    network,
    pictures,
    presets,
    pretraining,
    report,
    settings,
    validation,
)
from tfhash.experiments.baselines import WHOLE_TRAINING, Baselines, with_batch_statistics
from tfhash.experiments.datasets import (
    count_seen,
    fill_cache,
    has_colors,
    load_splits,
    names_trained_on,
    spread,
    summary_of,
)
from tfhash.experiments.devices import Devices
from tfhash.experiments.fitting import fit, with_class_batches
from tfhash.experiments.interruption import continued_by
from tfhash.experiments.measurement import measure
from tfhash.experiments.progress import Progress
from tfhash.experiments.recipe import Recipe
from tfhash.experiments.run import Run
from tfhash.experiments.run_directory import RunDirectory
from tfhash.text import printable

# Training images that the first layer is adapted to.
ADAPTED_ITEMS = 5_000

# Training images that tell whether there are colors, and give an untrained network its statistics;
# fewer of images above this side, for the memory.
SAMPLE_ITEMS, SAMPLE_SIDE = 1_000, 64

SETTINGS = (
    settings.Source,
    settings.Cache,
    settings.Labels,
    settings.Division,
    settings.Training,
    settings.Measure,
    settings.Compared,
    settings.Output,
    presets.Preset,
    Recipe,
)


def train(dataset, command_line=None, verbose="auto", hashing_loss=None, **given):
    """Trains a network in two stages, evaluates it on held-out queries, and writes the run.

    The state is saved after every epoch; `resume=True` continues an interrupted run. Of a finished
    run, it draws the pictures that are missing, and returns it.

    Args:
        dataset: `"digits"`, a dataset of tensorflow-datasets, or a folder with one subfolder of
            images per class, or with a file `labels`; see `tfhash.data.load`.
        command_line: List of arguments, for the report.
        verbose: 0 silent, 1 with progress bars, 2 lines for epochs; see
            `tfhash.experiments.progress.Progress`.
        hashing_loss: A `keras.losses.Loss` of your own for the finetune stage, in place of the
            setting `loss`. The run records the name of its class.
        **given: Any setting of the dataclasses in `SETTINGS`, by name: `bits`, `output_dir`,
            `resume`, `seed`, `recipe`, every field of `Recipe`, ... `tfhash train --help` lists
            them all.

    Returns:
        `tfhash.experiments.Run`.

    Raises:
        ValueError: If a setting is out of bounds or contradicts another or the run on disk, an image
            file is broken, or there are too few classes or items.
        TypeError: If there is no setting of that name.
        OSError: If files cannot be read or written.
        FloatingPointError: If the loss is not finite.

    Example:

    >>> import tempfile
    >>> run = train(
    ...     "digits", bits=12, output_dir=tempfile.mkdtemp(), verbose=0,
    ...     backbone="mlp", width=4, pretrain_epochs=1, finetune_epochs=1,
    ... )
    >>> run.report["protocol"]["queries"]
    387
    """
    given = settings.named(dataset, given)
    settings.check_names(given, *SETTINGS)
    given = pretraining.with_settings_of_pretraining(given)
    settings.check_training(given)
    if hashing_loss is not None and not isinstance(hashing_loss, keras.losses.Loss):
        raise TypeError(
            "`hashing_loss` must be a keras.losses.Loss; the setting `loss` takes a name. "
            f"Received: hashing_loss={hashing_loss!r}"
        )
    asked_for = given.get("scale") or given.get("loss") not in (None, "exponentiated")
    if hashing_loss is not None and asked_for:
        raise ValueError("`hashing_loss` excludes the settings `loss` and `scale`")
    training = _Training(given, command_line, Progress(verbose), hashing_loss)
    with training.devices.in_force():
        return training.run()


class _Training:
    """One training: its settings, and what they lead to step by step."""

    def __init__(self, given, command_line, progress, hashing_loss):
        self.hashing_loss = hashing_loss
        self.command_line = command_line
        self.progress = progress
        self.source = settings.Source.pick(given)
        self.cache_dir = settings.Cache.pick(given).cache_dir
        self.labels = settings.Labels.pick(given)
        self.division = settings.Division.pick(given)
        self.training = settings.Training.pick(given)
        self.devices = Devices(self.training.devices)
        self.variant = settings.Measure.pick(given).variant()
        self.compared = settings.Compared.pick(given).baselines
        self.output = settings.Output.pick(given)
        self.preset = presets.Preset.pick(given).recipe
        fields = {field.name for field in dataclasses.fields(Recipe)}
        self.recipe_given = {k: v for k, v in given.items() if k in fields and v is not None}
        self.asked = presets.asked_recipe(given)
        keras_layers.check_layers(self.asked.augment)
        self.files = RunDirectory.of_training(given)

    def run(self):
        self.files.check_state(self.output.resume, self.output.overwrite)
        self._load()
        self._choose_recipe()
        if self.files.is_finished and self.output.resume:
            return self._complete()
        fill_cache(self.splits, self.recipe.augmentation(), self.progress)
        self._build_model()
        # Only now that the input is known to be good, the directory is touched.
        self.files.begin(
            self._settings(),
            self.source.dataset,
            self.splits.fingerprint(),
            self.output.resume,
            self.output.overwrite,
        )
        with continued_by(lambda: self.files.how_to_continue(self.output)):
            stages = self._fit()
            self._evaluate(stages)
            return self._write(stages)

    def _load(self):
        size = self.training.image_size
        if self.source.dataset != "digits" or size:  # which have one size
            size = network.image_size_for(self.asked, size)
        self.splits = load_splits(
            self.source, self.labels, self.division, size, self.progress, self.cache_dir
        )
        network.check_sides(self.asked, self.splits)
        if self.training.pretrained_from and not self.output.resume:
            pretraining.check_items(self.training.pretrained_from, self.splits)
        # Folder names may be no valid text, which no file of names could hold.
        self.class_names = [printable(name, longest=1000) for name in self.splits.classes]
        train = self.splits.train
        self.unlabeled = self.splits.unlabeled() if self.training.unlabeled else train.take(0)
        pixels = math.prod(self.splits.image_shape[:2])
        items = min(SAMPLE_ITEMS, SAMPLE_ITEMS * SAMPLE_SIDE**2 // pixels)
        self.sample = next(iter(spread(train, items).batches(items)))[0].numpy()
        self.has_colors = has_colors(self.sample)

    def _choose_recipe(self):
        train, shape = self.splits.train, self.splits.image_shape
        self.recipe_choice = self._choose_preset()
        self.recipe = presets.make_recipe(
            self.recipe_choice["preset"],
            shape,
            len(train),
            len(self.unlabeled),
            are_larger=train.is_larger_than([LARGER * side for side in shape[:2]]),
            has_colors=self.has_colors,
            **self.recipe_given,
        )
        if "items_per_class" not in self.recipe_given and not self.training.unlabeled:
            self.recipe = with_class_batches(self.recipe, train.labels, self.progress)
        if self.training.unlabeled and self.recipe.pretrain_epochs == (
            self.recipe.supervised_epochs()
        ):
            raise ValueError(
                "with `unlabeled`, `pretrain_epochs` must be 2 or more: the first epochs see labeled "
                f"images alone. Received: pretrain_epochs={self.recipe.pretrain_epochs}"
            )
        chosen = ", ".join(f"{k}={v}" for k, v in dataclasses.asdict(self.recipe).items())
        recipe = "Recipe {preset} ({reason}): ".format(**self.recipe_choice) + chosen
        self.progress.say(textwrap.fill(recipe, report.LINE_LENGTH, subsequent_indent="  "))
        self.warnings = report.warnings_of_recipe(self.recipe)
        hints = self.devices.plan(min(self.recipe.batch_size, len(train) + len(self.unlabeled)))
        hints += self.devices.about_precision(self.recipe.dtype_policy)
        hints += [f"Warning: {warning}" for warning in self.warnings]
        if settings.is_folder(self.source.dataset):
            in_color = presets.are_in_color(shape, self.has_colors)
            hints += report.tips_for_folder(self.recipe, in_color)
        for hint in hints:
            self.progress.say(textwrap.fill(hint, report.LINE_LENGTH))

    def _build_model(self):
        self.model = self._make_model()
        self.untrained = with_batch_statistics(self.model, self.sample, self.recipe.is_pretrained())
        self._say_time()

    def _make_model(self):
        """The network as it is before training, the same each time."""
        with self.devices.making_a_model():
            model = network.build_model(
                self.recipe,
                self.splits.image_shape,
                len(self.splits.classes),
                self.training.bits,
                self._make_loss(),
                self.training.seed,
                class_names=self.class_names,
            )
        if not self.recipe.is_pretrained():
            model.adapt(spread(self.splits.train, ADAPTED_ITEMS).batches())
        return model

    def _make_loss(self):
        if self.hashing_loss is not None:
            return self.hashing_loss
        make = network.LOSSES[self.recipe.loss]
        return make(len(self.splits.classes), self.training.bits, self.training.scale)

    def _choose_preset(self):
        if self.preset:
            asked = "as asked for" if not self.training.pretrained_from else "that of pre-training"
            return {"preset": self.preset, "reason": asked}
        has_size = "batch_size" in self.recipe_given
        items = None if has_size else len(self.splits.train) + len(self.unlabeled)
        name, reason = presets.choose_preset(
            self.splits.image_shape, self.has_colors, self.asked.is_pretrained(), items
        )
        return {"preset": name, "reason": reason}

    def _settings(self):
        """What the run depends on, the recipe's choices included."""
        parts = (self.source, self.labels, self.division, self.training, self.recipe)
        found = {
            field.name: getattr(part, field.name)
            for part in parts
            for field in dataclasses.fields(part)
            if field.metadata["part_of_run"]
        }
        if self.hashing_loss is not None:
            found["loss"] = type(self.hashing_loss).__name__
        return found

    def _say_time(self):
        if self.compared == "full":
            self.progress.say("trains twice: the codes, then a classifier to compare them with")
        unlabeled = len(self.unlabeled)
        planned = self.splits, self.recipe, self.compared, unlabeled
        # A cache on disk is full by now.
        if settings.is_folder(self.source.dataset) and not self.cache_dir:
            decoding = estimate.files_to_decode(*planned)
            estimate.say_time_to_decode(self.splits.train, decoding, self.progress)
        images = estimate.images_to_encode(*planned)
        estimate.say_time_besides_training(
            self.untrained, self.sample, images, self.recipe, unlabeled, self.progress
        )

    def _fit(self):
        self.progress.say(validation.in_words(self.splits))
        path, first_epoch = self.training.pretrained_from, 0
        if path is not None and Backup(self.files.backup).read() is None:
            pretraining.load_pretrained(path, self.model, self.files, self.progress)
            first_epoch = self.recipe.pretrain_epochs
        return self._fit_model(
            self.model,
            self.files.backup,
            callbacks=validation.callbacks(self.recipe, self.splits),
            own_loss=self.hashing_loss is not None,
            first_epoch=first_epoch,
        )

    def _fit_model(self, model, backup, **arguments):
        split, seed = self.splits.train, self.training.seed
        return fit(
            model, self.recipe, split, self.unlabeled, seed, backup, self.progress, **arguments
        )

    def _evaluate(self, stages):
        self.seconds = {"training": round(stages.seconds, 1)}
        started = time.time()
        self.evaluation = self._measure(self.model)
        if len(self.unlabeled):
            self.evaluation.figures["protocol"]["unlabeled_items"] = len(self.unlabeled)
        seconds = time.time() - started
        # Before the baselines, which may take as long as the training.
        self.files.write_model(self.model)
        self.files.keep_pretrained()
        self.files.write_database(
            self.evaluation.database,
            self.splits.database,
            self.model,
            self.source.dataset,
            self.class_names,
        )
        rival = self._train_rival() if self.compared == "full" else None
        started = time.time()
        self.baselines = self._measure_baselines(stages, rival)
        self.seconds["evaluation"] = round(seconds + time.time() - started, 1)

    def _train_rival(self):
        """A classifier that trains as long as the codes."""
        self.progress.say(
            f"Training a classifier for all {self.recipe.epochs()} epochs, to compare with"
        )
        classifier = self._make_model()
        backup = self.files.backup / "classifier"
        stages = self._fit_model(classifier, backup, classifier_alone=True)
        self.seconds["classifier"] = round(stages.seconds, 1)
        return classifier

    def _measure_baselines(self, stages, rival):
        baselines = Baselines(self.splits, self.variant, self.progress)
        if self.compared == "none":
            return baselines.found
        baselines.add_untrained(self.untrained, self.recipe.is_pretrained())
        bits, epochs = self.training.bits, self.recipe.epochs()
        if self.recipe.pretrain_epochs:
            classifier = self.model.uncompiled_copy()
            classifier.load_weights(stages.pretrained_weights)
            how_long = f"after {self.recipe.pretrain_epochs} of {epochs} epochs"
            baselines.add_classifier(classifier, bits, how_long)
        if rival is not None:
            baselines.add_classifier(rival, bits, f"after all {epochs} epochs", WHOLE_TRAINING)
        return baselines.found

    def _measure(self, model):
        trained_on = names_trained_on(self.splits, self.training.unlabeled)
        trained_items = count_seen(self.splits, trained_on)
        return measure(model, self.splits, self.variant, self.progress, trained_items)

    def _write(self, stages):
        self.files.finish(
            {
                "command_line": self.command_line,
                "settings": self._settings(),
                "recipe": self.recipe_choice,
                "resumed": self.output.resume,
                "model_selection": "none: the weights after the last epoch",
                "validation": validation.in_words(self.splits),
                "bits": self.model.bits,
                "parameters": self.model.count_params(),
                "class_names": self.class_names,
                "preprocessing": report.preprocessing_in_words(
                    self.model, self.splits.train.source.are_files
                ),
                **self.evaluation.figures,
                "data": summary_of(self.splits),
                "warnings": [*self.warnings, *report.warnings_of_figures(self.evaluation.figures)],
                "baselines": self.baselines,
                "seconds": self.seconds,
                **environment.describe(),
                "epochs": stages.epoch_logs,
            }
        )
        self._draw(self.evaluation, stages.epoch_logs)
        run = Run(self.files.path)
        run.model = self.model
        return run

    def _draw(self, evaluation, epoch_logs):
        bits, progress = self.training.bits, self.progress
        pictures.draw(self.files.pictures, self.splits, evaluation, bits, progress, epoch_logs)

    def _complete(self):
        """The finished run, with the pictures that it lacked."""
        run = Run(self.files.path)
        self.files.check_same_run(self._settings(), self.splits.fingerprint())
        if not self.files.missing_pictures():
            self.progress.say(f"The run in {run.directory} is finished: nothing is left to do")
            return run
        self.progress.say(
            f"The run in {run.directory} is finished. Drawing the pictures that it lacks"
        )
        self._draw(self._measure(run.model), run.report["epochs"])
        return run
