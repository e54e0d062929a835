import json
import os
import shutil
import signal
import subprocess
import sys
import time

import keras
import pytest
from commands import QUICK, SHORT, error_of
from interruption import Killed

from tfhash import data, plots
from tfhash.callbacks.backup import Backup
from tfhash.cli import main
from tfhash.experiments.run_directory import PICTURES, RunDirectory
from tfhash.experiments.settings import Output

LONG = [*QUICK, "--pretrain_epochs=3", "--finetune_epochs=30", "--batch_size=32"]


@pytest.fixture
def unfinished(tmp_path):
    directory = tmp_path / "unfinished"
    directory.mkdir()
    (directory / "run.json").write_text("{}")
    return directory


@pytest.fixture
def copied(run_directory, tmp_path):
    """A finished run that a test may change."""
    return shutil.copytree(run_directory, tmp_path / "copied")


@pytest.fixture
def uninterrupted(tmp_path, without_pictures):
    directory = tmp_path / "whole"
    assert main(["train", *LONG, f"--output_dir={directory}"]) == 0
    return json.loads((directory / "report.json").read_text())


def kill_after(epochs, directory, *flags):
    """Trains until so many epochs are done."""
    program = "import sys; from tfhash.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "train", *LONG, f"--output_dir={directory}", *flags]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    state = directory / "backup" / "state.json"
    while process.poll() is None:
        if state.exists() and json.loads(state.read_text())["epochs_done"] >= epochs:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        time.sleep(0.01)
    assert process.returncode == -signal.SIGKILL
    assert not (directory / "report.json").exists()


@pytest.mark.usefixtures("without_pictures")
def test_a_run_killed_in_both_stages_resumes_to_the_same_figures(tmp_path, uninterrupted):
    killed = tmp_path / "killed"
    kill_after(1, killed)
    kill_after(4, killed, "--resume")
    assert main(["train", *LONG, f"--output_dir={killed}", "--resume"]) == 0
    resumed = json.loads((killed / "report.json").read_text())
    assert resumed["metrics"] == pytest.approx(uninterrupted["metrics"], abs=1e-6)
    for name, baseline in uninterrupted["baselines"].items():
        found = resumed["baselines"][name]["metrics"]
        assert found == pytest.approx(baseline["metrics"], abs=1e-6)
    assert [logs["stage"] for logs in resumed["epochs"]] == [1] * 3 + [2] * 30
    assert not (killed / "backup").exists()


@pytest.mark.usefixtures("without_pictures")
def test_overwrite_replaces_a_run_and_nothing_else_and_the_same_seed_gives_the_same_model(
    run_directory, tmp_path
):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "report.json").write_text("{}")
    assert main(["train", *QUICK, *SHORT, f"--output_dir={tmp_path}", "--overwrite"]) == 0
    assert (tmp_path / "notes.txt").read_text() == "mine"
    first, second = (json.loads((d / "report.json").read_text()) for d in (run_directory, tmp_path))
    assert first["metrics"] == second["metrics"]
    assert first["epochs"] == second["epochs"]


def test_pictures_that_fail_are_named_and_lose_nothing_and_resume_draws_them(
    copied, capsys, monkeypatch
):
    def fails(*arguments):
        raise RuntimeError("no\nfont")

    command = ["train", *QUICK, *SHORT, f"--output_dir={copied}"]
    neighbors = copied / "pictures" / "neighbors.png"
    neighbors.unlink()
    monkeypatch.setattr(plots, "plot_neighbors", fails)
    assert main([*command, "--resume"]) == 0
    printed = capsys.readouterr().out
    assert "could not draw pictures/neighbors.png: RuntimeError: no font\n" in printed
    assert not neighbors.exists()
    monkeypatch.undo()
    report = (copied / "report.json").read_bytes()
    assert main([*command, "--resume"]) == 0
    assert {p.name for p in (copied / "pictures").iterdir()} == set(PICTURES)
    assert (copied / "report.json").read_bytes() == report


def test_a_finished_run_is_left_alone_and_nothing_is_left_to_resume(run_directory, capsys):
    before = {path: path.stat().st_mtime_ns for path in run_directory.rglob("*")}
    command = ["train", *QUICK, *SHORT, f"--output_dir={run_directory}"]
    assert "holds a finished run" in error_of(capsys, *command)
    assert main([*command, "--resume"]) == 0
    assert "is finished: nothing is left to do" in capsys.readouterr().out
    # A finished run of other settings is not what was asked for.
    assert "was started with --bits=9" in error_of(capsys, *command, "--resume", "--bits=8")
    assert {path: path.stat().st_mtime_ns for path in run_directory.rglob("*")} == before


@pytest.mark.usefixtures("without_pictures")
def test_ctrl_c_says_how_to_go_on_which_works(tmp_path, capsys, monkeypatch, press_ctrl_c):
    save, interrupts = Backup.save, ["before", "after"]

    def interrupted(self, model, state):
        when = interrupts.pop(0) if interrupts else None
        if when == "before":
            press_ctrl_c()
        save(self, model, state)
        if when == "after":
            press_ctrl_c()

    monkeypatch.setattr(Backup, "save", interrupted)
    command = ["train", *QUICK, "--pretrain_epochs=1", "--finetune_epochs=1", "--baselines=none"]
    command.append(f"--output_dir={tmp_path}")
    error = error_of(capsys, *command, status=130)
    assert "interrupted; no epoch was finished, and the same command with --resume starts" in error
    error = error_of(capsys, *command, "--resume", status=130)
    assert error.endswith("\ntfhash train: interrupted; the same command continues it\n")
    assert main([*command, "--resume"]) == 0
    assert "Resuming after 1 of 2 epochs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (Output(), "the same command with `resume` continues it"),
        (Output(resume=True), "the same command continues it"),
        (
            Output(overwrite=True),
            "the same command with `resume` in place of `overwrite` continues",
        ),
    ],
)
def test_how_a_run_is_continued_depends_on_the_command(tmp_path, output, words):
    (tmp_path / "backup").mkdir()
    (tmp_path / "backup" / "state.json").write_text("{}")
    assert RunDirectory(tmp_path).how_to_continue(output).startswith(words)
    (tmp_path / "report.json").write_text("{}")
    assert "draws the pictures" in RunDirectory(tmp_path).how_to_continue(output)


def test_a_kill_while_a_run_is_overwritten_leaves_no_backup_to_another_run(
    tmp_path, capsys, monkeypatch
):
    rmtree = shutil.rmtree

    def killed(path, *arguments, **options):
        if path == tmp_path / "backup":
            raise Killed
        rmtree(path, *arguments, **options)

    (tmp_path / "backup").mkdir()
    (tmp_path / "backup" / "state.json").write_text("{}")
    (tmp_path / "run.json").write_text("{}")
    arguments = ["train", *QUICK, *SHORT, f"--output_dir={tmp_path}"]
    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(Killed):
        main([*arguments, "--overwrite"])
    monkeypatch.undo()
    assert "did not finish. Pass --resume" in error_of(capsys, *arguments)
    # What is left is not a backup: whichever files were removed, the run starts over.
    assert not (tmp_path / "backup" / "state.json").exists()
    (tmp_path / "run.json").unlink()
    assert "the backup of a run without its run.json" in error_of(capsys, *arguments)
    assert (tmp_path / "backup").exists()


@pytest.mark.parametrize("mistake", ["--max_shift=9", "--dataset=no/where"])
def test_a_mistake_costs_neither_an_old_run_nor_a_new_directory(copied, tmp_path, capsys, mistake):
    before = sorted(p.name for p in copied.rglob("*"))
    error_of(capsys, "train", *QUICK, mistake, f"--output_dir={copied}", "--overwrite")
    assert sorted(p.name for p in copied.rglob("*")) == before
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


def test_resume_on_other_items_is_refused(copied, capsys):
    (copied / "report.json").unlink()
    recorded = json.loads((copied / "run.json").read_text())
    assert recorded["items"] == data.load("digits").fingerprint()
    (copied / "run.json").write_text(json.dumps({**recorded, "items": "others"}))
    message = error_of(capsys, "train", *QUICK, *SHORT, f"--output_dir={copied}", "--resume")
    assert "the items of the dataset have changed" in message


def test_resume_without_a_run_is_refused(tmp_path, capsys):
    message = error_of(capsys, "train", *QUICK, f"--output_dir={tmp_path}", "--resume")
    assert "holds no run to resume" in message


def test_a_damaged_run_json_is_named(unfinished, capsys):
    (unfinished / "run.json").write_text("{")
    message = error_of(capsys, "train", *QUICK, f"--output_dir={unfinished}", "--resume")
    assert "run.json is damaged" in message


@pytest.mark.usefixtures("without_pictures")
def test_a_full_disk_ends_in_one_line_and_the_run_can_be_resumed(tmp_path, capsys, monkeypatch):
    def full_disk(self, filepath, *_, **__):
        filepath.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    arguments = ["train", *QUICK, *SHORT, f"--output_dir={tmp_path}"]
    monkeypatch.setattr(keras.Model, "save_weights", full_disk)
    message = error_of(capsys, *arguments)
    assert "could not write" in message
    assert "No space left on device" in message
    assert [p.name for p in tmp_path.rglob("*")] == ["run.json"]
    monkeypatch.undo()
    assert main([*arguments, "--resume"]) == 0


@pytest.mark.usefixtures("without_pictures")
def test_a_network_on_whitened_patches_is_trained_and_resumed(tmp_path):
    arguments = ["train", "--dataset=digits", "--backbone=whitenet", "--width=4"]
    arguments += ["--pretrain_epochs=1", "--finetune_epochs=1", "--warmup=0.2", "--flip"]
    arguments += ["--cutout=2", f"--output_dir={tmp_path}"]
    assert main(arguments) == 0
    first = json.loads((tmp_path / "report.json").read_text())
    assert first["settings"]["backbone"] == "whitenet"
    assert first["settings"]["batch_size"] == 64
    (tmp_path / "report.json").unlink()
    assert main([*arguments, "--resume"]) == 0
    again = json.loads((tmp_path / "report.json").read_text())
    assert again["metrics"] == first["metrics"]
