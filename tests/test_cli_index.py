"""`tfhash index` makes an index of a folder and takes in what has changed there."""

import os
import re
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from commands import error_of
from image_index_cases import codes_of, contents, paint

from tfhash import data
from tfhash.cli import main
from tfhash.experiments import ImageIndex, RunDirectory, indexing, progress

# As people and attackers name files.
ODD_NAMES = [
    "it's \"bold\" & $HOME.png", "naïve — 写真.png", "=1+1.png", "two\nlines.png", "a,b.png",
    "%s {0} [x].png", os.fsdecode(b"caf\xe9.png"),
]  # fmt: skip

pytestmark = pytest.mark.usefixtures("models_are_loaded_once")


def test_codes_are_those_of_encode_and_the_index_remembers_where_they_come_from(
    index_command, photos, run_directory, tmp_path, capsys
):
    for i, name in enumerate(ODD_NAMES):
        paint(photos / name, 30 * i)
    (photos / "notes.txt").write_text("not an image")
    assert main(index_command) == 0
    printed = capsys.readouterr().out
    assert "31 added, 0 changed, 0 removed, 0 unchanged; 31 images, codes of 9 bits" in printed
    assert "left out 1, not an image (.txt): notes.txt" in printed
    # Standard output is no terminal.
    assert not {"\r", "\b", "\x1b"} & set(printed)
    found, ids = contents(tmp_path / "photos.index")
    assert found == codes_of(photos, run_directory, tmp_path)
    assert set(ODD_NAMES) < set(found)
    # Ids follow the order of names.
    assert sorted(ids, key=ids.get) == data.ImageFiles.below(photos).names
    origin = ImageIndex.load(tmp_path / "photos.index").origin
    assert (origin.folder, origin.model_path) == (str(photos), str(run_directory))
    assert len(origin.model) == 64
    assert not list(tmp_path.glob(".*"))


def test_a_terminal_has_a_bar_that_counts_every_image(index_command, capsys, monkeypatch):
    drawn = []

    class Bar(keras.utils.Progbar):
        def update(self, current, *arguments, **options):
            drawn.append((current, self.target))
            super().update(current, *arguments, **options)

    monkeypatch.setattr(progress, "_shows_bars", lambda: True)
    monkeypatch.setattr(keras.utils, "Progbar", Bar)
    monkeypatch.setattr(indexing, "PORTION_SECONDS", 0)  # portions do not grow
    assert main([*index_command, "--batch_size=10"]) == 0
    assert drawn == [(10, 24), (20, 24), (24, 24)]
    assert "24/24" in capsys.readouterr().out


def test_a_log_file_says_how_far_encoding_is(index_command, capsys, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", -1)
    monkeypatch.setattr(indexing, "PORTION_SECONDS", 0)  # portions do not grow
    assert main([*index_command, "--batch_size=10"]) == 0
    printed = capsys.readouterr().out
    assert re.findall(r"encoded (\d+) of 24 images", printed) == ["10", "20", "24"]


def test_an_update_encodes_what_is_new_or_changed_and_removes_what_is_gone(
    index_command, photos, run_directory, tmp_path, capsys, monkeypatch
):
    output = tmp_path / "photos.index"
    assert main(index_command) == 0
    _, ids = contents(output)
    paint(photos / "dark" / "0.png", 250)  # of another size
    status = (photos / "dark" / "1.png").stat()
    os.utime(photos / "dark" / "1.png", ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    (photos / "dark" / "2.png").unlink()
    (photos / "dark" / "3.png").rename(photos / "dark" / "renamed.png")
    paint(photos / "light" / "=new.png", 90)
    shutil.copy(photos / "dark" / "4.png", photos / "dark" / "4 copy.png")
    read = []
    of_all = data.ImageFiles.read

    def watched(self, names, *arguments):
        read.extend(names)
        return of_all(self, names, *arguments)

    monkeypatch.setattr(data.ImageFiles, "read", watched)
    capsys.readouterr()
    assert main([*index_command, "--update"]) == 0
    printed = capsys.readouterr().out
    assert "3 added, 2 changed, 2 removed, 20 unchanged; 25 images" in printed
    assert sorted(read) == [
        "dark/0.png", "dark/1.png", "dark/4 copy.png", "dark/renamed.png", "light/=new.png",
    ]  # fmt: skip
    found, now = contents(output)
    assert found == codes_of(photos, run_directory, tmp_path)
    # Names that stayed keep their ids, and ids of what is gone are not given again.
    assert {name: now[name] for name in now if name in ids} == {
        name: item for name, item in ids.items() if name not in ("dark/2.png", "dark/3.png")
    }
    assert min(item for name, item in now.items() if name not in ids) > max(ids.values())

    # Model and folder are known from the index, and nothing changes now.
    before, read[:] = output.read_bytes(), []
    capsys.readouterr()
    assert main(["index", f"--output={output}", "--update"]) == 0
    assert "0 added, 0 changed, 0 removed, 25 unchanged" in capsys.readouterr().out
    assert (read, output.read_bytes()) == ([], before)


def test_an_update_of_nothing_makes_the_index(index_command, tmp_path):
    assert main([*index_command, "--update"]) == 0
    assert len(contents(tmp_path / "photos.index")[0]) == 24


def test_a_folder_that_was_moved_is_updated_and_another_one_is_refused(
    index_command, photos, make_folder, tmp_path, capsys
):
    output = tmp_path / "photos.index"
    assert main(index_command) == 0
    before, _ = contents(output)
    other = make_folder("other", items=3)
    update = ["index", f"--output={output}", "--update"]
    assert "made of the images in" in error_of(capsys, *update, f"--images={other}")
    assert contents(output)[0] == before
    moved = photos.rename(tmp_path / "moved")
    assert f"existing folder. Received: {photos}" in error_of(capsys, *update)
    assert main([*update, f"--images={moved}"]) == 0
    assert "have moved" in (printed := capsys.readouterr().out)
    assert "24 unchanged" in printed
    assert contents(output)[0] == before
    assert ImageIndex.load(output).origin.folder == str(moved)


def test_a_folder_that_lost_all_its_images_leaves_the_index_as_it_is(
    index_command, photos, tmp_path, capsys
):
    assert main(index_command) == 0
    shutil.rmtree(photos)
    photos.mkdir()
    assert "no images below" in error_of(capsys, *index_command, "--update")
    assert len(contents(tmp_path / "photos.index")[0]) == 24


def test_an_existing_index_is_kept_unless_told_otherwise(
    index_command, tmp_path, capsys, monkeypatch
):
    output = tmp_path / "photos.index"
    output.write_text("mine")
    monkeypatch.setattr(RunDirectory, "load_model", None)  # refused before work starts
    error = error_of(capsys, *index_command, status=2)
    assert "exists. Pass --update" in error
    assert "--overwrite" in error
    assert output.read_text() == "mine"
    monkeypatch.undo()
    assert "is cut off" in error_of(capsys, *index_command, "--update")
    assert main([*index_command, "--overwrite"]) == 0
    assert len(contents(output)[0]) == 24


def test_codes_of_another_model_are_not_updated(index_command, make_model, tmp_path, capsys):
    assert main(index_command) == 0
    before = (tmp_path / "photos.index").read_bytes()
    make_model(bits=9, num_classes=10).save(tmp_path / "other.keras")
    other = [index_command[0], f"--model={tmp_path / 'other.keras'}", *index_command[2:]]
    assert "come from another model" in error_of(capsys, *other, "--update")
    assert (tmp_path / "photos.index").read_bytes() == before


def test_encoded_codes_become_an_index(index_command, photos, run_directory, tmp_path, capsys):
    codes = codes_of(photos, run_directory, tmp_path)
    output = tmp_path / "photos.index"
    from_codes = ["index", f"--codes={tmp_path / 'codes.npz'}", f"--output={output}"]
    assert main(from_codes) == 0
    assert "wrote 24 codes of 9 bits" in capsys.readouterr().out
    index = ImageIndex.load(output)
    assert dict(zip(index.index.names, map(bytes, index.index.codes))) == codes
    assert main([*index_command, "--overwrite"]) == 0
    assert ImageIndex.load(output).origin == index.origin
    assert main([*from_codes, "--overwrite"]) == 0
    assert "was not made of images" in error_of(capsys, *index_command, "--update")


def test_codes_need_no_tensorflow(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "codes.npz", codes=rng.integers(0, 256, (5, 2), "uint8"), bits=16)
    program = (
        "import sys; from tfhash.cli import main; print(main(sys.argv[1:]), "
        "[name for name in ('tensorflow', 'keras', 'jax', 'matplotlib') if name in sys.modules])"
    )
    arguments = ["index", f"--codes={tmp_path / 'codes.npz'}", f"--output={tmp_path / 'index'}"]
    finished = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True
    )
    assert finished.stdout.splitlines()[-1] == "0 []"
    assert ImageIndex.load(tmp_path / "index").index.names == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"code": np.zeros((2, 2), "uint8")}, "must hold an array `codes`. Received: code"),
        ({"codes": np.zeros((2, 2))}, "must be packed, uint8"),
        ({"codes": np.zeros((2, 2), "uint8")}, "must come with their number of bits"),
        ({"codes": np.zeros((2, 2), "uint8"), "bits": 17}, "of 17 bits must be packed"),
        ({"codes": np.full((2, 2), 255, "uint8"), "bits": 12}, "padding bits"),
        ({"codes": np.zeros((2, 2), "uint8"), "bits": 16, "names": ["a"]}, "one name for each"),
        ({"codes": np.array([None])}, "pickle"),
        (None, "is damaged, or neither"),
    ],
)
def test_files_that_hold_no_codes_are_refused(tmp_path, capsys, arrays, message):
    path, output = tmp_path / "codes.npz", tmp_path / "photos.index"
    path.write_bytes(b"PK rubbish")
    if arrays is not None:
        np.savez(path, **arrays)
    error = error_of(capsys, "index", f"--codes={path}", f"--output={output}")
    assert message.replace("`codes`", "--codes") in error
    assert not output.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "missing --output"),
        (["--output=o"], "give --model and --images, or --codes"),
        (["--output=o", "--update"], "give --model and --images, or --codes"),
        (["--output=o", "--images=p"], "missing --model"),
        (["--output=o", "--codes=c", "--images=p"], "--codes and --images exclude each other"),
        (["--output=o", "--codes=c", "--update"], "--codes and --update exclude each other"),
        (
            ["--output=o", "--model=m", "--images=p", "--update", "--overwrite"],
            "--update and --overwrite exclude each other",
        ),
        (["--output=.", "--model=m", "--images=p"], "--output must be a file"),
    ],
)
def test_wrong_usage_of_index_says_what_is_wrong(capsys, arguments, message):
    assert message in error_of(capsys, "index", *arguments, status=2)


def test_empty_folders_missing_ones_and_broken_ones_are_errors(
    index_command, photos, tmp_path, capsys
):
    shutil.rmtree(photos)
    assert "--images must be an existing folder" in error_of(capsys, *index_command)
    photos.mkdir()
    assert "no images below" in error_of(capsys, *index_command)
    (photos / "broken.png").write_bytes(b"")
    assert "1 of 1 image files" in error_of(capsys, *index_command)
    assert "none of the 1 image files" in error_of(capsys, *index_command, "--skip_broken")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]
    paint(photos / "one.png", 3)
    assert main([*index_command, "--skip_broken"]) == 0
    assert list(contents(tmp_path / "photos.index")[0]) == ["one.png"]


def test_a_damaged_index_is_refused(index_command, tmp_path, capsys):
    output = tmp_path / "photos.index"
    assert main(index_command) == 0
    content = output.read_bytes()
    output.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "is damaged" in error_of(capsys, *index_command, "--update")
    output.write_bytes(content)
    loaded = ImageIndex.load(output)
    loaded.index.attached = {"origin": np.frombuffer(b"[1]", np.uint8)}
    loaded.index.save(output)
    assert "does not say where its images are" in error_of(capsys, *index_command, "--update")
    loaded.index.attached = {"file_sizes": np.zeros(3, np.int64)}
    loaded.index.save(output)
    assert "do not fit its images" in error_of(capsys, *index_command, "--update")


def test_python_makes_the_same_index(index_command, photos, run_directory, tmp_path, capsys):
    from tfhash import experiments

    model = RunDirectory.of_model(run_directory).load_model()
    capsys.readouterr()
    changes = experiments.index_images(photos, model, tmp_path / "by_python.index")
    assert (changes.added, changes.images) == (24, 24)
    assert capsys.readouterr().out == ""
    assert main(index_command) == 0
    assert contents(tmp_path / "by_python.index") == contents(tmp_path / "photos.index")
