import json
import re

import keras
import matplotlib.image
import numpy as np
import pytest
from commands import QUICK, SHORT, error_of, row_of
from documents import code_blocks, commands, read
from interruption import Killed

from tfhash import data, metrics
from tfhash.cli import main
from tfhash.data import protocols
from tfhash.experiments import training
from tfhash.experiments.baselines import Baselines
from tfhash.experiments.code_files import Origin, read_codes
from tfhash.experiments.run_directory import PICTURES, REPORT_SCHEMA, RUN_SCHEMA
from tfhash.models import fingerprint
from tfhash.text import printable


def report_of(directory):
    return json.loads((directory / "report.json").read_text())


def test_train_writes_model_saved_model_database_pictures_and_report(run_directory):
    report = report_of(run_directory)
    assert sorted(p.name for p in run_directory.iterdir()) == [
        "database.npz",
        "model.keras",
        "pictures",
        "pretrained.weights.h5",
        "report.json",
        "run.json",
        "saved_model",
    ]
    assert {p.name for p in (run_directory / "pictures").iterdir()} == set(PICTURES)
    assert report["command_line"][:3] == ["tfhash", "train", "--dataset=digits"]
    assert report["settings"]["seed"] == 0
    assert report["recipe"]["preset"] == "simple"
    assert report["versions"]["keras"] == keras.__version__
    assert report["seconds"]["training"] > 0
    assert [logs["stage"] for logs in report["epochs"]] == [1, 2, 2]


def test_the_files_of_a_run_follow_their_schema(run_directory):
    of_evaluations = {"asymmetric"}
    assert set(report_of(run_directory)) == set(REPORT_SCHEMA) - of_evaluations
    assert set(json.loads((run_directory / "run.json").read_text())) == set(RUN_SCHEMA)


def test_the_report_holds_what_the_model_gives_on_the_queries(run_directory):
    report = report_of(run_directory)
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
    unseen = report["unseen_items"]
    histograms = metrics.leave_one_out_histograms(codes[0], splits.queries.labels, bits=9)
    assert unseen["metrics"] == pytest.approx(metrics.summarize(histograms))
    assert (unseen["database_items"], unseen["queries_with_relevant_items"]) == (386, 387)
    assert report["protocol"]["database_trained_items"] == len(splits.train)


def test_the_run_keeps_class_names_and_the_codes_and_names_of_the_database(trained):
    run_directory, printed = trained
    splits = data.load("digits")
    assert report_of(run_directory)["class_names"] == splits.classes
    assert "10 classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9\n" in printed
    with np.load(run_directory / "database.npz", allow_pickle=False) as database:
        assert database["names"].tolist() == list(splits.database.names)
        assert database["class_names"].tolist() == splits.classes
        np.testing.assert_array_equal(database["labels"], splits.database.labels)
        model = keras.saving.load_model(run_directory / "model.keras")
        np.testing.assert_array_equal(database["codes"], model.encode(splits.database.batches()))
        assert int(database["bits"]) == 9
    origin = read_codes(run_directory / "database.npz").origin
    assert origin == Origin(fingerprint(model), str(run_directory), folder="")


def test_validation_while_training_is_of_validation_items_among_each_other(trained):
    run_directory, printed = trained
    validation = data.load("digits").validation
    model = keras.saving.load_model(run_directory / "model.keras")
    histograms = metrics.leave_one_out_histograms(
        model.encode(validation.batches()), validation.labels, bits=9
    )
    found = metrics.mean_average_precision(histograms)
    report = report_of(run_directory)
    assert report["epochs"][-1]["val_map"] == pytest.approx(found)
    assert report["validation"] in printed
    _, counts = np.unique(validation.labels, return_counts=True)
    assert f"{counts[counts > 1].sum()} validation images" in report["validation"]
    assert "a rough figure" in report["validation"]


def test_train_prints_an_estimate_of_the_time_and_what_codes_must_beat(trained):
    run_directory, printed = trained
    assert re.search(r"^about (a second|\d+ seconds) of training to go$", printed, re.MULTILINE)
    # Queries and database for the codes, the untrained network and the classifier; 67 validation
    # images for the temperature of the latter, and two times while training.
    encoded = rf"^about (a second|\d+ seconds) besides training, to encode {3 * 1797 + 3 * 67:,} images for"
    assert re.search(encoded, printed, re.MULTILINE)
    assert "; an estimate for training follows after its first steps\n" in printed
    found = report_of(run_directory)
    assert "searching the    searching images that\n" in printed
    assert "training images       training never saw\n" in printed
    rows = {f"mAP, {name}, {of['bits']} bits": of for name, of in found["baselines"].items()}
    for name, figures in {"mAP": found, **rows}.items():
        both = figures, figures["unseen_items"]
        assert row_of(printed, name) == [f"{of['metrics']['map']:.4f}" for of in both]


def test_a_log_file_gets_one_line_an_epoch_and_no_control_characters(trained):
    _, printed = trained
    assert not [character for character in printed if character < " " and character != "\n"]
    epochs = [line for line in printed.splitlines() if line.startswith("epoch ")]
    assert [line.split(":")[0] for line in epochs] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert "val_map" in epochs[-1]


def test_the_choice_of_the_recipe_is_printed_with_its_reason(trained):
    assert "Recipe simple (the images are gray): backbone=mlp, " in trained[1]
    assert " width=4, " in trained[1]


def test_the_report_includes_baselines_and_says_what_they_are(trained):
    directory, printed = trained
    baselines = report_of(directory)["baselines"]
    assert {name: baseline["bits"] for name, baseline in baselines.items()} == {
        "untrained network": 9,
        "predicted class": 4,
        "softmax code": 9,
    }
    said = " ".join(printed.split())
    for name, baseline in baselines.items():
        assert f"{name}: {baseline['what']}" in said


@pytest.mark.usefixtures("without_pictures")
def test_a_classifier_may_be_trained_as_long_as_the_codes(tmp_path, trained, monkeypatch, capsys):
    """Beside the codes, which are as they are without it, or not at all; and it is resumed."""

    def killed(*arguments):
        raise Killed

    directories = {"quick": trained[0], "full": tmp_path / "full", "none": tmp_path / "none"}
    command = ["train", *QUICK, *SHORT, "--baselines=full", f"--output_dir={directories['full']}"]
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Baselines, "add_untrained", killed)
        main(command)
    # The model does not wait for what it is compared with.
    assert (directories["full"] / "model.keras").exists()
    capsys.readouterr()
    assert main([*command, "--resume"]) == 0
    assert capsys.readouterr().out.count("Resuming after 3 of 3 epochs") == 2
    command = ["train", *QUICK, *SHORT, "--baselines=none", f"--output_dir={directories['none']}"]
    assert main(command) == 0
    assert not any((directory / "backup").exists() for directory in directories.values())
    reports = {name: report_of(directory) for name, directory in directories.items()}
    full, quick, none = (reports[name] for name in ("full", "quick", "none"))
    assert full["metrics"] == quick["metrics"] == none["metrics"]
    assert none["baselines"] == {}
    assert full["baselines"].items() >= quick["baselines"].items()
    added = full["baselines"].keys() - quick["baselines"].keys()
    assert added == {"predicted class, whole training", "softmax code, whole training"}
    assert full["seconds"].keys() - quick["seconds"].keys() == {"classifier"}
    # Three epochs at a decaying rate are more than one.
    longer, shorter = (
        full["baselines"][f"predicted class{name}"]["metrics"]["map"]
        for name in (", whole training", "")
    )
    assert longer > shorter


def test_folders_of_any_name_are_trained_on_with_all_pictures(
    tmp_path, make_folder, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    # No formula, not hidden, and no valid text.
    name = "_p$^$q caf\udce9"
    (make_folder(name, classes=("dark", name)) / "dark" / "broken.png").write_bytes(b"")
    command = ["train", f"--dataset={name}", "--image_size=8", "--skip_broken", "--backbone=mlp"]
    command += ["--pretrain_epochs=2", "--finetune_epochs=20", "--batch_size=8"]
    assert main([*command, "--noflip_tta", "--output_dir=run"]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    report = report_of(tmp_path / "run")
    assert report["metrics"]["map"] == 1.0
    assert len(report["data"]["left_out"]) == 1
    assert "dark/broken.png" in output.out
    assert sorted(report["class_names"]) == sorted(["dark", printable(name)])
    # Two classes, two codes.
    assert "Warning: The database has 2 distinct codes for 2 classes" in output.out
    assert "Warning: Only 5 queries have relevant items among the images" in output.out
    # One bit tells two codes apart.
    assert "Warning: 11 of 12 bits carry nothing new" in output.out
    assert len(report["warnings"]) == 3
    for picture in PICTURES:
        assert matplotlib.image.imread(tmp_path / "run" / "pictures" / picture).std() > 0


@pytest.mark.usefixtures("without_pictures")
def test_images_without_labels_are_trained_on_and_the_report_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(protocols, "QUERIES_OF_CLASS", 10)
    monkeypatch.setattr(protocols, "TRAINING_ITEMS_OF_CLASS", 40)
    directory = tmp_path / "run"
    arguments = [*QUICK, "--protocol=cnnh", "--unlabeled", "--width=16", "--pretrain_epochs=6"]
    assert main(["train", *arguments, f"--output_dir={directory}"]) == 0
    report = report_of(directory)
    assert report["protocol"]["train_items"] == 380
    assert report["protocol"]["unlabeled_items"] == 1797 - 100 - 400
    # All of the database but what is held out for validation.
    assert report["protocol"]["database_trained_items"] == 1797 - 100 - 20
    assert [logs["stage"] for logs in report["epochs"]] == 6 * [1] + 2 * [2]
    shares = [logs["pseudo_label_rate"] for logs in report["epochs"]]
    assert all(share == 0 for share in (*shares[:2], *shares[6:]))
    assert all(share > 0 for share in shares[2:6])
    printed = capsys.readouterr().out
    assert "\npre-trained also on 1,297 of these items, with pseudo-labels\n" in printed
    assert "images for pseudo-labels, validation, the evaluation and its baselines" in printed
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
    assert "must be 2 or more: the first epochs see labeled images alone. Received: pre" in message
    assert not directory.exists()


@pytest.mark.usefixtures("without_pictures")
def test_few_images_of_many_classes_are_trained_on_in_batches_of_classes(
    tmp_path, make_folder, capsys
):
    folder = make_folder(classes=[f"class{i:02d}" for i in range(30)], items=5)
    command = ["train", f"--dataset={folder}", "--image_size=8", "--backbone=mlp", "--width=4"]
    command += [*SHORT, "--batch_size=20", f"--output_dir={tmp_path / 'run'}"]
    assert main(command) == 0
    assert "batches are made of 8 images per class" in capsys.readouterr().out
    assert report_of(tmp_path / "run")["settings"]["items_per_class"] == 8


def test_layers_of_keras_that_augment_are_printed_and_recorded(tmp_path, monkeypatch, capsys):
    def killed(*arguments, **options):
        raise Killed

    monkeypatch.setattr(training, "fit", killed)
    layers = "RandomRotation(0.05, fill_mode='reflect'), RandomErasing"
    command = ["train", *QUICK, *SHORT, f"--augment={layers}", f"--output_dir={tmp_path / 'run'}"]
    with pytest.raises(Killed):
        main(command)
    assert f"augment={layers}," in " ".join(capsys.readouterr().out.split())
    recorded = json.loads((tmp_path / "run" / "run.json").read_text())
    assert recorded["settings"]["augment"] == layers


@pytest.mark.parametrize(
    ("layers", "status", "message"),
    [
        ("MixUp", 2, "--augment cannot use MixUp: it mixes the labels"),
        ("RandomTranslation(1/16, 1/16)", 2, "must be plain literals"),
        ("RandomFlipp", 1, "no image-preprocessing layer RandomFlipp. Did you mean RandomFlip?"),
        ("RandomFlip(mod=1)", 1, "of --augment does not take its arguments"),
    ],
)
def test_wrong_layers_are_refused_before_images_are_read_or_anything_is_written(
    tmp_path, capsys, layers, status, message
):
    (tmp_path / "photos").mkdir()  # which would be refused for holding no images
    command = ["train", f"--dataset={tmp_path / 'photos'}", f"--augment={layers}"]
    error = error_of(capsys, *command, f"--output_dir={tmp_path / 'run'}", status=status)
    assert message in error
    assert not (tmp_path / "run").exists()


def test_the_quickstart_uses_the_run_that_it_trains(trained, tmp_path, monkeypatch, capsys):
    run_directory, printed = trained
    assert commands("docs/quickstart.md") == [["train", "--dataset=digits", "--bits=12"]]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "digits-12").symlink_to(run_directory)
    (block,) = code_blocks("docs/quickstart.md")
    names = {}
    exec(compile(block, "example", "exec"), names)
    assert names["codes"].shape == (3, 2)
    # The examples on files load a run, too, and decode a photo.
    (tmp_path / "runs" / "demo").symlink_to(run_directory)
    matplotlib.image.imsave("photo.jpg", np.zeros((300, 400, 3), "uint8"))
    for block in code_blocks("docs/files.md"):
        exec(compile(block, "example", "exec"), names)
    assert names["model"].bits == 9
    assert names["image"].shape == (224, 224, 3)
    # The report in the guide has the rows of one that is printed now.
    (shown,) = re.findall(r"```text\n(.*?)```", read("docs/quickstart.md"), re.DOTALL)

    def names_of_rows(text):
        rows = re.findall(r"^  (\w.*?)  +[\d.,]+(?:  +[\d.,]+)?$", text, re.MULTILINE)
        return [re.sub(r"\d+ bits", "", name) for name in rows]

    assert len(names_of_rows(shown)) == 12
    assert set(names_of_rows(shown)) <= set(names_of_rows(printed))
