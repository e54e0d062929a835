"""`tfhash index` loses nothing that it encoded when it is interrupted."""

import os
import signal
import subprocess
import sys

import pytest
from commands import error_of
from image_index_cases import codes_of, contents, paint
from interruption import Killed

from tfhash.cli import main
from tfhash.experiments import indexing
from tfhash.experiments.unfinished import UnfinishedCodes
from tfhash.models import HashingModel

pytestmark = pytest.mark.usefixtures("models_are_loaded_once")


@pytest.mark.parametrize("update", [False, True])
def test_a_broken_file_is_named_after_the_others_were_encoded(
    index_command, photos, tmp_path, capsys, monkeypatch, update
):
    output = tmp_path / "photos.index"
    if update:
        assert main(index_command) == 0
        index_command = [*index_command, "--update"]
    (photos / "dark" / "0.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    (photos / "light" / "gone.png").symlink_to(photos / "nowhere")
    paint(photos / "new.png", 7)
    before = output.read_bytes() if update else None
    error = error_of(capsys, *index_command)
    total = 26
    assert f"2 of {total} image files in" in error
    assert "dark/0.png: " in error
    assert "light/gone.png: a link to" in error
    assert "pass --skip_broken to leave them out" in error
    assert f"codes of {1 if update else 24} others are kept" in error
    assert (output.read_bytes() if update else None) == before
    # What was encoded is not encoded again.
    monkeypatch.setattr(HashingModel, "encode", None)
    assert main([*index_command, "--skip_broken"]) == 0
    printed = capsys.readouterr().out
    assert "left out 2 broken files" in printed
    assert f"continuing an interrupted run: {1 if update else 24} of" in printed
    monkeypatch.undo()
    found, _ = contents(output)
    assert len(found) == 24
    assert "dark/0.png" not in found
    assert ("1 removed" in printed) == update
    # A file that was mended is taken.
    paint(photos / "dark" / "0.png", 9)
    (photos / "light" / "gone.png").unlink()
    assert main([*index_command, *([] if update else ["--update"])]) == 0
    assert "1 added, 0 changed, 0 removed, 24 unchanged" in capsys.readouterr().out


def test_a_run_that_was_killed_continues_where_it_was(
    index_command, photos, run_directory, tmp_path, capsys
):
    """A process of its own, killed by SIGKILL while it encodes."""
    # After two portions it waits to be killed.
    program = (
        "import sys, time\n"
        "from tfhash.cli import main\n"
        "from tfhash.experiments import unfinished\n"
        "add = unfinished.UnfinishedCodes.add\n"
        "def slow(self, *arguments):\n"
        "    add(self, *arguments)\n"
        "    if self._portions == 2:\n"
        "        print('waiting', flush=True)\n"
        "        time.sleep(600)\n"
        "unfinished.UnfinishedCodes.add = slow\n"
        "main(sys.argv[1:])\n"
    )
    arguments = [*index_command, "--batch_size=4"]
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert any(line == "waiting\n" for line in process.stdout)
            # Another process does not join in.
            assert "another process is encoding" in error_of(capsys, *arguments)
        finally:
            process.send_signal(signal.SIGKILL)
    # What a kill in the middle of a write leaves.
    folder = tmp_path / ".photos.index.unfinished"
    (folder / ".partial-1-000002.npz").write_bytes(b"half")
    (tmp_path / ".partial-1-photos.index").write_bytes(b"half")
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "continuing an interrupted run: " in printed
    assert "of 24 images are encoded" in printed
    found, _ = contents(tmp_path / "photos.index")
    assert found == codes_of(photos, run_directory, tmp_path)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(("mode", "portions"), [("--update", 2), ("--overwrite", 1)])
def test_an_interrupted_change_leaves_the_index_and_continues(
    index_command, photos, run_directory, tmp_path, capsys, monkeypatch, mode, portions
):
    output = tmp_path / "photos.index"
    assert main(index_command) == 0
    before = output.read_bytes()
    for name in photos.rglob("*.png"):
        os.utime(name, ns=(0, 0))
    interrupt([*index_command, mode], monkeypatch, portions)
    assert output.read_bytes() == before
    assert main([*index_command, mode]) == 0
    assert f": {4 * portions} of 24 images are encoded" in capsys.readouterr().out
    found, _ = contents(output)
    assert found == codes_of(photos, run_directory, tmp_path)
    assert not list(tmp_path.glob(".*"))


def interrupt(index_command, monkeypatch, portions=1):
    """Encodes some portions of four images and then fails as a kill does."""
    with monkeypatch.context() as patched:
        patched.setattr(indexing, "PORTION_SECONDS", 0)  # portions stay as small as batches
        add = UnfinishedCodes.add

        def add_and_fail(self, *arguments):
            add(self, *arguments)
            if self._portions == portions:
                raise Killed

        patched.setattr(UnfinishedCodes, "add", add_and_fail)
        with pytest.raises(Killed):
            main([*index_command, "--batch_size=4"])


def test_ctrl_c_says_that_the_same_command_continues_where_it_does(
    index_command, capsys, monkeypatch, press_ctrl_c
):
    add = UnfinishedCodes.add

    def add_and_interrupt(self, *arguments):
        if keeps:
            add(self, *arguments)
        press_ctrl_c()

    with monkeypatch.context() as patched:
        patched.setattr(UnfinishedCodes, "add", add_and_interrupt)
        for keeps, words in [(False, ""), (True, "; the same command continues it")]:  # noqa: B007
            error = error_of(capsys, *index_command, "--batch_size=4", status=130)
            assert error == f"\ntfhash index: interrupted{words}\n"
    assert main(index_command) == 0
    assert "continuing an interrupted run: 4 of 24 images are encoded" in capsys.readouterr().out


def test_codes_of_an_interrupted_run_are_not_taken_for_files_that_changed_since(
    index_command, photos, run_directory, tmp_path, capsys, monkeypatch
):
    interrupt(index_command, monkeypatch)
    paint(photos / "dark" / "0.png", 5)
    (photos / "dark" / "1.png").unlink()
    assert main(index_command) == 0
    assert "2 of 23 images are encoded" in capsys.readouterr().out
    found, _ = contents(tmp_path / "photos.index")
    assert found == codes_of(photos, run_directory, tmp_path)


def test_damaged_codes_of_an_interrupted_run_are_encoded_again(
    index_command, photos, run_directory, tmp_path, monkeypatch
):
    interrupt(index_command, monkeypatch)
    (portion,) = (tmp_path / ".photos.index.unfinished").glob("*.npz")
    content = bytearray(portion.read_bytes())
    content[len(content) // 2] ^= 0xFF
    portion.write_bytes(content)
    assert main(index_command) == 0
    found, _ = contents(tmp_path / "photos.index")
    assert found == codes_of(photos, run_directory, tmp_path)


@pytest.mark.parametrize("what", ["model", "folder"])
def test_codes_of_an_interrupted_run_with_another_model_or_folder_are_refused(
    index_command, make_folder, make_model, tmp_path, capsys, monkeypatch, what
):
    interrupt(index_command, monkeypatch)
    other = list(index_command)
    if what == "model":
        make_model(bits=9, num_classes=10).save(tmp_path / "other.keras")
        other[1] = f"--model={tmp_path / 'other.keras'}"
    else:
        other[2] = f"--images={make_folder('other')}"
    capsys.readouterr()
    error = error_of(capsys, *other)
    assert f"an interrupted run with another {what}. Pass --overwrite" in error
    assert main([*other, "--overwrite"]) == 0
    assert "continuing" not in capsys.readouterr().out
    assert not list(tmp_path.glob(".*"))
