"""How the benchmarks write figures down, and what they do not mix up."""

import json
import math
import pathlib
import subprocess
import sys

import pytest
import tables

SEEDS = pathlib.Path(tables.__file__).with_name("seeds.py")


def cell(precision, bits=12):
    metrics = {"map": precision, "precision_radius_2": precision}
    return {"metrics": metrics, "val_map": precision, "distinct_codes": 3, "bits": bits}


def test_mean_and_deviation_are_those_of_a_sample():
    assert tables.mean_and_deviation([1.0, 2.0, 3.0]) == "2.0000 ± 1.0000"
    assert tables.mean_and_deviation([0.5, 0.7]) == "0.6000 ± 0.1414"
    assert tables.mean_and_deviation([0.25]) == "0.2500"
    assert math.isnan(tables.deviation([0.25]))


def test_a_spread_is_median_least_and_most():
    assert tables.spread([3.0, 1.0, 2.0, 9.0]) == "2.5 (1 to 9)"
    assert tables.spread([1234.0]) == "1234 (1234 to 1234)"


def test_seeds_that_diverged_are_not_left_out_in_silence():
    cells = {
        "first": {"0": cell(0.5), "1": cell(0.7)},
        "second": {"0": cell(0.5), "1": {"diverged": True}},
        "third": {"0": {"diverged": True}},
        "first, 24 bits": {"0": cell(0.9, bits=24)},
    }
    mean, some, none = "0.6000 ± 0.1414", "diverged with 1 of 2 seeds", "diverged with 1 of 1 seeds"
    assert tables.losses({"cells": cells}).splitlines() == [
        f"| first | 12 | {mean} | {mean} | {mean} | 3 | 2 |",
        f"| second | 12 | {some} | {some} | {some} | 3 | 2 |",
        f"| third | - | {none} | {none} | {none} | - | 1 |",
        "| first, 24 bits | 24 | 0.9000 | 0.9000 | 0.9000 | 3 | 1 |",
    ]
    other = {"cells": {"first": {"0": cell(0.1)}}}
    assert tables.compared({"A": {"cells": cells}, "B": other}).splitlines()[2:] == [
        f"| first | {mean} | {mean} | 0.1000 | 0.1000 |",
        f"| second | {some} | {some} | - | - |",
        f"| third | {none} | {none} | - | - |",
    ]


@pytest.mark.parametrize("bits", [12, 16])
def test_seeds_take_a_finished_run_only_if_it_was_made_by_their_command(tmp_path, bits):
    command = ["tfhash", "train", "--dataset=digits", "--bits=12"]
    figures = {"metrics": {"map": 0.5, "map_worst_ties": 0.4, "map_best_ties": 0.6}}
    figures["metrics"]["precision_radius_2"] = 0.5
    for seed in (0, 1):
        run = tmp_path / "runs" / f"test-{seed}"
        run.mkdir(parents=True)
        report = {
            "command_line": [*command, f"--seed={seed}", f"--output_dir={run}", "--resume"],
            "protocol": {"queries": 2, "database_items": 3},
            "bits": 12,
            "baselines": dict.fromkeys(("predicted class", "untrained network"), figures),
            "seconds": {"training": 60.0, "evaluation": 12.0},
            **figures,
        }
        (run / "report.json").write_text(json.dumps(report))
    flags = ["--name=test", "--title=Test", "--seeds=0", "--seeds=1"]
    folders = [f"--runs={tmp_path / 'runs'}", f"--output_dir={tmp_path}"]
    finished = subprocess.run(
        [sys.executable, SEEDS, *flags, *folders, "--", *command[2:-1], f"--bits={bits}"],
        capture_output=True,
        text=True,
    )
    if bits == 12:
        assert "| 0.5000 ± 0.0000 | 0.4000 to 0.6000 |" in finished.stdout
        assert "| 1.0 + 0.2 min |" in finished.stdout
        assert len(json.loads((tmp_path / "test.json").read_text())["seeds"]) == 2
    else:
        assert "was made by tfhash train --dataset=digits --bits=12 --seed=0" in finished.stderr
        assert not (tmp_path / "test.json").exists()
