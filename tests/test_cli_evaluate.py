import json
import shutil

import numpy as np
import pytest
from commands import QUICK, SHORT, error_of, row_of

from tfhash import data, metrics
from tfhash.cli import main
from tfhash.data import protocols
from tfhash.experiments import RunDirectory
from tfhash.experiments.settings import located

pytestmark = pytest.mark.usefixtures("without_pictures")


def test_the_report_names_the_variant_of_average_precision(run_directory, tmp_path, capsys):
    command = ["evaluate", f"--model={run_directory}", "--dataset=digits"]
    flags = ["--map_at=10", "--map_denominator=retrieved", "--map_without_hits=drop"]
    maps = []
    trained = json.loads((run_directory / "report.json").read_text())
    for name, given in (("default", []), ("variant", flags)):
        assert main([*command, *given, f"--output_dir={tmp_path / name}"]) == 0
        report = json.loads((tmp_path / name / "report.json").read_text())
        maps.append(report["metrics"])
        for baseline, figures in report["baselines"].items():
            before = trained["baselines"][baseline]["metrics"]
            assert figures["metrics"]["map"] == before["map"]
            # Those of training were measured without the cut-off.
            assert ("map_at_100" in figures["metrics"]) == (not given)
        printed = capsys.readouterr().out
        assert "\nmAP over whole rankings, ties in random order\n" in printed
        at_cut_off = (
            "\nmAP at 10 over the 10 nearest, ties in random order; divided by the hits retrieved; "
            "queries without hits are dropped\n"
        )
        assert (at_cut_off in printed) == bool(given)
        assert report["protocol"]["average_precision"] == (
            {"map_k": 10, "denominator": "retrieved", "without_hits": "drop"}
            if given
            else {"map_k": "all", "denominator": "possible", "without_hits": "zero"}
        )
    assert maps[0].items() < maps[1].items()
    assert list(maps[1].keys() - maps[0].keys()) == ["map_at_10"]
    both = maps[1], report["unseen_items"]["metrics"]
    assert row_of(printed, "mAP at 10") == [f"{figures['map_at_10']:.4f}" for figures in both]


def test_evaluate_divides_the_items_as_for_the_training(tmp_path, capsys):
    directory = tmp_path / "unseen"
    assert (
        main(["train", *QUICK, *SHORT, "--protocol=unseen-classes", f"--output_dir={directory}"])
        == 0
    )
    capsys.readouterr()
    assert main(["evaluate", f"--model={directory}", "--dataset=digits"]) == 0
    assert "digits, unseen-classes: " in capsys.readouterr().out


def test_queries_that_took_part_in_training_are_refused(run_directory, monkeypatch, capsys):
    monkeypatch.setattr(protocols, "QUERIES_OF_CLASS", 20)
    monkeypatch.setattr(protocols, "TRAINING_ITEMS_OF_CLASS", 40)
    command = ["evaluate", f"--model={run_directory}", "--dataset=digits", "--protocol=cnnh"]
    message = error_of(capsys, *command)
    trained = data.load("digits")
    queries = data.load("digits", protocol="cnnh").queries.names
    count = len({*trained.train.names, *trained.validation.names} & set(queries))
    assert 0 < count < 200
    assert f"{count} of the 200 queries took part in the training" in message
    assert "which was with --protocol=official --validation_fraction=0.05" in message


def test_other_queries_than_in_training_are_allowed(run_directory, capsys):
    # The queries of `unseen-classes` are some of the official ones.
    command = [
        "evaluate",
        f"--model={run_directory}",
        "--dataset=digits",
        "--protocol=unseen-classes",
    ]
    assert main(command) == 0
    assert "digits, unseen-classes: " in capsys.readouterr().out


def test_evaluate_counts_what_training_has_seen_of_another_division(
    run_directory, tmp_path, capsys
):
    """Of unseen items nothing; of three classes what was not held out; unknown without a run.json."""
    shutil.copy(run_directory / "model.keras", tmp_path)
    trained_on = set(data.load("digits").train.names)
    classes = data.load("digits", protocol="unseen-classes").database.names
    cases = [
        (run_directory, "unseen-items", "0"),
        (run_directory, "unseen-classes", f"{len(trained_on.intersection(classes)):,}"),
        (tmp_path, "unseen-items", None),
    ]
    for model, protocol, count in cases:
        command = ["evaluate", f"--model={model}", "--dataset=digits", f"--protocol={protocol}"]
        assert main(command) == 0
        printed = capsys.readouterr().out
        if count is None:
            assert "of these trained on" not in printed
            assert "training never saw" not in printed
        else:
            assert row_of(printed, "of these trained on") == [count, "0"]
            times = printed.count("searching images that")
            assert times == (2 if protocol == "unseen-items" else 1)


def test_evaluate_says_if_nothing_tells_what_a_model_was_trained_on(
    run_directory, tmp_path, capsys
):
    shutil.copy(run_directory / "model.keras", tmp_path)
    known, unknown = ["evaluate", f"--model={run_directory}"], ["evaluate", f"--model={tmp_path}"]
    for command in (known, unknown):
        assert main([*command, "--dataset=digits"]) == 0
        said = "There is no run.json next to the model" in capsys.readouterr().out
        assert said == (command is unknown)


@pytest.mark.parametrize(
    ("trained_on", "asked", "is_same"),
    [
        ("cifar10", "cifar10:3.0.2", True),
        ("photos", "./photos/", True),
        ("cifar10", "cifar100", False),
        ("digits", "./digits", False),  # scikit-learn's, and a folder
    ],
)
def test_a_dataset_is_the_same_in_another_version_or_spelling(
    tmp_path, monkeypatch, trained_on, asked, is_same
):
    for folder in ("photos", "digits"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path)
    recorded = {"settings": {"dataset": trained_on}, "located": located(trained_on)}
    (tmp_path / "run.json").write_text(json.dumps(recorded))
    assert RunDirectory.of_model("model.keras").was_trained_on(asked) == is_same


def test_the_folder_of_the_training_is_known_from_everywhere_and_no_other_is(
    tmp_path, make_folder, monkeypatch, capsys
):
    monkeypatch.setattr(protocols, "QUERIES_OF_CLASS", 3)
    monkeypatch.setattr(protocols, "TRAINING_ITEMS_OF_CLASS", 5)
    photos, copy = make_folder(), tmp_path / "copy"
    shutil.copytree(photos, copy)
    monkeypatch.chdir(tmp_path)
    quick = ["--image_size=8", "--backbone=mlp", "--width=4", "--batch_size=4", *SHORT]
    assert main(["train", "--dataset=photos", "--protocol=cnnh", "--output_dir=run", *quick]) == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    command = ["evaluate", "--model=../run"]
    capsys.readouterr()
    assert main([*command, "--dataset=../photos"]) == 0
    printed = capsys.readouterr().out
    assert "../photos, cnnh: " in printed
    assert "mAP, predicted class" in printed
    # The same names and labels, but other images: what was measured on photos is not on copy.
    assert main([*command, "--dataset=../copy", "--protocol=cnnh"]) == 0
    printed = capsys.readouterr().out
    assert "This model was trained on photos: whether ../copy holds items" in printed
    assert "There are no baselines to compare with" in printed
    # Moved together with the run, the folder is known by the path that was given.
    (tmp_path / "moved").mkdir()
    photos.rename(tmp_path / "moved" / "photos")
    monkeypatch.chdir(tmp_path / "moved")
    assert main([*command, "--dataset=./photos"]) == 0
    printed = capsys.readouterr().out
    assert "photos, cnnh: " in printed
    assert "mAP, predicted class" in printed


def test_queries_are_compared_with_training_whatever_the_sizes_of_the_images(
    undivided_dataset, tmp_path, capsys
):
    name, data_dir = undivided_dataset
    dataset = [f"--dataset={name}", f"--data_dir={data_dir}"]
    quick = ["--image_size=8", "--backbone=mlp", "--width=4", *SHORT]
    assert main(["train", *dataset, *quick, f"--output_dir={tmp_path}"]) == 0
    # The queries of `unseen-classes` are some of the official ones.
    command = ["evaluate", f"--model={tmp_path}", *dataset]
    assert main([*command, "--protocol=unseen-classes"]) == 0
    assert "undivided_photos, unseen-classes: " in capsys.readouterr().out


def test_evaluate_repeats_the_figures_of_the_report(run_directory, tmp_path, capsys):
    output = tmp_path / "evaluation"
    command = ["evaluate", f"--model={run_directory}", "--dataset=digits", f"--output_dir={output}"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "digits, official: 387 queries against 1,410 items, and against each other" in printed
    assert row_of(printed, "of these trained on") == ["1,343", "0"]
    first, second = (json.loads((d / "report.json").read_text()) for d in (run_directory, output))
    for part in ("metrics", "unseen_items", "baselines", "class_names", "warnings", "protocol"):
        assert first[part] == second[part]
    for name, baseline in first["baselines"].items():
        bits, value = baseline["bits"], baseline["metrics"]["map"]
        assert row_of(printed, f"mAP, {name}, {bits} bits")[0] == f"{value:.4f}"
    balance = min(min(share, 1 - share) for share in first["codes"]["bit_balance"])
    assert row_of(printed, "lowest bit balance") == [f"{balance:.4f}"]
    correlation = first["codes"]["largest_bit_correlation"]
    assert row_of(printed, "largest correlation of two bits") == [f"{correlation:.4f}"]
    assert "holds a report. Pass --overwrite" in error_of(capsys, *command)


def test_figures_of_relaxed_queries_stand_beside_the_others(run_directory, tmp_path, capsys):
    command = ["evaluate", f"--model={run_directory}", "--dataset=digits", "--map_at=10"]
    assert main([*command, "--asymmetric", f"--output_dir={tmp_path}"]) == 0
    printed = capsys.readouterr().out
    report = json.loads((tmp_path / "report.json").read_text())
    before = json.loads((run_directory / "report.json").read_text())
    assert report["metrics"]["map"] == before["metrics"]["map"]
    splits, model = data.load("digits"), RunDirectory.of_model(run_directory).load_model()
    relaxed = model.predict(splits.queries.images(range(len(splits.queries))), verbose=0)
    database = np.load(run_directory / "database.npz")
    sides = relaxed, database["codes"], splits.queries.labels, database["labels"]
    figures = {"k": 100, "map_k": 10}
    expected = (
        metrics.summarize_asymmetric(metrics.asymmetric_histograms(*sides), **figures),
        metrics.summarize_asymmetric(
            metrics.leave_one_out_asymmetric_histograms(relaxed, splits.queries.labels), **figures
        ),
    )
    assert report["asymmetric"] == pytest.approx(expected[0])
    assert report["unseen_items"]["asymmetric"] == pytest.approx(expected[1])
    assert row_of(printed, "mAP, asymmetric") == [f"{found['map']:.4f}" for found in expected]
    assert row_of(printed, "precision at 100, asymmetric")
    assert "\nasymmetric: relaxed queries, ranked by expected Hamming distance\n" in printed


def test_evaluate_brings_a_dataset_to_the_models_shape(run_directory, make_folder, capsys):
    folder = make_folder(items=6, size=(12, 12))
    assert main(["evaluate", f"--model={run_directory}", f"--dataset={folder}"]) == 0
    assert "queries against" in capsys.readouterr().out
