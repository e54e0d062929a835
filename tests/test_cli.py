import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from interruption import Killed
from PIL import Image

from tfhash import data, metrics
from tfhash.cli import dataset_flags, evaluation, main, model_file, train
from tfhash.cli import recipe as recipes
from tfhash.cli.main import COMMANDS
from tfhash.data import protocols

QUICK = ["--dataset=digits", "--backbone=mlp", "--width=4", "--bits=9"]
SHORT = ["--pretrain_epochs=1", "--finetune_epochs=2"]


def error_of(capsys, *argv, status=1):
    assert main(list(argv)) == status
    return capsys.readouterr().err


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "digits"
    assert main(["train", *QUICK, *SHORT, f"--output_dir={directory}"]) == 0
    return directory


@pytest.fixture
def unfinished(tmp_path):
    directory = tmp_path / "unfinished"
    directory.mkdir()
    (directory / "run.json").write_text("{}")
    return directory


def test_train_writes_model_saved_model_pictures_and_report(run_directory):
    report = json.loads((run_directory / "report.json").read_text())
    assert sorted(p.name for p in run_directory.iterdir()) == [
        "model.keras",
        "pictures",
        "report.json",
        "run.json",
        "saved_model",
    ]
    assert sorted(p.name for p in (run_directory / "pictures").iterdir()) == [
        "bit_balance.png",
        "neighbors.png",
        "precision_recall.png",
        "training.png",
    ]
    assert report["command_line"][:3] == ["tfhash", "train", "--dataset=digits"]
    assert report["settings"]["seed"] == 0
    assert report["versions"]["keras"] == keras.__version__
    assert report["seconds"]["training"] > 0
    assert [logs["stage"] for logs in report["epochs"]] == [1, 2, 2]


def test_the_report_holds_what_the_model_gives_on_the_queries(run_directory):
    report = json.loads((run_directory / "report.json").read_text())
    splits = data.load("digits")
    assert report["protocol"]["queries"] == len(splits.queries)
    assert report["protocol"]["database_items"] == len(splits.database)
    assert report["protocol"]["fingerprint"] == splits.fingerprint()
    model = keras.saving.load_model(run_directory / "model.keras")
    codes = [model.encode(part.batches()) for part in (splits.queries, splits.database)]
    histograms = metrics.distance_histograms(
        *codes, splits.queries.labels, splits.database.labels, bits=9
    )
    assert report["metrics"] == pytest.approx(metrics.summarize(histograms))


def test_validation_while_training_asks_validation_queries_of_training_items(run_directory):
    report = json.loads((run_directory / "report.json").read_text())
    splits = data.load("digits")
    model = keras.saving.load_model(run_directory / "model.keras")
    codes = [model.encode(part.batches()) for part in (splits.validation, splits.train)]
    histograms = metrics.distance_histograms(
        *codes, splits.validation.labels, splits.train.labels, bits=9
    )
    found = metrics.mean_average_precision(histograms)
    assert report["epochs"][-1]["val_map"] == pytest.approx(found)


def test_train_prints_an_estimate_of_the_time_and_what_codes_must_beat(tmp_path, capsys):
    assert main(["train", *QUICK, *SHORT, f"--output_dir={tmp_path / 'run'}"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^about \d+ seconds of training to go$", printed, re.MULTILINE)
    # Queries and database for the codes and both baselines; and two validations of 71 in 1,339.
    encoded = rf"^about \d+ seconds besides training, to encode {3 * 1797 + 2 * 1410:,} images: for"
    assert re.search(encoded, printed, re.MULTILINE)
    found = json.loads((tmp_path / "run" / "report.json").read_text())
    assert re.search(rf"^  map +{found['metrics']['map']:.4f}$", printed, re.MULTILINE)
    for name, baseline in found["baselines"].items():
        line = rf"^  map, {name}, {baseline['bits']} bits +{baseline['metrics']['map']:.4f}$"
        assert re.search(line, printed, re.MULTILINE)


def test_the_report_holds_codes_that_any_useful_ones_must_beat(run_directory):
    baselines = json.loads((run_directory / "report.json").read_text())["baselines"]
    assert {name: baseline["bits"] for name, baseline in baselines.items()} == {
        "untrained network": 9,
        "predicted class": 4,
    }


class Oracle:
    """Predicts every class right, and gives all images one code."""

    bits, num_classes = 9, 10

    def __init__(self, splits):
        self.labels = iter([splits.queries.labels, splits.database.labels])

    def classify(self, images):
        return next(self.labels)

    def encode(self, images):
        return np.zeros((sum(len(batch) for batch, _ in images), 2), "uint8")


def test_baselines_are_evaluated_like_any_codes():
    splits = data.load("digits")
    variant = {"map_k": None, "denominator": "possible", "without_hits": "zero"}
    found = evaluation.baselines(splits, variant, Oracle(splits), Oracle(splits))
    assert found["predicted class"]["metrics"]["map"] == pytest.approx(1)
    # All items tie: the share of relevant ones, and a little for the first places.
    assert found["untrained network"]["metrics"]["map"] == pytest.approx(0.1, abs=0.01)
    assert list(evaluation.baselines(splits, variant, Oracle(splits))) == ["untrained network"]


def test_a_predicted_class_is_packed_as_a_number():
    codes = evaluation._as_codes(np.array([0, 1, 2, 255, 256, 1000]), 10)
    assert codes.tolist() == [[0, 0], [1, 0], [2, 0], [255, 0], [0, 1], [232, 3]]


def test_an_untrained_network_has_the_statistics_of_the_sample(make_model, striped):
    model, images = make_model(backbone="convnet"), striped[0][:32]
    weights = model.get_weights()
    network = evaluation.with_batch_statistics(model, images)
    np.testing.assert_equal(model.get_weights(), weights)
    # The codes are those of a training batch, in which every bit has images on both sides.
    as_a_batch = model.uncompiled_copy()(images, training=True)["codes"]
    np.testing.assert_allclose(network(images)["codes"], as_a_batch, rtol=1e-3, atol=1e-4)
    assert np.abs(model(images)["codes"] - as_a_batch).max() > 0.1
    assert network.hashing.standardization.momentum == model.hashing.standardization.momentum


def test_the_report_names_the_variant_of_average_precision(run_directory, tmp_path, capsys):
    command = ["evaluate", f"--model={run_directory}", "--dataset=digits"]
    flags = ["--map_at=10", "--map_denominator=retrieved", "--map_without_hits=drop"]
    maps = []
    for name, given in (("default", []), ("variant", flags)):
        assert main([*command, *given, f"--output_dir={tmp_path / name}"]) == 0
        report = json.loads((tmp_path / name / "report.json").read_text())
        maps.append(report["metrics"]["map"])
        # Those of training were measured by the default.
        assert bool(report["baselines"]) == (not given)
        printed = capsys.readouterr().out
        assert ("There are no baselines to compare with" in printed) == bool(given)
        in_words = (
            "of the 10 nearest, ties in random order; divided by the hits retrieved; "
            "queries without hits are dropped"
            if given
            else "of whole rankings, ties in random order"
        )
        assert f"\nmap: {in_words}\n" in printed
        assert report["protocol"]["average_precision"] == (
            {"map_k": 10, "denominator": "retrieved", "without_hits": "drop"}
            if given
            else {"map_k": "all", "denominator": "possible", "without_hits": "zero"}
        )
    assert maps[0] < maps[1]


@pytest.mark.parametrize("flag", ["--map_denominator=relevant", "--map_without_hits=drop"])
@pytest.mark.parametrize("command", [["train"], ["evaluate", "--model=m"]])
def test_variants_of_average_precision_at_no_k_are_refused(capsys, command, flag):
    error = error_of(capsys, *command, "--dataset=digits", flag, status=2)
    assert f"{flag} needs --map_at" in error


@pytest.fixture(scope="module")
def unseen_directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "unseen"
    assert main(["train", *QUICK, *SHORT, "--protocol=unseen", f"--output_dir={directory}"]) == 0
    return directory


def test_evaluate_divides_the_items_as_for_the_training(unseen_directory, capsys):
    assert main(["evaluate", f"--model={unseen_directory}", "--dataset=digits"]) == 0
    assert "digits, unseen: " in capsys.readouterr().out


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
    # The queries of `unseen` are some of the official ones.
    command = ["evaluate", f"--model={run_directory}", "--dataset=digits", "--protocol=unseen"]
    assert main(command) == 0
    assert "digits, unseen: " in capsys.readouterr().out


def test_evaluate_says_if_nothing_tells_what_a_model_was_trained_on(
    run_directory, tmp_path, capsys
):
    shutil.copy(run_directory / "model.keras", tmp_path)
    known, unknown = ["evaluate", f"--model={run_directory}"], ["evaluate", f"--model={tmp_path}"]
    for command in (known, unknown):
        assert main([*command, "--dataset=digits"]) == 0
        said = "There is no run.json beside the model" in capsys.readouterr().out
        assert said == (command is unknown)


@pytest.mark.parametrize(
    ("trained", "asked", "is_same"),
    [
        ("cifar10", "cifar10:3.0.2", True),
        ("photos", "./photos/", True),
        ("cifar10", "cifar100", False),
        ("digits", "./digits", False),  # scikit-learn's, and a folder
    ],
)
def test_a_dataset_is_the_same_in_another_version_or_spelling(
    tmp_path, monkeypatch, trained, asked, is_same
):
    for folder in ("photos", "digits"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path)
    recorded = {"settings": {"dataset": trained}, "located": dataset_flags.located(trained)}
    (tmp_path / "run.json").write_text(json.dumps(recorded))
    values = types.SimpleNamespace(model="model.keras")
    assert model_file.trained_on(values, asked) == is_same


def test_the_folder_of_the_training_is_known_from_everywhere_and_no_other_is(
    tmp_path, rng, monkeypatch, capsys
):
    monkeypatch.setattr(protocols, "QUERIES_OF_CLASS", 3)
    monkeypatch.setattr(protocols, "TRAINING_ITEMS_OF_CLASS", 5)
    photos, copy = tmp_path / "photos", tmp_path / "copy"
    for name in ("dark", "light"):
        (photos / name).mkdir(parents=True)
        for i in range(12):
            pixels = rng.integers(0, 256, (8, 8, 3), "uint8")
            Image.fromarray(pixels).save(photos / name / f"{i}.png")
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
    assert "map, predicted class" in printed
    # The same names and labels, and yet others: what was measured on photos is not on copy.
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
    assert "map, predicted class" in printed


def test_queries_are_compared_with_training_whatever_the_sizes_of_the_images(
    undivided_dataset, tmp_path, capsys
):
    name, data_dir = undivided_dataset
    dataset = [f"--dataset={name}", f"--data_dir={data_dir}"]
    quick = ["--image_size=8", "--backbone=mlp", "--width=4", *SHORT]
    assert main(["train", *dataset, *quick, f"--output_dir={tmp_path}"]) == 0
    # The queries of `unseen` are some of the official ones.
    command = ["evaluate", f"--model={tmp_path}", *dataset]
    assert main([*command, "--protocol=unseen"]) == 0
    assert "undivided_photos, unseen: " in capsys.readouterr().out


def test_keras_saved_model_and_command_line_give_the_same_codes(run_directory, tmp_path):
    images = np.stack(
        list(data.load("digits").queries.images())
    )
    np.savez(tmp_path / "images.npz", images=images)
    command = ["encode", f"--model={run_directory}", f"--images={tmp_path / 'images.npz'}"]
    assert main([*command, f"--output={tmp_path / 'codes.npz'}"]) == 0
    written = np.load(tmp_path / "codes.npz")
    model = keras.saving.load_model(run_directory / "model.keras")
    served = tf.saved_model.load(run_directory / "saved_model" / "1").signatures["serving_default"]
    np.testing.assert_array_equal(written["codes"], model.encode(images))
    np.testing.assert_array_equal(written["codes"], served(images=images)["codes"].numpy())
    assert written["names"].tolist() == [str(i) for i in range(len(images))]
    assert int(written["bits"]) == 9


def test_the_same_seed_gives_the_same_model(run_directory, tmp_path):
    assert main(["train", *QUICK, *SHORT, f"--output_dir={tmp_path / 'again'}"]) == 0
    first, second = (
        json.loads((directory / "report.json").read_text())
        for directory in (run_directory, tmp_path / "again")
    )
    assert first["metrics"] == second["metrics"]
    assert first["epochs"] == second["epochs"]


def test_evaluate_repeats_the_figures_of_the_report(run_directory, tmp_path, capsys):
    output = tmp_path / "evaluation"
    command = ["evaluate", f"--model={run_directory}", "--dataset=digits", f"--output_dir={output}"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "digits, official: 387 queries against 1,410 items" in printed
    first, second = (json.loads((d / "report.json").read_text()) for d in (run_directory, output))
    for part in ("metrics", "baselines"):
        assert first[part] == second[part]
    for name, baseline in first["baselines"].items():
        bits, value = baseline["bits"], baseline["metrics"]["map"]
        assert re.search(rf"map, {name}, {bits} bits +{value:.4f}\n", printed + "\n")
    balance = min(min(share, 1 - share) for share in first["codes"]["bit_balance"])
    assert re.search(rf"least balanced bit +{balance:.4f}\n", printed)
    correlation = first["codes"]["largest_bit_correlation"]
    assert re.search(rf"largest correlation of two bits +{correlation:.4f}\n", printed)
    assert "holds a report. Pass --overwrite" in error_of(capsys, *command)


def test_encode_brings_a_folder_to_the_models_shape(run_directory, tmp_path, rng):
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    for name in ("b.png", "deep/a.jpg"):
        pixels = rng.integers(0, 256, (20, 30, 3), "uint8")
        Image.fromarray(pixels).save(tmp_path / "photos" / name)
    output = tmp_path / "codes.npz"
    command = ["encode", f"--model={run_directory}", f"--images={tmp_path / 'photos'}"]
    assert main([*command, f"--output={output}"]) == 0
    written = np.load(output)
    assert written["names"].tolist() == ["b.png", "deep/a.jpg"]
    assert written["codes"].shape == (2, 2)


def test_encode_reads_a_split_of_tensorflow_datasets(run_directory, tmp_path, shared_datasets):
    output = tmp_path / "codes.npz"
    command = ["encode", f"--model={run_directory}", "--dataset=mnist", "--split=test[:300]"]
    assert main([*command, f"--data_dir={shared_datasets}", f"--output={output}"]) == 0
    written = np.load(output)
    assert written["codes"].shape == (300, 2)
    assert written["names"][299] == "mnist/test/299"


def test_encode_reads_the_digits(run_directory, tmp_path):
    output = tmp_path / "codes.npz"
    assert (
        main(["encode", f"--model={run_directory}", "--dataset=digits", f"--output={output}"]) == 0
    )
    assert np.load(output)["codes"].shape == (1797, 2)


def test_evaluate_brings_a_dataset_to_the_models_shape(run_directory, tmp_path, rng, capsys):
    for name in ("dark", "light"):
        (tmp_path / name).mkdir()
        for i in range(6):
            pixels = rng.integers(0, 256, (12, 12, 3)).astype("uint8")
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png")
    assert main(["evaluate", f"--model={run_directory}", f"--dataset={tmp_path}"]) == 0
    assert "queries against" in capsys.readouterr().out


def test_export_writes_the_next_version(run_directory, tmp_path, capsys):
    command = ["export", f"--model={run_directory}", f"--output_dir={tmp_path}"]
    assert main(command) == 0
    assert main(command) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "2"]
    assert "version 2 exists" in error_of(capsys, *command, "--version=2")


def test_train_on_a_folder_of_images(tmp_path, rng):
    for name, value in (("dark", 40), ("light", 200)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(12):
            pixels = rng.integers(value - 40, value + 40, (12, 12, 3)).astype("uint8")
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
    (tmp_path / "photos" / "dark" / "broken.png").write_bytes(b"")
    command = [
        "train",
        f"--dataset={tmp_path / 'photos'}",
        "--image_size=8",
        "--skip_broken",
        "--pretrain_epochs=2",
        "--finetune_epochs=20",
        "--batch_size=8",
        "--backbone=mlp",
        f"--output_dir={tmp_path / 'run'}",
    ]
    assert main(command) == 0
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["metrics"]["map"] == 1.0
    assert report["protocol"]["skipped_files"] == 1


@pytest.mark.parametrize("epochs_done", [1, 3], ids=["pretrain", "finetune"])
def test_a_run_killed_in_either_stage_resumes_to_the_same_figures(tmp_path, epochs_done):
    arguments = [*QUICK, "--pretrain_epochs=3", "--finetune_epochs=30", "--batch_size=32"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    program = "import sys; from tfhash.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "train", *arguments]
    process = subprocess.Popen(
        [*command, f"--output_dir={killed}"], stdout=subprocess.DEVNULL, start_new_session=True
    )
    state = killed / "backup" / "state.json"
    while process.poll() is None:
        if state.exists() and json.loads(state.read_text())["epochs_done"] >= epochs_done:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        time.sleep(0.01)
    assert process.returncode == -signal.SIGKILL
    assert not (killed / "report.json").exists()

    assert main(["train", *arguments, f"--output_dir={killed}", "--resume"]) == 0
    assert main(["train", *arguments, f"--output_dir={whole}"]) == 0
    resumed, uninterrupted = (
        json.loads((directory / "report.json").read_text()) for directory in (killed, whole)
    )
    assert resumed["metrics"] == pytest.approx(uninterrupted["metrics"], abs=1e-6)
    for name, baseline in uninterrupted["baselines"].items():
        found = resumed["baselines"][name]["metrics"]
        assert found == pytest.approx(baseline["metrics"], abs=1e-6)
    assert [logs["stage"] for logs in resumed["epochs"]] == [1] * 3 + [2] * 30
    assert not (killed / "backup").exists()


def test_images_without_labels_are_trained_on_and_the_report_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(protocols, "QUERIES_OF_CLASS", 10)
    monkeypatch.setattr(protocols, "TRAINING_ITEMS_OF_CLASS", 40)
    directory = tmp_path / "run"
    arguments = [*QUICK, "--protocol=cnnh", "--unlabeled", "--width=16", "--pretrain_epochs=6"]
    assert main(["train", *arguments, f"--output_dir={directory}"]) == 0
    report = json.loads((directory / "report.json").read_text())
    assert report["protocol"]["train_items"] == 380
    assert report["protocol"]["unlabeled_items"] == 1797 - 100 - 400
    assert [logs["stage"] for logs in report["epochs"]] == 6 * [1] + 2 * [2]
    shares = [logs["pseudo_label_rate"] for logs in report["epochs"]]
    assert all(share == 0 for share in (*shares[:2], *shares[6:]))
    assert all(share > 0 for share in shares[2:6])
    printed = capsys.readouterr().out
    assert "\npre-trained on 1,297 of these without their labels, too\n" in printed
    assert "images: for labels of its own, validation, the evaluation and its baselines" in printed
    # Whoever saw an image without its label has seen it: of the official queries only those that
    # are queries here too are new.
    official = data.load("digits").queries.names
    seen = len(set(official) - set(data.load("digits", protocol="cnnh").queries.names))
    command = ["evaluate", f"--model={directory}", "--dataset=digits", "--protocol=official"]
    assert f"{seen} of the {len(official)} queries took part" in error_of(capsys, *command)


@pytest.mark.parametrize("epochs", [0, 1])
def test_images_without_labels_need_pretraining_that_takes_them(
    tmp_path, monkeypatch, capsys, epochs
):
    monkeypatch.setattr(protocols, "QUERIES_OF_CLASS", 10)
    monkeypatch.setattr(protocols, "TRAINING_ITEMS_OF_CLASS", 40)
    arguments = ["--protocol=cnnh", "--unlabeled", f"--pretrain_epochs={epochs}"]
    directory = tmp_path / "run"
    message = error_of(capsys, "train", *QUICK, *arguments, f"--output_dir={directory}")
    assert (
        "must be 2 or more: the first epochs take labeled images alone. Received: --pre" in message
    )
    assert not directory.exists()


def test_labels_that_training_must_not_see_are_not_handed_to_it(monkeypatch):
    monkeypatch.setattr(protocols, "QUERIES_OF_CLASS", 10)
    monkeypatch.setattr(protocols, "TRAINING_ITEMS_OF_CLASS", 40)
    splits = data.load("digits", protocol="cnnh")
    recipe = recipes.default("digits", 380, (8, 8, 1))
    unlabeled = splits.unlabeled()
    batches = train._partly_labeled_batches(splits.train, unlabeled, recipe, seed=0)
    np.testing.assert_array_equal(batches.labels[:380], splits.train.labels)
    assert (batches.labels[380:] == -1).all()
    np.testing.assert_array_equal(batches.images[:380], splits.train.images())
    np.testing.assert_array_equal(batches.images[380:], unlabeled.images())


def test_a_finished_run_is_refused_and_left_alone_unless_overwritten(run_directory, capsys):
    before = (run_directory / "report.json").read_bytes()
    command = ["train", *QUICK, *SHORT, f"--output_dir={run_directory}"]
    for extra in ([], ["--resume"]):
        assert "holds a finished run" in error_of(capsys, *command, *extra)
    assert (run_directory / "report.json").read_bytes() == before


def test_overwrite_replaces_a_run_and_nothing_else(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "report.json").write_text("{}")
    command = ["train", *QUICK, *SHORT, f"--output_dir={tmp_path}", "--overwrite"]
    assert main(command) == 0
    assert json.loads((tmp_path / "report.json").read_text())["bits"] == 9
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_kill_while_a_run_is_overwritten_leaves_no_backup_to_another_run(
    tmp_path, capsys, monkeypatch
):
    def killed(path, **arguments):
        raise Killed

    (tmp_path / "backup").mkdir()
    (tmp_path / "backup" / "state.json").write_text("{}")
    (tmp_path / "run.json").write_text("{}")
    arguments = ["train", *QUICK, *SHORT, f"--output_dir={tmp_path}"]
    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(Killed):
        main([*arguments, "--overwrite"])
    monkeypatch.undo()
    assert "did not finish. Pass --resume" in error_of(capsys, *arguments)
    # What is left of the backup is none: whatever files were removed, the run begins anew.
    assert not (tmp_path / "backup" / "state.json").exists()
    (tmp_path / "run.json").unlink()
    assert "the backup of a run without its run.json" in error_of(capsys, *arguments)
    assert (tmp_path / "backup").exists()


@pytest.mark.parametrize("mistake", ["--scale=50", "--max_shift=9", "--dataset=no/where"])
def test_a_mistake_costs_neither_an_old_run_nor_a_new_directory(
    run_directory, tmp_path, capsys, mistake
):
    old = tmp_path / "old"
    shutil.copytree(run_directory, old)
    before = sorted(p.name for p in old.rglob("*"))
    error_of(capsys, "train", *QUICK, mistake, f"--output_dir={old}", "--overwrite")
    assert sorted(p.name for p in old.rglob("*")) == before
    error_of(capsys, "train", *QUICK, mistake, f"--output_dir={tmp_path / 'new'}")
    assert not (tmp_path / "new").exists()


def test_an_unfinished_run_asks_for_resume(unfinished, capsys):
    message = error_of(capsys, "train", *QUICK, f"--output_dir={unfinished}")
    assert "did not finish. Pass --resume" in message


def test_resume_with_other_settings_names_them(unfinished, capsys):
    (unfinished / "run.json").write_text('{"settings": {"bits": 24}, "items": ""}')
    message = error_of(capsys, "train", *QUICK, f"--output_dir={unfinished}", "--resume")
    assert "--bits=24" in message
    assert "Received: " in message
    assert "--bits=9" in message


def test_resume_on_other_items_is_refused(tmp_path, capsys):
    arguments = ["train", *QUICK, *SHORT, f"--output_dir={tmp_path}"]
    assert main(arguments) == 0
    capsys.readouterr()
    (tmp_path / "report.json").unlink()
    recorded = json.loads((tmp_path / "run.json").read_text())
    assert recorded["items"] == data.load("digits").fingerprint()
    (tmp_path / "run.json").write_text(json.dumps({**recorded, "items": "others"}))
    message = error_of(capsys, *arguments, "--resume")
    assert "the items of the dataset have changed" in message


def test_resume_without_a_run_is_refused(tmp_path, capsys):
    message = error_of(capsys, "train", *QUICK, f"--output_dir={tmp_path}", "--resume")
    assert "holds no run to resume" in message


def test_a_full_disk_ends_in_one_line_and_the_run_can_go_on(tmp_path, capsys, monkeypatch):
    def full_disk(self, filepath, **arguments):
        filepath.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    arguments = ["train", *QUICK, *SHORT, f"--output_dir={tmp_path}"]
    monkeypatch.setattr(keras.Model, "save_weights", full_disk)
    message = error_of(capsys, *arguments)
    assert "could not write" in message
    assert "No space left on device" in message
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["backup", "run.json"]
    monkeypatch.undo()
    assert main([*arguments, "--resume"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--dataset=digits", "--bits=0"], "--bits=0"),
        (["train", "--dataset=digits", "--batch_size=1"], "--batch_size=1"),
        (["train"], "missing --dataset"),
        (["train", "--dataset=digits", "--resume", "--overwrite"], "exclude each other"),
        (["train", "--dataset=digits", "--bit=12"], "Unknown command line flag 'bit'"),
        (["train", "--dataset=digits", "--unlabeled"], "needs --protocol=cnnh or cnnh54k"),
        (["train", "digits"], "flags are written --name=value"),
        (["encode", "--model=m", "--output=o.npz"], "either --images or --dataset"),
        (["encode", "--images=i", "--output=o.npz"], "missing --model"),
        (["encode", "--model=m", "--output=o.npz", "--images=i", "--split=test"], "--split needs"),
        (["encode", "--model=m", "--output=o.npz", "--dataset=digits", "--split=a"], "--split nee"),
        (["fit"], "no command 'fit'"),
    ],
)
def test_wrong_usage_says_what_is_wrong(capsys, arguments, message):
    assert message in error_of(capsys, *arguments, status=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--dataset=mnits"], "Did you mean mnist"),
        (["train", "--dataset=no/where"], "existing folder. Received: no/where"),
        (["train", "--dataset=digits", "--image_size=16"], "8x8 pixels"),
        (["train", "--dataset=digits", "--scale=50"], "`scale` must be in (0, 40]"),
        (["evaluate", "--model=nowhere", "--dataset=digits"], "a .keras file or a finished run"),
        (["encode", "--model=m", "--images=i", "--output=codes.csv"], "must end in .npz"),
    ],
)
def test_bad_input_says_what_was_expected(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert message in error_of(capsys, *arguments)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": np.zeros((2, 8, 8, 1), "uint8")}, "must hold an array `images`"),
        ({"images": np.zeros((2, 9, 8, 1), "uint8")}, "must have shape [n, 8, 8, 1]"),
        ({"images": np.array([["a", "b"]])}, "must be numbers"),
        ({"images": np.full((2, 8, 8, 1), np.nan, "float32")}, "finite values from 0 to 255"),
        ({"images": np.array([None])}, "pickle"),
        (None, "must be a folder or an .npz file"),
    ],
)
def test_encode_refuses_arrays_that_are_no_images(run_directory, tmp_path, capsys, arrays, message):
    path, output = tmp_path / "images.npz", tmp_path / "codes.npz"
    path.write_bytes(b"PK rubbish")
    if arrays is not None:
        np.savez(path, **arrays)
    command = ["encode", f"--model={run_directory}", f"--images={path}", f"--output={output}"]
    assert message in error_of(capsys, *command)
    assert not output.exists()


def test_encode_names_a_file_that_is_not_there_and_one_that_is_damaged(
    run_directory, tmp_path, capsys
):
    path, output = tmp_path / "images.npz", tmp_path / "codes.npz"
    command = ["encode", f"--model={run_directory}", f"--images={path}", f"--output={output}"]
    assert f"There is no {path}" in error_of(capsys, *command)
    np.savez_compressed(path, images=np.zeros((99, 8, 8, 1), "uint8"))
    contents = bytearray(path.read_bytes())
    name_ends = contents.index(b"images.npy") + len(b"images.npy")
    contents[name_ends + 24] ^= 0xFF  # within the compressed numbers
    path.write_bytes(contents)
    assert f"{path} is damaged" in error_of(capsys, *command)
    assert not output.exists()


def test_encode_keeps_an_existing_file(run_directory, tmp_path, capsys):
    output = tmp_path / "codes.npz"
    output.write_text("mine")
    command = ["encode", f"--model={run_directory}", "--images=i.npz", f"--output={output}"]
    assert "exists. Pass --overwrite" in error_of(capsys, *command)
    assert output.read_text() == "mine"


def test_a_file_with_another_model_is_refused(tmp_path, capsys):
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "other.keras")
    message = error_of(
        capsys, "export", f"--model={tmp_path / 'other.keras'}", f"--output_dir={tmp_path / 'out'}"
    )
    assert "must hold a tfhash.models.HashingModel. Received: a Sequential" in message


@pytest.mark.parametrize("command", COMMANDS)
def test_help_describes_every_flag(command, capsys):
    assert main([command, "--help"]) == 0
    printed = capsys.readouterr().out
    assert COMMANDS[command] in printed
    assert f"tfhash {command} --" in printed  # an example
    lines = printed.splitlines()
    flags = [i for i, line in enumerate(lines) if line.startswith("  --")]
    assert flags
    assert all(lines[i + 1].startswith("      ") for i in flags)


def test_without_a_command_the_commands_are_listed(capsys):
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(command in printed for command in COMMANDS)
    assert main([]) == 2


def test_a_network_on_whitened_patches_is_trained_and_resumed(tmp_path):
    arguments = ["train", "--dataset=digits", "--backbone=whitenet", "--width=4", *SHORT]
    arguments += ["--warmup=0.2", "--flip", "--cutout=2", f"--output_dir={tmp_path}"]
    assert main(arguments) == 0
    first = json.loads((tmp_path / "report.json").read_text())
    assert first["settings"]["backbone"] == "whitenet"
    assert first["settings"]["batch_size"] == 64
    (tmp_path / "report.json").unlink()
    assert main([*arguments, "--resume"]) == 0
    again = json.loads((tmp_path / "report.json").read_text())
    assert again["metrics"] == first["metrics"]


def test_a_command_that_cannot_be_imported_says_what_it_needs(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tfhash.cli.export", None)
    error = error_of(capsys, "export")
    assert "tfhash export: error: import of tfhash.cli.export" in error
    assert "commands need TensorFlow" in error


def test_python_dash_m_is_the_command():
    finished = subprocess.run(
        [sys.executable, "-m", "tfhash", "no"], capture_output=True, text=True
    )
    assert finished.returncode == 2
    assert "tfhash: no command 'no'" in finished.stderr
