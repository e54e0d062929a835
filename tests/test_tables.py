"""Tables: their formats, and that the documents hold those of the committed results."""

import importlib.util
import json
import math
import pathlib
import re
import subprocess
import sys

import api_index
import pytest
import tables
import write_tables
from packaging.specifiers import SpecifierSet

ROOT = pathlib.Path(__file__).parents[1]
SEEDS = pathlib.Path(tables.__file__).with_name("seeds.py")


def cell(precision, bits=12):
    metrics = {"map": precision, "precision_radius_2": precision}
    return {
        "metrics": metrics,
        "unseen_items": {"metrics": metrics},
        "val_map": precision,
        "distinct_codes": 3,
        "bits": bits,
    }


def test_mean_and_deviation_are_those_of_a_sample():
    assert tables.mean_and_deviation([1.0, 2.0, 3.0]) == "2.0000 ± 1.0000"
    assert tables.mean_and_deviation([0.5, 0.7]) == "0.6000 ± 0.1414"
    assert tables.mean_and_deviation([0.25]) == "0.2500"
    assert math.isnan(tables.deviation([0.25]))


def test_a_spread_is_median_minimum_and_maximum():
    assert tables.spread([3.0, 1.0, 2.0, 9.0]) == "2.5 (1 to 9)"
    assert tables.spread([1234.0]) == "1234 (1234 to 1234)"


def test_diverged_seeds_are_reported():
    cells = {
        "first": {"0": cell(0.5), "1": cell(0.7)},
        "second": {"0": cell(0.5), "1": {"diverged": True}},
        "third": {"0": {"diverged": True}},
        "first, 24 bits": {"0": cell(0.9, bits=24)},
    }
    mean, some, none = "0.6000 ± 0.1414", "diverged with 1 of 2 seeds", "diverged with 1 of 1 seeds"
    # Before there were figures of unseen images, validation searched training images.
    for settings, columns in (({}, 3), ({"validation": "validation items among each other"}, 4)):
        head, _, *rows = tables.losses({"settings": settings, "cells": cells}).splitlines()
        assert ("| validation mAP, searching training images |" in head) == (columns == 3)
        assert ("| mAP, images never seen | validation mAP |" in head) == (columns == 4)
        assert rows == [
            f"| first | 12 | {' | '.join([mean] * columns)} | 3 | 2 |",
            f"| second | 12 | {' | '.join([some] * columns)} | 3 | 2 |",
            f"| third | - | {' | '.join([none] * columns)} | - | 1 |",
            f"| first, 24 bits | 24 | {' | '.join(['0.9000'] * columns)} | 3 | 1 |",
        ]
    other = {"cells": {"first": {"0": cell(0.1)}}}
    assert tables.compared({"A": {"cells": cells}, "B": other}).splitlines()[2:] == [
        f"| first | {mean} | {mean} | 0.1000 | 0.1000 |",
        f"| second | {some} | {some} | - | - |",
        f"| third | {none} | {none} | - | - |",
    ]


COMMAND = ["tfhash", "train", "--dataset=digits"]


@pytest.fixture
def run_seeds(tmp_path):
    """Finished runs of two seeds with 12 bits, and a function that runs `seeds.py` on them."""
    figures = {"metrics": {"map": 0.5, "map_worst_ties": 0.4, "map_best_ties": 0.6}}
    figures["metrics"]["precision_radius_2"] = 0.5
    for seed in (0, 1):
        run = tmp_path / "runs" / f"test-{seed}"
        run.mkdir(parents=True)
        command = [*COMMAND, "--bits=12", f"--seed={seed}", f"--output_dir={run}", "--resume"]
        report = {
            "command_line": command,
            "protocol": {"queries": 2, "database_items": 3},
            "bits": 12,
            "baselines": dict.fromkeys(("predicted class", "untrained network"), figures),
            "seconds": {"training": 60.0, "evaluation": 12.0},
            **figures,
        }
        (run / "report.json").write_text(json.dumps(report))

    def run_them(*flags, bits=12):
        folders = [f"--runs={tmp_path / 'runs'}", f"--output_dir={tmp_path}"]
        command = [SEEDS, "--name=test", "--title=Test", *folders, *flags]
        command += ["--", *COMMAND[2:], f"--bits={bits}"]
        return subprocess.run([sys.executable, *command], capture_output=True, text=True)

    return run_them


def test_a_finished_run_is_reused(run_seeds, tmp_path):
    finished = run_seeds("--seeds=0", "--seeds=1")
    assert "| 0.5000 ± 0.0000 | - | 0.4000 to 0.6000 |" in finished.stdout
    assert "| 1.0 + 0.2 |" in finished.stdout
    assert len(json.loads((tmp_path / "test.json").read_text())["seeds"]) == 2


def test_a_finished_run_of_another_command_is_refused(run_seeds, tmp_path):
    finished = run_seeds("--seeds=0", bits=16)
    assert "was made by tfhash train --dataset=digits --bits=12 --seed=0" in finished.stderr
    assert not (tmp_path / "test.json").exists()


def test_seeds_are_added_only_to_those_of_the_same_command(run_seeds, tmp_path):
    result = tmp_path / "test.json"

    def seeds():
        return list(json.loads(result.read_text())["seeds"])

    run_seeds("--seeds=1")
    assert seeds() == ["1"]
    assert "| 0.5000 ± 0.0000 |" in run_seeds("--seeds=0", "--add").stdout
    assert seeds() == ["0", "1"]
    before = result.read_text()
    refused = run_seeds("--seeds=0", "--add", bits=16).stderr
    assert (
        "was made with {'command': ['tfhash', 'train', '--dataset=digits', '--bits=12']}" in refused
    )
    assert result.read_text() == before
    run_seeds("--seeds=0")
    assert seeds() == ["0"]


@pytest.mark.parametrize("path", write_tables.documents(), ids=lambda path: path.name)
def test_the_tables_of_a_document_are_those_of_the_committed_results(path):
    # If this fails: make tables
    assert write_tables.update_document(path) == path.read_text(encoding="utf-8")


def test_every_table_and_figure_can_be_written_and_is_rectangular():
    for name, table in write_tables.TABLES.items():
        lines = table("").splitlines()
        assert len(lines) > 2, name
        assert len({line.count("|") for line in lines}) == 1, name
    for name in write_tables.FIGURES.keys() - {"badges", "scale-machine", "beam-machine"}:
        figure = write_tables.FIGURES[name]
        low, high = map(float, figure("").split(" to "))
        assert low <= high, name


def test_the_summary_has_seven_columns_and_links_from_the_folder_of_the_document():
    head, _, *rows = write_tables.TABLES["results"]("../").splitlines()
    assert head.count("|") == 8
    assert len(rows) == len(write_tables.measured())
    assert all("](../benchmarks/results/" in row for row in rows)


def test_figures_that_a_run_did_not_measure_are_left_open():
    def report(value, **more):
        return {"metrics": {"map": value}, "bits": 12, **more}

    among = {"unseen_items": {"metrics": {"map": 0.25}}}
    rival = {"metrics": {"map": 0.5}, **among}
    classes = {"predicted class": {"accuracy": 0.625}, "predicted class, whole training": rival}
    whole = report(0.75, baselines=classes, **among)
    before = tables.Training("a", {"title": "A", "command": [], "seeds": {"0": report(0.75)}})
    now = tables.Training("a", {"title": "A", "command": [], "seeds": {"0": whole}})
    assert before.both("map") == ["0.7500", "-"]
    assert (before.accuracy(), now.accuracy()) == ("-", "0.6250")
    cells = now.unseen().strip("| \n").split(" | ")[2:]
    assert cells == ["0.7500", "0.2500", "0.5000", "0.2500", "-", "-", "-", "-"]


def test_text_between_markers_is_replaced_and_the_rest_kept(monkeypatch):
    monkeypatch.setattr(write_tables, "TABLES", {"a-b": lambda root: "| new |\n"})
    monkeypatch.setattr(write_tables, "FIGURES", {"c": lambda root: "2 to 3"})
    text = (
        "before\n<!-- table: a-b -->\n| old |\n| row |\n<!-- end table -->\nbetween "
        "<!-- figure: c -->1<!-- end figure --> times\n"
    )
    updated = write_tables.update(text)
    assert updated == (
        "before\n<!-- table: a-b -->\n| new |\n<!-- end table -->\nbetween "
        "<!-- figure: c -->2 to 3<!-- end figure --> times\n"
    )
    assert write_tables.update(updated) == updated


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- table: none -->\n<!-- end table -->", "unknown table: .* Received: none"),
        ("<!-- figure: results --><!-- end figure -->", "unknown figure: .* Received: results"),
        ("<!-- table: results -->\n", "needs a `<!-- end table -->`"),
        ("<!-- end table -->\n", "needs a `<!-- end table -->`"),
        ("<!-- table: results --><!-- table: losses -->\n<!-- end table -->", "needs a"),
    ],
)
def test_unknown_and_unclosed_markers_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        write_tables.update(text)


def test_the_list_of_the_api_has_every_module_that_the_documents_name():
    named = set()
    for document in write_tables.documents():
        named |= set(re.findall(r"`(tfhash(?:\.\w+)+)`", document.read_text(encoding="utf-8")))
    names = {f"{m}.{name}" for m in api_index.MODULES for name, _ in api_index.public_names(m)}
    modules = {
        name for name in named - names
        if (path := api_index.ROOT / name.replace(".", "/")).is_dir() or path.with_suffix(".py").exists()
    }  # fmt: skip
    assert "tfhash.index.duplicates" in modules
    assert modules <= set(api_index.MODULES)
    assert {f"tfhash.index.duplicates.{name}" for name in ("pairs", "groups", "Groups")} <= names


def test_badges_name_every_version_once_by_number(monkeypatch):
    rows = [
        {"Python": "3.11", "TensorFlow": "2.21", "Keras": "3.15"},
        {"Python": "3.9", "TensorFlow": "2.21", "Keras": "3.15"},
    ]
    monkeypatch.setattr(write_tables, "read_result", {"tested_versions": rows}.get)
    badges = write_tables.FIGURES["badges"]("")
    assert re.findall(r"!\[tested with (.+?)\]", badges) == [
        "Python 3.9 | 3.11",
        "TensorFlow 2.21",
        "Keras 3.15",
    ]
    assert "badge/Python-3.9%20%7C%203.11-blue" in badges


def test_versions_are_recorded_once(monkeypatch, tmp_path, capsys):
    spec = importlib.util.spec_from_file_location(
        "tested_versions", ROOT / "tools" / "tested_versions.py"
    )
    tested_versions = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tested_versions)
    monkeypatch.setattr(tested_versions, "RECORD", tmp_path / "record.json")
    older = {"Python": "3.10"}
    tested_versions.RECORD.write_text(json.dumps([older]))
    tested_versions.main()
    assert "make tables" in capsys.readouterr().out
    tested_versions.main()
    assert "make tables" not in capsys.readouterr().out
    recorded = json.loads(tested_versions.RECORD.read_text())
    assert recorded == [older, tested_versions.this_environment()]


def test_recorded_versions_are_among_those_the_package_supports():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    python = re.search(r'requires-python = "(.+)"', project)[1]
    supported = re.search(
        r'SUPPORTED_TENSORFLOW = "tensorflow(.+)"', (ROOT / "setup.py").read_text("utf-8")
    )[1]
    for row in write_tables.read_result("tested_versions"):
        assert row["Python"] in SpecifierSet(python)
        assert row["TensorFlow"] in SpecifierSet(supported)
