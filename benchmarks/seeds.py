"""Trains with several seeds by `tfhash train`: mean and standard deviation of what they reach.

What stands after `--` goes to `tfhash train`. A run that was stopped goes on, and a finished one is
not repeated. Prints a row of the README's table.

    python benchmarks/seeds.py --name=digits-12 --title="scikit-learn's digits" -- \
        --dataset=digits --bits=12
"""

import functools
import json
import operator
import pathlib
import statistics
import subprocess
import sys

from absl import app, flags
from over_seeds import mean_and_deviation

from tfhash import files

FLAGS = flags.FLAGS
flags.DEFINE_string("name", None, "Name of the result, as mnist-12.", required=True)
flags.DEFINE_string("title", None, "What the README calls the data.", required=True)
flags.DEFINE_multi_integer("seeds", [0, 1, 2], "Seeds.")
flags.DEFINE_string("runs", "runs/seeds", "Where the runs are kept.")
flags.DEFINE_string("output_dir", "benchmarks/results", "Where NAME.json is kept.")

COLUMNS = (
    "data",
    "bits",
    "queries",
    "mAP",
    "worst to best order of ties",
    "precision, radius 2",
    "mAP of the predicted class",
    "mAP untrained",
    "training, 2 cores",
    "command",
)


def main(argv):
    result = {"title": FLAGS.title, "command": ["tfhash", "train", *argv[1:]], "seeds": {}}
    for seed in FLAGS.seeds:
        directory = pathlib.Path(FLAGS.runs) / f"{FLAGS.name}-{seed}"
        report = directory / "report.json"
        if not report.exists():
            run = [f"--seed={seed}", f"--output_dir={directory}"]
            if (directory / "run.json").exists():
                run.append("--resume")
            subprocess.run([sys.executable, "-m", *result["command"], *run], check=True)
        result["seeds"][str(seed)] = json.loads(report.read_text(encoding="utf-8"))
        files.write_json(pathlib.Path(FLAGS.output_dir) / f"{FLAGS.name}.json", result)
    print(row(COLUMNS) + row(["---"] * len(COLUMNS)) + row(cells(FLAGS.name, result)))


def cells(name, result):
    """A row of the README's table: means over the seeds, with standard deviations for mAP."""
    reports = list(result["seeds"].values())
    protocol = reports[0]["protocol"]

    def values(*path):
        return [functools.reduce(operator.getitem, path, report) for report in reports]

    def mean(*path):
        return statistics.mean(values(*path))

    worst, best = mean("metrics", "map_worst_ties"), mean("metrics", "map_best_ties")
    return (
        f"[{result['title']}](benchmarks/results/{name}.json)",
        reports[0]["bits"],
        f"{protocol['queries']:,} against {protocol['database_items']:,}",
        mean_and_deviation(values("metrics", "map")),
        f"{worst:.4f} to {best:.4f}",
        f"{mean('metrics', 'precision_radius_2'):.4f}",
        mean_and_deviation(values("baselines", "predicted class", "metrics", "map")),
        f"{mean('baselines', 'untrained network', 'metrics', 'map'):.4f}",
        f"{mean('seconds', 'training') / 60:.0f} min",
        f"`{' '.join(result['command'])}`",
    )


def row(values):
    return "| " + " | ".join(map(str, values)) + " |\n"


if __name__ == "__main__":
    app.run(main)
