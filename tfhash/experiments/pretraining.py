"""Fine-tuning of a network that another run pre-trained."""

import dataclasses

from tfhash import files
from tfhash.experiments.recipe import Recipe
from tfhash.experiments.run_directory import PRETRAINED, RunDirectory
from tfhash.experiments.settings import Division, Labels, Output, Source, Training
from tfhash.text import printable

# What pre-training does not depend on: these are not taken over.
FINE_TUNING = ("bits", "scale", "loss", "slope", "head_lr_multiplier")

# Of fine-tuning alone, too, but pseudo-labels depend on it.
ENCODING = ("flip_tta",)

# Taken over, but may differ while pre-training sees augmented images alone.
LENGTHS = ("finetune_epochs", "unaugmented_epochs")

# Settings of a run that another one may take over.
SETTINGS = [
    field.name
    for cls in (Source, Labels, Division, Training, Recipe)
    for field in dataclasses.fields(cls)
    if field.metadata["part_of_run"] and field.name not in ("dataset", "pretrained_from")
]


def with_settings_of_pretraining(given):
    """Settings of a training, with those of the run `pretrained_from` where they are left open.

    A run that is resumed has its own settings already.

    Args:
        given: Dictionary of settings, as `tfhash.experiments.settings.named` returns it.

    Returns:
        A dictionary like `given`; the same where there is no such run.

    Raises:
        FileNotFoundError: If there is no such run, or it did not keep the weights of pre-training.
        ValueError: If a setting that pre-training depends on differs.
    """
    if given.get("pretrained_from") is None:
        return given
    given = {name: value for name, value in given.items() if value is not None}
    own, run = RunDirectory.of_training(given), RunDirectory(given["pretrained_from"])
    if Output.pick(given).resume and own.is_recorded:
        return {**_preset_of(run), **_taken_over(own), **given}
    _check_pretrained(run)
    if own.path.resolve() == run.path.resolve():
        raise ValueError(
            "`output_dir` must be another directory than that of `pretrained_from`. Received: "
            f"{run.path} for both"
        )
    if not run.was_trained_on(given["dataset"]):
        raise ValueError(
            f"`dataset` must be that of `pretrained_from` {run.path}, which was trained on "
            f"{run.settings()['dataset']}. Received: {given['dataset']}"
        )
    before = _taken_over(run)
    _check_same(run, before, given)
    found = {**before, **given}
    _check_lengths(run, before, found)
    return found


def check_items(path, splits):
    """Raises `ValueError` unless the run `path` has the items of `splits`."""
    if RunDirectory(path).items() != splits.fingerprint():
        raise ValueError(
            "the names, labels or division of the items have changed since `pretrained_from` "
            f"{path} was trained, which may have trained on items that are queries now. Restore them, "
            "or train without it"
        )


def load_pretrained(path, model, directory, progress):
    """Gives a model the backbone and the classifier that a run pre-trained, before fine-tuning.

    Args:
        path: The run, as in `with_settings_of_pretraining`.
        model: Built `HashingModel`; its hashing head stays as it is.
        directory: `RunDirectory` of the run that fine-tunes.
        progress: `Progress`.
    """
    from tfhash import devices  # which imports Keras

    progress.say(f"Fine-tuning only: pre-training is that of {printable(path)}")
    run = RunDirectory(path)
    with devices.undistributed():
        config = {**model.get_config(), "bits": run.settings()["bits"]}
        pretrained = type(model).from_config(config)
        pretrained.build((None, *model.image_shape))
        pretrained.load_weights(run.pretrained_path)
    for part in ("backbone", "classifier"):
        getattr(model, part).set_weights(getattr(pretrained, part).get_weights())
    # Where a run that pre-trains keeps them.
    with files.atomic_write(directory.backup / PRETRAINED) as temporary:
        model.uncompiled_copy().save_weights(temporary)


def _taken_over(run):
    """The settings of a run that another one takes over, the preset of its recipe included."""
    settings = run.settings()
    left_open = FINE_TUNING if settings.get("unlabeled") else (*FINE_TUNING, *ENCODING)
    found = {name: settings.get(name) for name in SETTINGS if name not in left_open}
    return _preset_of(run) | {name: value for name, value in found.items() if value is not None}


def _preset_of(run):
    """The preset of the recipe of a finished run, as a setting."""
    recipe = run.report().get("recipe")
    return {"recipe": recipe["preset"]} if recipe else {}


def _check_pretrained(run):
    if not (run.is_finished and run.is_recorded):
        why = "holds no finished run"
    elif not run.settings().get("pretrain_epochs"):
        why = "had no pre-training"
    elif not run.pretrained_path.is_file():
        why = f"has no {PRETRAINED}: it was removed, or an earlier tfhash trained the run"
    else:
        return
    raise FileNotFoundError(
        f"`pretrained_from` must be a finished run that kept the weights of its pre-training. Received: "
        f"{run.path}, which {why}"
    )


def _check_same(run, before, given):
    may_differ = [*FINE_TUNING, *LENGTHS, *(name for name in ENCODING if name not in before)]
    changed = [
        name
        for name in {*SETTINGS, "recipe"} & set(given)
        if name not in may_differ and given[name] != before.get(name)
    ]
    if changed:
        raise ValueError(
            f"`pretrained_from` {run.path} was pre-trained with "
            + ", ".join(f"{name}={before.get(name)}" for name in sorted(changed))
            + ". Received: "
            + ", ".join(f"{name}={given[name]}" for name in sorted(changed))
            + f". Of the settings, {', '.join(may_differ)} may differ"
        )


def _check_lengths(run, before, found):
    if all(found[name] == before[name] for name in LENGTHS):
        return
    for settings in (before, found):
        if settings["unaugmented_epochs"] > settings["finetune_epochs"]:
            raise ValueError(
                "with other `finetune_epochs` or `unaugmented_epochs` than those of "
                f"`pretrained_from` {run.path}, no epoch of pre-training may be without augmentation. "
                f"Received: {settings['unaugmented_epochs']} epochs without augmentation of "
                f"{settings['finetune_epochs']} epochs of fine-tuning"
            )
