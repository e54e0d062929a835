"""
Encodes queries and database of a dataset with a trained model and prints how well the codes
retrieve. The items are divided as they were for its training, unless --protocol says
otherwise. With --output_dir it also writes report.json and pictures. The baselines that
training measured stand beside the result where the items and the variant of mAP are the same.

  tfhash evaluate --model=runs/mnist-12 --dataset=mnist
"""

import pathlib

from absl import flags

from tfhash import data, files
from tfhash.cli import dataset_flags, environment, evaluation, model_file
from tfhash.cli.main import require


def define_flags(values):
    model_file.define_flags(values)
    dataset_flags.define_flags(values)
    evaluation.define_flags(values)
    flags.DEFINE_string(
        "output_dir", None, "Where to write report.json and pictures/; by default nowhere.",
        flag_values=values,
    )  # fmt: skip
    flags.DEFINE_bool(
        "overwrite", False, "Replace a report that is already there.", flag_values=values
    )


def check_flags(values):
    require(values, "model", "dataset")
    evaluation.check_flags(values)


def run(values, command_line):
    directory = pathlib.Path(values.output_dir) if values.output_dir else None
    if directory and (directory / "report.json").exists() and not values.overwrite:
        raise ValueError(f"`output_dir` {directory} holds a report. Pass --overwrite to replace it")
    model = model_file.load(values)
    own_size = None if values.dataset == "digits" else model.image_shape[:2]
    trained_on = _division_of_training(values)
    for name, value in trained_on.items():
        if not values[name].present:
            values[name].value = value
    splits = dataset_flags.load(values, own_size).resize_to(model.image_shape)
    if any(values[name].value != value for name, value in trained_on.items()):
        _check_queries_are_new(splits, values, trained_on, own_size)
    figures, encoded = evaluation.evaluate(model, splits, evaluation.variant(values))
    figures["baselines"] = _baselines_of_training(values, figures["protocol"])
    print(f"\n{evaluation.table(figures)}")
    if not figures["baselines"]:
        print(
            "\nThere are no baselines to compare with: this model has no report of its training "
            "on these items by this variant of map"
        )
    if directory:
        evaluation.draw(splits, encoded, model.bits, directory / "pictures")
        report = {"command_line": command_line, "bits": model.bits, **figures}
        files.write_json(directory / "report.json", {**report, **environment.describe()})
        print(f"\nwritten to {directory}/: report.json  pictures/")


def _division_of_training(values):
    """Flags that divided this dataset when the model was trained; none if that was on another."""
    trained = model_file.settings(values)
    if not trained:
        print(
            "There is no run.json beside the model: whether it was trained on some of the queries "
            "is not known"
        )
        return {}
    if not model_file.trained_on(values, values.dataset):
        print(
            f"This model was trained on {trained['dataset']}: whether {values.dataset} holds items "
            "that it was trained on is not known"
        )
        return {}
    return {name: trained.get(name, values[name].default) for name in dataset_flags.DIVISION}


def _baselines_of_training(values, protocol):
    """What training measured on the same items by the same measure; empty otherwise."""
    if not model_file.trained_on(values, values.dataset):
        return {}
    trained = model_file.report(values)
    before = trained.get("protocol", {})
    same = all(before.get(key) == protocol[key] for key in ("fingerprint", "average_precision"))
    return trained.get("baselines", {}) if same else {}


def _check_queries_are_new(splits, values, division, image_size):
    """Raises `ValueError` if the model, trained with this division, has seen some queries."""
    before = data.load(
        values.dataset,
        data_dir=values.data_dir,
        image_size=image_size,
        skip_broken=values.skip_broken,
        **division,
    )
    seen = {*before.train.names, *before.validation.names}
    if model_file.settings(values).get("unlabeled"):
        seen.update(before.unlabeled().names)
    count = sum(name in seen for name in splits.queries.names)
    if count:
        flags_then = " ".join(f"--{name}={value}" for name, value in division.items())
        raise ValueError(
            f"{count:,} of the {len(splits.queries):,} queries took part in the training of this "
            f"model, which was with {flags_then}. Evaluate it with these, or train another"
        )
