"""The figures in the README are those of the committed reports."""

import json
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["mnist-12", "digits-12"])
def test_the_readme_quotes_its_reports(name):
    report = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())
    (row,) = [line for line in README.splitlines() if f"results/{name}.json" in line]
    metrics, protocol = report["metrics"], report["protocol"]
    for figure in ("map", "map_worst_ties", "map_best_ties", "precision_radius_2"):
        assert f"{metrics[figure]:.4f}" in row
    assert f"{protocol['queries']:,} against {protocol['database_items']:,}" in row
    assert " ".join(report["command_line"]) in row
