"""Runs `tfhash train` with several seeds and collects their reports.

Flags after `--` go to `tfhash train`, with the seed in place of `{seed}`. Interrupted runs continue,
finished runs are not repeated. Prints mean and standard deviation over the seeds.

    python benchmarks/seeds.py --name=digits-12 --title="scikit-learn's digits" -- \
        --dataset=digits --bits=12
    python benchmarks/seeds.py --name=digits-24 --title="scikit-learn's digits" -- \
        --dataset=digits --bits=24 --pretrained_from=runs/seeds/digits-12-{seed}
"""

import json
import pathlib
import subprocess
import sys

import reports
import tables
from absl import app, flags

from tfhash import files

FLAGS = flags.FLAGS
flags.DEFINE_string("name", None, "Name of the result, such as mnist-12.", required=True)
flags.DEFINE_string("title", None, "Title of the data in tables.", required=True)
flags.DEFINE_multi_integer("seeds", [0, 1, 2], "Seeds.")
flags.DEFINE_string("runs", "runs/seeds", "Directory of the runs.")
flags.DEFINE_string("output_dir", "benchmarks/results", "Directory of NAME.json.")
flags.DEFINE_bool(
    "add",
    False,
    "Keep the seeds that NAME.json has, by the same command, perhaps of other machines.",
)


def main(argv):
    output = pathlib.Path(FLAGS.output_dir) / f"{FLAGS.name}.json"
    result = {"title": FLAGS.title, "command": ["tfhash", "train", *argv[1:]], "seeds": {}}
    if FLAGS.add:
        before = json.loads(output.read_text(encoding="utf-8"))
        reports.check_made_with(output, before, {"command": result["command"]})
        result["seeds"] = before["seeds"]
    for seed in FLAGS.seeds:
        directory = pathlib.Path(FLAGS.runs) / f"{FLAGS.name}-{seed}"
        command = [argument.replace("{seed}", str(seed)) for argument in result["command"]]
        report = train([*command, f"--seed={seed}", f"--output_dir={directory}"], directory)
        result["seeds"] = dict(sorted({**result["seeds"], str(seed): report}.items()))
        files.write_json(output, result)
    print(tables.header(tables.TRAINING_COLUMNS) + tables.Training(FLAGS.name, result).full())


def train(command, directory):
    """Runs `command`, unless it has already finished, and returns its report."""
    report = directory / "report.json"
    if not report.exists():
        resume = ["--resume"] if (directory / "run.json").exists() else []
        subprocess.run([sys.executable, "-m", *command, *resume], check=True)
    found = json.loads(report.read_text(encoding="utf-8"))
    made_by = [argument for argument in found["command_line"] if argument != "--resume"]
    if made_by != command:
        raise ValueError(
            f"{report} was made by {' '.join(made_by)}, not by {' '.join(command)}. "
            "Choose another --runs or --name, or delete it"
        )
    return found


if __name__ == "__main__":
    app.run(main)
