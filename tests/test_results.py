"""The figures in the documentation are those of the committed reports."""

import importlib.util
import json
import pathlib

import pytest

BENCHMARKS = pathlib.Path(__file__).parents[1] / "benchmarks"
README = (BENCHMARKS.parent / "README.md").read_text(encoding="utf-8")
BENCHMARKS_README = (BENCHMARKS / "README.md").read_text(encoding="utf-8")


def read_report(name):
    return json.loads((BENCHMARKS / "results" / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def spread():
    """How the benchmarks write a median and its range."""
    spec = importlib.util.spec_from_file_location("timing", BENCHMARKS / "timing.py")
    timing = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(timing)
    return timing.spread


@pytest.mark.parametrize("name", ["mnist-12", "digits-12"])
def test_the_readme_quotes_its_reports(name):
    report = read_report(name)
    (row,) = [line for line in README.splitlines() if f"results/{name}.json" in line]
    metrics, protocol = report["metrics"], report["protocol"]
    for figure in ("map", "map_worst_ties", "map_best_ties", "precision_radius_2"):
        assert f"{metrics[figure]:.4f}" in row
    assert f"{protocol['queries']:,} against {protocol['database_items']:,}" in row
    assert " ".join(report["command_line"]) in row


def test_the_speed_of_search_is_that_of_its_report(spread):
    report = read_report("hamming")
    for bits, cell in report["search"].items():
        ours, theirs = (spread(cell["rates"][engine]) for engine in ("tfhash", "faiss"))
        times = spread(cell["times_faiss"])
        assert f"| {bits} | {ours} | {theirs} | {times} |" in README
        assert f"| {bits} | {ours} | {theirs} |" in BENCHMARKS_README
        assert f"| {times} | {spread(cell['k100_to_k10'])} |" in BENCHMARKS_README
    assert f"takes {spread(report['single_query']['times_fastest_reading'])} times as" in README


def test_the_speed_of_evaluation_is_that_of_its_report(spread):
    for bits, cell in read_report("evaluation")["cells"].items():
        ours, usual, times = (
            spread(cell[name]) for name in ("histogram", "usual_evaluator", "times")
        )
        assert f"| {bits} | {ours} |" in BENCHMARKS_README
        assert f"| {usual} | {times} |" in BENCHMARKS_README
