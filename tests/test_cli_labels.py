"""`tfhash train --labels=...`: several labels through training, report, pictures and evaluation."""

import contextlib
import io
import json
import shutil

import matplotlib.image
import numpy as np
import pytest
from commands import error_of, row_of
from PIL import Image

import tfhash
from tfhash import data, metrics
from tfhash.cli import main
from tfhash.experiments.run_directory import PICTURES

# Each label is a color in one channel; an image has one to three of them.
LABELS = ("blue", "green", "red")


def write_photos(root):
    rng = np.random.default_rng(0)
    lines = ["file,labels"]
    for i in range(90):
        marks = np.array([i % 7 + 1 >> channel & 1 for channel in range(3)])
        pixels = rng.integers(0, 60, (8, 8, 3)) + 180 * marks
        path = root / ("a" if i % 2 else "b/c") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype("uint8")).save(path)
        found = "|".join(label for label, mark in zip(LABELS, marks[::-1]) if mark)
        lines.append(f"{path.relative_to(root)},{found}")
    (root / "labels.csv").write_text("\n".join(lines))


@pytest.fixture(scope="module")
def trained_on_colors(tmp_path_factory):
    """A run on a folder with a label file, and what the command printed. Not to be changed."""
    directory = tmp_path_factory.mktemp("colors")
    write_photos(directory / "photos")
    command = [f"--dataset={directory / 'photos'}", f"--labels={directory / 'photos/labels.csv'}"]
    command += ["--image_size=8", "--backbone=mlp", "--width=8", "--bits=13", "--batch_size=16"]
    command += ["--pretrain_epochs=4", "--finetune_epochs=8", f"--output_dir={directory / 'run'}"]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(["train", *command]) == 0
    return directory, printed.getvalue(), command


def report_of(directory):
    return json.loads((directory / "report.json").read_text())


def test_the_report_has_ndcg_of_the_codes_and_of_the_baselines(trained_on_colors):
    directory, printed, _ = trained_on_colors
    report = report_of(directory / "run")
    splits = data.load(
        directory / "photos", labels=directory / "photos" / "labels.csv", image_size=8
    )
    model = tfhash.experiments.Run(directory / "run").model
    codes = [model.encode(part.batches()) for part in (splits.queries, splits.database)]
    sides = *codes, splits.queries.labels, splits.database.labels, 13
    expected = metrics.summarize(metrics.distance_histograms(*sides))
    expected["ndcg_at_100"] = metrics.mean_ndcg(metrics.shared_label_histograms(*sides), 100)
    assert report["metrics"] == pytest.approx(expected)
    assert report["metrics"]["map"] > 0.9
    assert report["protocol"]["fingerprint"] == splits.fingerprint()
    assert report["protocol"]["labels_per_item"] == splits.database.labels.sum(axis=1).mean()
    assert report["class_names"] == list(LABELS)
    for name in ("untrained network", "predicted class"):
        found = report["baselines"][name]["metrics"]["ndcg_at_100"]
        assert found < report["metrics"]["ndcg_at_100"]
        bits = report["baselines"][name]["bits"]
        assert row_of(printed, f"nDCG at 100, {name}, {bits} bits")[0] == f"{found:.4f}"
    among_queries = metrics.leave_one_out_shared_label_histograms(
        codes[0], splits.queries.labels, 13
    )
    unseen = report["unseen_items"]["metrics"]
    assert unseen["ndcg_at_100"] == pytest.approx(metrics.mean_ndcg(among_queries, 100))
    shown = [f"{figures['ndcg_at_100']:.4f}" for figures in (expected, unseen)]
    assert row_of(printed, "nDCG at 100") == shown
    assert "labels an item, similar means sharing one" in printed


def test_the_database_and_the_model_keep_the_labels(trained_on_colors):
    directory, _, _ = trained_on_colors
    with np.load(directory / "run" / "database.npz", allow_pickle=False) as database:
        assert database["labels"].dtype == np.uint8
        assert database["labels"].shape == (len(database["names"]), 3)
        assert database["class_names"].tolist() == list(LABELS)
    assert tfhash.experiments.Run(directory / "run").model.class_names == list(LABELS)
    names = directory / "run" / "saved_model" / "1" / "assets" / "class_names.txt"
    assert names.read_text().split() == list(LABELS)


def test_every_picture_is_drawn(trained_on_colors):
    directory, printed, _ = trained_on_colors
    assert "could not draw" not in printed
    for picture in PICTURES:
        assert matplotlib.image.imread(directory / "run" / "pictures" / picture).std() > 0


def test_evaluate_takes_the_labels_of_the_training(trained_on_colors, monkeypatch):
    directory, _, _ = trained_on_colors
    photos, run = directory / "photos", directory / "run"
    found = tfhash.experiments.evaluate(run, photos, verbose=0)
    assert found["metrics"] == report_of(run)["metrics"]
    assert found["baselines"] == report_of(run)["baselines"]
    # A path that is relative names the same file.
    monkeypatch.chdir(photos)
    again = tfhash.experiments.evaluate(run, photos, labels="labels.csv", verbose=0)
    assert again["metrics"] == found["metrics"]


def test_a_copy_of_the_label_file_divides_the_items_as_before(trained_on_colors, tmp_path):
    directory, _, _ = trained_on_colors
    copy = shutil.copy(directory / "photos" / "labels.csv", tmp_path / "copy.csv")
    arguments = directory / "run", directory / "photos"
    found = tfhash.experiments.evaluate(*arguments, labels=copy, verbose=0)
    assert found["metrics"] == report_of(directory / "run")["metrics"]


def test_other_labels_must_not_turn_training_items_into_queries(trained_on_colors, tmp_path):
    directory, _, _ = trained_on_colors
    # Without the lines of queries, others are drawn for classes that lack them.
    lines = (directory / "photos" / "labels.csv").read_text().splitlines()
    queries = set(
        data.load(directory / "photos", labels=directory / "photos" / "labels.csv").queries.names
    )
    left = [line for line in lines if line.partition(",")[0] not in queries]
    (tmp_path / "less.csv").write_text("\n".join(left))
    with pytest.raises(ValueError, match="queries took part in the training of this model, which"):
        tfhash.experiments.evaluate(
            directory / "run", directory / "photos", labels=tmp_path / "less.csv", verbose=0
        )


def test_a_run_resumes_with_the_same_labels_alone(trained_on_colors, tmp_path, capsys):
    directory, _, command = trained_on_colors
    run = shutil.copytree(directory / "run", tmp_path / "run")
    (run / "report.json").unlink()
    photos = shutil.copytree(directory / "photos", tmp_path / "photos")
    other = [*command[:-1], f"--output_dir={run}", "--resume"]
    labels = photos / "labels.csv"
    message = error_of(capsys, "train", *other, f"--labels={labels}")
    assert "was started with --labels=" in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--labels=nowhere.csv"], "--labels must be a CSV file. There is no file"),
        (["--label_key=objects"], "--label_key names a feature of a dataset of tensorflow"),
        (["--protocol=cnnh"], "the protocol 'cnnh' needs items of one class each"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    trained_on_colors, tmp_path, capsys, arguments, message
):
    _, _, command = trained_on_colors
    given = [*command[:-1], f"--output_dir={tmp_path / 'run'}", *arguments]
    assert message in error_of(capsys, "train", *given)
    assert not (tmp_path / "run").exists()
