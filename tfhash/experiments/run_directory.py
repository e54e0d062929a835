"""The files of a run: the one reader and writer of its `run.json` and `report.json`.

Imports neither Keras nor TensorFlow until a model is saved or loaded.
"""

import json
import pathlib
import shutil

from tfhash import files
from tfhash.experiments.code_files import origin_of, write_codes
from tfhash.experiments.settings import Output, Training, located

# Of run.json and report.json. Files without a `schema_version` were written before there was one.
SCHEMA_VERSION = 1

# Name of the weights at the end of pre-training.
PRETRAINED = "pretrained.weights.h5"

RUN_SCHEMA = {
    "schema_version": "version of this schema, an integer",
    "settings": "every setting that changes what is learned, the recipe's included, by name",
    "located": "the dataset: the absolute path of a folder, or a name",
    "items": "fingerprint of the items: SHA-256 of their names, labels and splits",
}

REPORT_SCHEMA = {
    "schema_version": "version of this schema, an integer",
    "command_line": "the command as a list of arguments; null where Python code trained",
    "settings": "as in run.json",
    "recipe": "the preset that the recipe started from, and why it was chosen",
    "resumed": "whether the run was interrupted and resumed",
    "model_selection": "which epoch's weights were kept",
    "validation": "what val_map in the logs of the epochs rests on, a sentence",
    "bits": "length of the codes",
    "parameters": "number of the model's weights, trained or not",
    "class_names": "name of each class; label i, or column i of multi-hot labels, is class i",
    "preprocessing": "what happens to an image before the backbone, in words, in order",
    "metrics": "retrieval quality of queries that search the database, see tfhash.metrics.summarize; "
    "with several labels also nDCG",
    "unseen_items": "the same metrics of the queries among each other, which training never saw, and "
    "how many can be answered; no metrics if none can",
    "asymmetric": "of tfhash evaluate --asymmetric alone: metrics of relaxed queries, ranked by the "
    "expected Hamming distance; in unseen_items, too",
    "codes": "of the database: distinct codes, share of items with the code of more than half of their "
    "class, bits that repeat others or are constant, share of +1 of each bit, largest correlation",
    "protocol": "dataset, division of the items, fingerprint, counts, variant of mAP at a cut-off; "
    "database_trained_items is null where it is not known what was trained on",
    "data": "files by format, files left out and why, and notes",
    "warnings": "what a reader of the figures must know, in sentences",
    "baselines": "what is compared with the codes, by name: what it is, bits, metrics, the same of "
    "unseen_items, the accuracy of a predicted class on the queries, and the temperature of a softmax "
    "code; see docs/protocols.md",
    "seconds": "training: finished epochs with all callbacks; evaluation; classifier: the second "
    "training of --baselines=full",
    "versions": "of Python and packages",
    "variables": "environment variables that change speed or last digits",
    "machine": "system, processor and number of cores",
    "epochs": "the logs of each epoch",
}

PICTURES = ("neighbors.png", "precision_recall.png", "bit_balance.png", "training.png")


class RunDirectory:
    """The files of a training run, each written whole or not at all.

    | file | holds |
    | --- | --- |
    | `run.json` | the settings, from the start; see `RUN_SCHEMA` |
    | `backup/` | the state after the last epoch, while training |
    | `model.keras` | the trained model |
    | `saved_model/1/` | the same for TensorFlow Serving |
    | `pretrained.weights.h5` | the weights at the end of pre-training, if there was one |
    | `database.npz` | `codes`, packed `uint8 [n, ceil(bits / 8)]`; `names`; `labels`; `bits`; `class_names`; `model`, its fingerprint; `model_path`; `folder` |
    | `report.json` | figures; marks the run as finished; see `REPORT_SCHEMA` |
    | `pictures/` | drawn last |

    Args:
        path: The directory; it need not exist.

    Example:

    >>> RunDirectory("runs/none").is_finished
    False
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.backup = self.path / "backup"
        self.pictures = self.path / "pictures"
        self.model_path = self.path / "model.keras"
        self._given = self.path  # as the user named it
        self.database_path = self.path / "database.npz"
        self.pretrained_path = self.path / PRETRAINED
        self._saved_model = self.path / "saved_model"
        self._run = self.path / "run.json"
        self._report = self.path / "report.json"

    @classmethod
    def of_training(cls, given):
        """The directory that a training writes: `output_dir`, or `runs/DATASET-BITS`.

        Args:
            given: Dictionary of the settings of the training.

        Example:

        >>> str(RunDirectory.of_training({"dataset": "digits", "bits": 12}).path)
        'runs/digits-12'
        """
        name, bits = pathlib.Path(located(given["dataset"])).name, Training.pick(given).bits
        return cls(Output.pick(given).output_dir or f"runs/{name}-{bits}")

    @classmethod
    def of_model(cls, model):
        """The directory of a model: a run, or the folder of a `.keras` file.

        Args:
            model: Path of a run or of a `.keras` file.
        """
        path = pathlib.Path(model)
        if path.is_dir():
            return cls(path)
        run = cls(path.parent)
        run.model_path = run._given = path
        return run

    @property
    def is_finished(self):
        """Whether there is a `report.json`."""
        return self._report.exists()

    @property
    def is_recorded(self):
        """Whether there is a `run.json`."""
        return self._run.exists()

    def settings(self):
        """The settings of the run; empty without a `run.json`."""
        return self._read(self._run).get("settings", {})

    def items(self):
        """Fingerprint of the items; see `tfhash.data.Splits.fingerprint`."""
        return self._read(self._run).get("items")

    def report(self):
        """The report of the run; empty where it did not finish."""
        return self._read(self._report)

    def missing_pictures(self):
        """Pictures that a finished run lacks."""
        return [name for name in PICTURES if not (self.pictures / name).exists()]

    def was_trained_on(self, dataset):
        """Whether the run took its items from a dataset.

        Two paths to one folder count as the same. A folder that no longer exists is compared by the
        path that was given, because it may have moved together with the run. A name is the same in
        every version.
        """
        run = self._read(self._run)
        if not run:
            return False
        given = run["settings"]["dataset"]
        before, now = run.get("located", given), located(dataset)
        if not pathlib.Path(before).is_absolute():
            return before.split(":")[0] == now.split(":")[0]
        has_moved = not pathlib.Path(before).exists()
        return before == now or (has_moved and pathlib.Path(given) == pathlib.Path(dataset))

    def check_model(self):
        """Raises `FileNotFoundError` if there is no file of a model, or `ValueError` if it is exported."""
        path, given = self.model_path, self._given
        expected = "`model` must be a .keras file or a finished run. Received: "
        if _is_exported(path) or (not path.exists() and _is_exported(given)):
            raise ValueError(
                f"{expected}{given}, an exported model, which holds no Keras model. Give the run or "
                "the .keras file that it was exported from"
            )
        if not path.is_file():
            why = "a directory without model.keras" if given.is_dir() else "which does not exist"
            raise FileNotFoundError(f"{expected}{given}, {why}")

    def load_model(self):
        """Loads the model.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is damaged or holds something else.
        """
        self.check_model()
        import zipfile

        import keras

        from tfhash.models import HashingModel

        try:
            model = keras.saving.load_model(self.model_path, compile=False)
        except zipfile.BadZipFile as error:
            raise ValueError(f"{self.model_path} is damaged: {error}") from error
        if not isinstance(model, HashingModel):
            raise ValueError(
                "`model` must hold a tfhash.models.HashingModel. Received: a "
                f"{type(model).__name__}"
            )
        return model

    def how_to_continue(self, output):
        """What continues the run after an interruption, in words.

        Args:
            output: `tfhash.experiments.settings.Output` of the command that was interrupted.
        """
        from tfhash.callbacks.backup import Backup

        command = "the same command"
        if output.overwrite:
            command += " with `resume` in place of `overwrite`"
        elif not output.resume:
            command += " with `resume`"
        if self.is_finished:
            return f"the run is finished, and {command} draws the pictures that it lacks"
        if Backup(self.backup).read() is None:
            return f"no epoch was finished, and {command} starts the run again"
        return f"{command} continues it"

    def check_state(self, resume=False, overwrite=False):
        """Raises an error if what is here does not suit `resume` and `overwrite`.

        Args:
            resume: Whether a run is to be continued; nothing is left to do of a finished one but
                pictures that it lacks.
            overwrite: Whether a run is to be replaced; then everything suits.

        Raises:
            ValueError: If there is a run and neither is set, or none to resume.
            NotADirectoryError: If a file is in the place of the directory.
        """
        files.check_directory(self.path)
        if overwrite or (resume and self.is_finished):
            return
        if self.is_finished:
            raise ValueError(
                f"`output_dir` {self.path} holds a finished run. Pass another `output_dir`, or "
                "`overwrite` to replace it"
            )
        if self.is_recorded and not resume:
            raise ValueError(
                f"`output_dir` {self.path} holds a run that did not finish. Pass `resume` to "
                "continue it, or `overwrite` to start over"
            )
        if resume and not self.is_recorded:
            raise ValueError(f"`output_dir` {self.path} holds no run to resume")
        if self.backup.exists() and not self.is_recorded:
            raise ValueError(
                f"`output_dir` {self.path} holds the backup of a run without its run.json. Pass "
                "another `output_dir`, or `overwrite` to start over"
            )

    def check_no_report(self, overwrite=False):
        """Raises an error if an evaluation cannot write a report here, or would replace one unasked."""
        files.check_directory(self.path)
        if self.is_finished and not overwrite:
            raise ValueError(
                f"`output_dir` {self.path} holds a report. Pass `overwrite` to replace it"
            )

    def begin(self, settings, dataset, items, resume=False, overwrite=False):
        """Makes the directory ready for a run with these settings on these items.

        Args:
            settings: Every setting that changes what is learned, a dictionary.
            dataset: Name of the dataset, or path of a folder.
            items: Fingerprint of the items; see `tfhash.data.Splits.fingerprint`.
            resume, overwrite: As in `check_state`.

        Raises:
            ValueError: If the run to resume had other settings or items; nothing is changed.
        """
        if resume:
            self.check_same_run(settings, items)
        if overwrite:
            self._remove()
        files.remove_partial(self.path)
        run = {
            "schema_version": SCHEMA_VERSION,
            "settings": settings,
            "located": located(dataset),
            "items": items,
        }
        files.write_json(self._run, run)

    def write_model(self, model):
        """Writes `model.keras` and `saved_model/1/`."""
        from tfhash.export import export_saved_model

        with files.atomic_write(self.model_path) as temporary:
            model.uncompiled_copy().save(temporary)
        # A run that was interrupted after its export writes it again.
        shutil.rmtree(self._saved_model, ignore_errors=True)
        export_saved_model(model, self._saved_model, version=1)

    def keep_pretrained(self):
        """Copies the weights at the end of pre-training from the backup, if there are some."""
        made = self.backup / PRETRAINED
        if made.exists():
            with files.atomic_write(self.pretrained_path) as temporary:
                shutil.copyfile(made, temporary)

    def write_database(self, codes, split, model, dataset, class_names):
        """Writes the codes, names and labels of the database, as `tfhash encode` does.

        Args:
            codes: Packed codes, `uint8 [n, ceil(bits / 8)]`.
            split: The database, a `tfhash.data.Split` of n items.
            model: The `HashingModel` that made the codes.
            dataset: Name of the dataset, or path of a folder.
            class_names: Name of each class.
        """
        import numpy as np

        origin = origin_of(model, self.path, dataset)
        labels = {"labels": split.labels, "class_names": np.array(class_names, str)}
        write_codes(self.database_path, codes, split.names, model.bits, origin, **labels)

    def finish(self, report):
        """Writes the report, which marks the run as finished, and removes the backup."""
        self.write_report(report)
        shutil.rmtree(self.backup, ignore_errors=True)

    def write_report(self, report):
        """Writes `report.json`."""
        files.write_json(self._report, {"schema_version": SCHEMA_VERSION, **report})

    def _read(self, path):
        if not path.is_file():
            return {}
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is damaged: {error}") from error
        if value.get("schema_version", 0) > SCHEMA_VERSION:
            raise ValueError(
                f"{path} was written by a newer tfhash: its schema has version "
                f"{value['schema_version']}, and this tfhash reads {SCHEMA_VERSION} or below"
            )
        return value

    def check_same_run(self, settings, items):
        """Raises `ValueError` if the run was started with other settings or items.

        Args:
            settings, items: As in `begin`.

        Raises:
            ValueError: If they differ; the message lists what does.
        """
        before = self.settings()
        changed = [name for name in settings if settings[name] != before.get(name)]
        if changed:
            raise ValueError(
                f"the run in {self.path} was started with "
                + ", ".join(f"--{name}={before.get(name)}" for name in changed)
                + ". Received: "
                + ", ".join(f"--{name}={settings[name]}" for name in changed)
            )
        if self.items() != items:
            raise ValueError(
                f"the items of the dataset have changed since the run in {self.path} was started. "
                "Restore them, or pass `overwrite` to start over"
            )

    def _remove(self):
        from tfhash.callbacks.backup import Backup

        # What a run writes and nothing else. The report goes first: it says that the rest is whole.
        # The settings go last: while they are there, no other run takes the backup for its own.
        self._report.unlink(missing_ok=True)
        self.model_path.unlink(missing_ok=True)
        self.pretrained_path.unlink(missing_ok=True)
        self.database_path.unlink(missing_ok=True)
        Backup(self.backup).remove()
        for directory in (self.pictures, self._saved_model):
            if directory.exists():
                shutil.rmtree(directory)
        self._run.unlink(missing_ok=True)


def _is_exported(path):
    """Whether a path is what `tfhash export` wrote: versions, one of them, or a file of one format."""
    if path.is_dir():
        return any(path.glob("saved_model.pb")) or any(path.glob("[0-9]*/saved_model.pb"))
    return path.is_file() and path.suffix in (".pb", ".onnx", ".tflite")
