"""Trains with several seeds by `tfhash train`: mean and standard deviation of what they reach.

What stands after `--` goes to `tfhash train`. A run that was stopped goes on, and a finished one is
not repeated.

    python benchmarks/seeds.py --name=mnist-12 -- --dataset=mnist --bits=12
"""

import json
import pathlib
import statistics
import subprocess
import sys

from absl import app, flags

from tfhash import files

FLAGS = flags.FLAGS
flags.DEFINE_string("name", None, "Name of the result, as mnist-12.", required=True)
flags.DEFINE_multi_integer("seeds", [0, 1, 2], "Seeds.")
flags.DEFINE_string("runs", "runs/seeds", "Where the runs are kept.")
flags.DEFINE_string("output_dir", "benchmarks/results", "Where NAME.json is kept.")

FIGURES = ("map", "map_worst_ties", "map_best_ties", "precision_radius_2")


def main(argv):
    reports = {}
    for seed in FLAGS.seeds:
        directory = pathlib.Path(FLAGS.runs) / f"{FLAGS.name}-{seed}"
        command = ["tfhash", "train", *argv[1:], f"--seed={seed}", f"--output_dir={directory}"]
        if not (directory / "report.json").exists():
            resume = ["--resume"] if (directory / "run.json").exists() else []
            subprocess.run([sys.executable, "-m", "tfhash", *command[1:], *resume], check=True)
        reports[str(seed)] = json.loads((directory / "report.json").read_text(encoding="utf-8"))
        files.write_json(
            pathlib.Path(FLAGS.output_dir) / f"{FLAGS.name}.json",
            {"command": ["tfhash", "train", *argv[1:]], "seeds": reports},
        )
    print(table(reports))


def table(reports):
    """A row for each figure: mean, standard deviation and every seed, as Markdown."""
    lines = ["| figure | mean | standard deviation | each seed |", "| --- | --- | --- | --- |"]
    for name in FIGURES:
        lines.append(row(name, [report["metrics"][name] for report in reports.values()]))
    for name in next(iter(reports.values()))["baselines"]:
        maps = [report["baselines"][name]["metrics"]["map"] for report in reports.values()]
        lines.append(row(f"map, {name}", maps))
    return "\n".join(lines)


def row(name, values):
    deviation = f"{statistics.stdev(values):.4f}" if len(values) > 1 else "-"
    each = ", ".join(f"{value:.4f}" for value in values)
    return f"| {name} | {statistics.mean(values):.4f} | {deviation} | {each} |"


if __name__ == "__main__":
    app.run(main)
