"""
  tfhash evaluate --model=runs/mnist-12 --dataset=mnist
  tfhash evaluate --model=runs/photos-32 --dataset=photos/ --output_dir=evaluations/photos
  tfhash evaluate --model=runs/photos-32 --dataset=photos/ --asymmetric

Encodes the queries and the database of a dataset with a trained model and prints how well the
codes retrieve. Items are divided as in the training of the model, unless --protocol says
otherwise. With --output_dir it also writes report.json and pictures. The baselines that training
measured are shown where the items are the same.

--asymmetric adds the figures of relaxed queries, as `tfhash search --asymmetric` ranks by them.
"""

import dataclasses

from tfhash.cli.model_flag import Model
from tfhash.cli.require import require
from tfhash.experiments import settings
from tfhash.experiments.settings import setting


@dataclasses.dataclass(frozen=True)
class Output(settings.Settings):
    output_dir: str | None = setting(
        None, "Where to write report.json and pictures/; nowhere by default."
    )
    overwrite: bool = setting(False, "Replace a report that is already there.")


@dataclasses.dataclass(frozen=True)
class Queries(settings.Settings):
    asymmetric: bool = setting(
        False,
        "Measure relaxed queries, too, which search the binary codes by expected Hamming distance.",
    )


GROUPS = {
    "Model and data": (Model, settings.Source, settings.Cache, settings.Labels, settings.Division),
    "Measure of retrieval": (settings.Measure, Queries),
    "Output": (Output,),
}


def check(given):
    require(given, "model", "dataset")
    for cls in (settings.Source, settings.Labels, settings.Division, settings.Measure):
        cls.pick(given)


def check_paths(given):
    from tfhash.experiments.run_directory import RunDirectory

    settings.check_paths(given)
    RunDirectory.of_model(given["model"]).check_model()
    if given.get("output_dir"):
        RunDirectory(given["output_dir"]).check_no_report(bool(given.get("overwrite")))


def run(given, command_line):
    from tfhash import experiments
    from tfhash.experiments.report import summary

    report = experiments.evaluate(**given, command_line=command_line)
    print(f"\n{summary(report)}")
    if not report["baselines"]:
        print(
            "\nThere are no baselines to compare with: this model has no report of its training "
            "on these items that has any"
        )
    if given.get("output_dir"):
        print(f"\nwritten to {given['output_dir']}/: report.json  pictures/")
