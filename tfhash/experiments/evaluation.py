"""Evaluates a trained model on a dataset."""

import pathlib

from tfhash import data, files
from tfhash.experiments import environment, pictures, report, settings
from tfhash.experiments.datasets import count_seen, load_splits, names_trained_on, summary_of
from tfhash.experiments.measurement import measure
from tfhash.experiments.progress import Progress
from tfhash.experiments.run_directory import SCHEMA_VERSION, RunDirectory
from tfhash.text import printable

SETTINGS = (
    settings.Source,
    settings.Cache,
    settings.Labels,
    settings.Division,
    settings.Measure,
)

# What decides which items are queries, besides the dataset.
DIVIDING = ("protocol", "validation_fraction", "labels", "label_key")


def evaluate(
    model,
    dataset,
    output_dir=None,
    overwrite=False,
    command_line=None,
    verbose="auto",
    asymmetric=False,
    **given,
):
    """Encodes the queries and the database of a dataset and measures how well codes retrieve.

    Items are labeled and divided as in the model's training unless `labels`, `label_key`, `protocol`
    or `validation_fraction` say otherwise. The baselines of the training are included where the items
    are the same.

    Args:
        model: Path of a run or of a `.keras` file.
        dataset: As in `tfhash.experiments.train`.
        output_dir: Where to write `report.json` and `pictures/`; by default nowhere.
        overwrite: Whether to replace a report there.
        command_line, verbose: As in `tfhash.experiments.train`.
        asymmetric: Whether to measure relaxed queries, too, which search the binary codes by the expected
            Hamming distance.
        **given: Settings of the dataclasses in `SETTINGS`: `protocol`, `map_at`, ...

    Returns:
        The report, a dictionary: a subset of
        `tfhash.experiments.run_directory.REPORT_SCHEMA`.

    Raises:
        ValueError: If a setting is out of bounds, or some queries took part in the training.
        FileNotFoundError: If there is no model.

    Example:

        report = tfhash.experiments.evaluate("runs/mnist-12", "mnist")
        report["metrics"]["map"]
    """
    given = settings.named(dataset, given)
    settings.check_names(given, *SETTINGS)
    source, variant = settings.Source.pick(given), settings.Measure.pick(given)
    progress = Progress(verbose)
    directory = pathlib.Path(output_dir) if output_dir else None
    if directory:
        RunDirectory(directory).check_no_report(overwrite)
    run = RunDirectory.of_model(model)
    network = run.load_model()
    size = None if source.dataset == "digits" else network.image_shape[:2]
    trained_with = _division_of_training(run, source.dataset, progress)
    now = {**trained_with, **{name: given[name] for name in given if given[name] is not None}}
    labels, division = settings.Labels.pick(now), settings.Division.pick(now)
    cache_dir = settings.Cache.pick(given).cache_dir
    splits = load_splits(source, labels, division, size, progress, cache_dir).resize_to(
        network.image_shape
    )
    before = None
    if trained_with:
        is_divided_anew = any(now.get(name) != trained_with.get(name) for name in DIVIDING)
        before = splits
        if is_divided_anew and splits.fingerprint() != _fingerprint(run.report()):
            before = _splits_of_training(source, trained_with, size, progress, cache_dir)
    trained_items = None
    if before is not None:
        trained_on = names_trained_on(before, run.settings().get("unlabeled"))
        _check_queries_are_new(splits, trained_on.union(before.validation.names), trained_with)
        trained_items = count_seen(splits, trained_on)
    evaluation = measure(network, splits, variant.variant(), progress, trained_items, asymmetric)
    figures = evaluation.figures
    found = {
        "command_line": command_line,
        "bits": network.bits,
        "class_names": [printable(name, longest=1000) for name in splits.classes],
        **figures,
        "data": summary_of(splits),
        "warnings": report.warnings_of_figures(figures),
        "baselines": _baselines_of_training(run, source.dataset, figures["protocol"]),
        **environment.describe(),
    }
    if directory:
        files.write_json(directory / "report.json", {"schema_version": SCHEMA_VERSION, **found})
        pictures.draw(directory / "pictures", splits, evaluation, network.bits, progress)
    return found


def _division_of_training(run, dataset, progress):
    """How training divided this dataset; empty if it was another."""
    trained = run.settings()
    if not trained:
        progress.say(
            "There is no run.json next to the model: whether it was trained on some of the queries "
            "is not known"
        )
        return {}
    if not run.was_trained_on(dataset):
        progress.say(
            f"This model was trained on {trained['dataset']}: whether {dataset} holds items "
            "that it was trained on is not known"
        )
        return {}
    return {name: trained[name] for name in DIVIDING if trained.get(name) is not None}


def _baselines_of_training(run, dataset, protocol):
    """What training measured on the same items; empty otherwise."""
    trained = run.report()
    before = trained.get("protocol", {})
    is_same = run.was_trained_on(dataset) and before.get("fingerprint") == protocol["fingerprint"]
    if not is_same:
        return {}
    if before["average_precision"] == protocol["average_precision"]:
        return trained.get("baselines", {})
    return {name: _over_whole_rankings(of) for name, of in trained.get("baselines", {}).items()}


def _over_whole_rankings(figures):
    """Figures without mAP at a cut-off, whose variant may be another."""
    if not isinstance(figures, dict):
        return figures
    return {
        name: _over_whole_rankings(value)
        for name, value in figures.items()
        if not name.startswith("map_at_")
    }


def _fingerprint(trained):
    return trained.get("protocol", {}).get("fingerprint")


def _splits_of_training(source, division, image_size, progress, cache_dir):
    """The items as they were divided in the training; `None` where that cannot be known."""
    file = division.get("labels")
    if file and not pathlib.Path(file).is_file():
        progress.say(
            f"The labels of the training, {file}, do not exist any more: whether this model was "
            "trained on some of the queries is not known"
        )
        return None
    return data.load(
        source.dataset,
        data_dir=source.data_dir,
        image_size=image_size,
        skip_broken=source.skip_broken,
        cache_dir=cache_dir,
        **division,
    )


def _check_queries_are_new(splits, seen, division):
    """Raises `ValueError` if some queries are among the names that training, so divided, has seen."""
    count = sum(name in seen for name in splits.queries.names)
    if count:
        flags_then = " ".join(f"--{name}={value}" for name, value in division.items())
        raise ValueError(
            f"{count:,} of the {len(splits.queries):,} queries took part in the training of this "
            f"model, which was with {flags_then}. Evaluate it with these, or train another"
        )
