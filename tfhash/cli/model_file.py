"""Loading the model that a command works on."""

import json
import pathlib
import zipfile

import keras
from absl import flags

from tfhash.cli import dataset_flags
from tfhash.models import HashingModel


def define_flags(values):
    flags.DEFINE_string(
        "model", None, "File model.keras of a run, or the directory of the run.",
        flag_values=values,
    )  # fmt: skip


def load(values):
    """Loads the `HashingModel` that the flags name.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds something else.
    """
    path = _path(values)
    if not path.is_file():
        raise FileNotFoundError(
            f"`model` must be a .keras file or a finished run. Received: {path}"
        )
    try:
        model = keras.saving.load_model(path, compile=False)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(model, HashingModel):
        raise ValueError(
            f"`model` must hold a tfhash.models.HashingModel. Received: a {type(model).__name__}"
        )
    return model


def settings(values):
    """Settings of the run that made the model; empty if there is no `run.json` beside it."""
    return _recorded(values, "run.json").get("settings", {})


def trained_on(values, dataset):
    """Whether the run that made the model took its items from `dataset`.

    A folder is the same by whatever path, and a folder that is gone by the path that was given:
    it moved together with the run. A name is the same in every version.
    """
    run = _recorded(values, "run.json")
    if not run:
        return False
    given = run["settings"]["dataset"]
    before, now = run.get("located", given), dataset_flags.located(dataset)
    if not pathlib.Path(before).is_absolute():
        return before.split(":")[0] == now.split(":")[0]
    has_moved = not pathlib.Path(before).exists()
    return before == now or (has_moved and pathlib.Path(given) == pathlib.Path(dataset))


def report(values):
    """Report of the run that made the model; empty if there is no `report.json` beside it."""
    return _recorded(values, "report.json")


def _recorded(values, name):
    file = _path(values).with_name(name)
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _path(values):
    path = pathlib.Path(values.model)
    return path / "model.keras" if path.is_dir() else path
