"""Fine-tuning of a network that another run pre-trained."""

import dataclasses

from tfhash import files
from tfhash.experiments.recipe import Recipe
from tfhash.experiments.run_directory import PRETRAINED, RunDirectory
from tfhash.experiments.settings import Division, Labels, Source, Training
from tfhash.text import printable

# What pre-training does not depend on: these are not taken over.
FINE_TUNING = ("bits", "scale", "loss", "slope", "head_lr_multiplier", "flip_tta")

# Taken over, but may differ while pre-training sees augmented images alone.
LENGTHS = ("finetune_epochs", "unaugmented_epochs")


def taken_over(given):
    """Settings of a training, with those of the run `pretrained_from` where they are left open.

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
    run = RunDirectory(given["pretrained_from"])
    _check_pretrained(run)
    if RunDirectory.of_training(given).path.resolve() == run.path.resolve():
        raise ValueError(
            "`output_dir` must be another directory than that of `pretrained_from`. Received: "
            f"{run.path} for both"
        )
    if not run.was_trained_on(given["dataset"]):
        raise ValueError(
            f"`dataset` must be that of `pretrained_from` {run.path}, which was trained on "
            f"{run.settings()['dataset']}. Received: {given['dataset']}"
        )
    before = {
        field.name: run.settings().get(field.name)
        for cls in (Source, Labels, Division, Training, Recipe)
        for field in dataclasses.fields(cls)
        if field.metadata["part_of_run"] and field.name not in ("dataset", "pretrained_from")
    }
    given = {name: value for name, value in given.items() if value is not None}
    changed = [
        name
        for name, value in before.items()
        if name not in (*FINE_TUNING, *LENGTHS) and given.get(name, value) != value
    ]
    if changed:
        raise ValueError(
            f"`pretrained_from` {run.path} was pre-trained with "
            + ", ".join(f"{name}={before[name]}" for name in changed)
            + ". Received: "
            + ", ".join(f"{name}={given[name]}" for name in changed)
            + f". Of the settings, {', '.join((*FINE_TUNING, *LENGTHS))} may differ"
        )
    kept = {
        name: value
        for name, value in before.items()
        if value is not None and name not in FINE_TUNING
    }
    found = {**kept, **given}
    for settings in (before, found):
        if settings["unaugmented_epochs"] > settings["finetune_epochs"] and any(
            found[name] != before[name] for name in LENGTHS
        ):
            raise ValueError(
                "with other `finetune_epochs` or `unaugmented_epochs` than those of "
                f"`pretrained_from` {run.path}, no epoch of pre-training may be without augmentation. "
                f"Received: {settings['unaugmented_epochs']} epochs without augmentation of "
                f"{settings['finetune_epochs']} epochs of fine-tuning"
            )
    return found


def check_items(path, splits):
    """Raises `ValueError` unless the run `path`, if there is one, has the items of `splits`."""
    if path is not None and RunDirectory(path).items() != splits.fingerprint():
        raise ValueError(
            f"the items of the dataset have changed since `pretrained_from` {path} was trained, which "
            "may have trained on items that are queries now. Restore them, or train without it"
        )


def take_over(path, model, make_model, directory, progress):
    """Gives a model the backbone and the classifier that a run pre-trained, before fine-tuning.

    Args:
        path: The run, as in `taken_over`.
        model: Built `HashingModel`; its hashing head stays as it is.
        make_model: Function from a number of bits to a model like `model`.
        directory: `RunDirectory` of the run that fine-tunes.
        progress: `Progress`.
    """
    progress.say(f"Fine-tuning the network of {printable(path)} as pre-training left it")
    run = RunDirectory(path)
    pretrained = make_model(run.settings()["bits"]).uncompiled_copy()
    pretrained.load_weights(run.pretrained_path)
    for part in ("backbone", "classifier"):
        getattr(model, part).set_weights(getattr(pretrained, part).get_weights())
    # Where a run that pre-trains keeps them.
    with files.atomic_write(directory.backup / PRETRAINED) as temporary:
        model.uncompiled_copy().save_weights(temporary)


def _check_pretrained(run):
    if not run.is_finished:
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
