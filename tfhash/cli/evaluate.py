"""
Encodes queries and database of a dataset with a trained model and prints how well the codes
retrieve. With --output_dir it also writes report.json and pictures.

  tfhash evaluate --model=runs/mnist-12 --dataset=mnist
"""

import pathlib

from absl import flags

from tfhash import files
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


def run(values, command_line):
    directory = pathlib.Path(values.output_dir) if values.output_dir else None
    if directory and (directory / "report.json").exists() and not values.overwrite:
        raise ValueError(f"`output_dir` {directory} holds a report. Pass --overwrite to replace it")
    model = model_file.load(values)
    own_size = None if values.dataset == "digits" else model.image_shape[:2]
    splits = dataset_flags.load(values, own_size).conform(model.image_shape)
    figures, encoded = evaluation.evaluate(model, splits, evaluation.variant(values))
    print(f"\n{evaluation.table(figures)}")
    if directory:
        evaluation.draw(splits, encoded, model.bits, directory / "pictures")
        report = {"command_line": command_line, "bits": model.bits, **figures}
        files.write_json(directory / "report.json", {**report, **environment.describe()})
        print(f"\nwritten to {directory}/: report.json  pictures/")
