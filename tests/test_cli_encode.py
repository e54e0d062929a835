import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from commands import error_of
from PIL import Image

from tfhash import data
from tfhash.cli import main


def test_keras_saved_model_and_command_line_give_the_same_codes(run_directory, tmp_path):
    images = data.load("digits").queries.images()
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


def test_encode_brings_a_folder_to_the_models_shape(run_directory, tmp_path, rng, capsys):
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
    # Standard output is no terminal.
    assert not {"\r", "\b", "\x1b"} & set(capsys.readouterr().out)


def test_encode_says_which_files_it_left_out(run_directory, tmp_path, make_folder, capsys):
    (make_folder() / "dark" / "broken.png").write_bytes(b"")
    command = ["encode", f"--model={run_directory}", f"--images={tmp_path / 'photos'}"]
    command.append(f"--output={tmp_path / 'codes.npz'}")
    assert "dark/broken.png" in error_of(capsys, *command)
    assert main([*command, "--skip_broken"]) == 0
    assert "dark/broken.png" in capsys.readouterr().out
    assert len(np.load(tmp_path / "codes.npz")["codes"]) == 24


def test_encode_reads_a_split_of_tensorflow_datasets(run_directory, tmp_path, shared_datasets):
    output = tmp_path / "codes.npz"
    command = ["encode", f"--model={run_directory}", "--dataset=mnist", "--split=test[:300]"]
    assert main([*command, f"--data_dir={shared_datasets}", f"--output={output}"]) == 0
    written = np.load(output)
    assert written["codes"].shape == (300, 2)
    assert written["names"][299] == "mnist/test/299"


def test_encode_reads_the_digits_and_no_library_writes_to_the_terminal(run_directory, tmp_path):
    output = tmp_path / "codes.npz"
    command = ["encode", f"--model={run_directory}", "--dataset=digits", f"--output={output}"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TF_")}
    finished = subprocess.run(
        [sys.executable, "-m", "tfhash", *command],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    assert finished.stderr == ""
    assert [line.split(":")[0] for line in finished.stdout.splitlines()] == [
        "encoded digits",
        f"wrote 1,797 codes of 9 bits to {output}",
    ]
    assert np.load(output)["codes"].shape == (1797, 2)


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
    assert message.replace("`images`", "--images") in error_of(capsys, *command)
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
    assert "exists. Pass --overwrite" in error_of(capsys, *command, status=2)
    assert output.read_text() == "mine"


def test_export_writes_the_next_version(run_directory, tmp_path, capsys):
    command = ["export", f"--model={run_directory}", f"--output_dir={tmp_path}"]
    assert main(command) == 0
    assert main(command) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "2"]
    assert "version 2 exists" in error_of(capsys, *command, "--version=2")


def test_export_writes_one_file_of_another_format_and_never_replaces_it(
    run_directory, tmp_path, capsys
):
    command = ["export", f"--model={run_directory}", f"--output_dir={tmp_path}", "--format=litert"]
    message = error_of(capsys, *command, "--version=2", status=2)
    assert "--version is for --format=saved_model" in message
    assert main(command) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["model.tflite"]
    assert "model.tflite exists. Remove it" in error_of(capsys, *command, status=2)


def test_a_file_with_another_model_is_refused(tmp_path, capsys):
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "other.keras")
    message = error_of(
        capsys, "export", f"--model={tmp_path / 'other.keras'}", f"--output_dir={tmp_path / 'out'}"
    )
    assert "must hold a tfhash.models.HashingModel. Received: a Sequential" in message


def test_a_report_of_a_newer_schema_is_refused(run_directory, tmp_path, capsys):
    (tmp_path / "model.keras").write_bytes((run_directory / "model.keras").read_bytes())
    (tmp_path / "run.json").write_text(json.dumps({"schema_version": 99}))
    command = ["evaluate", f"--model={tmp_path}", "--dataset=digits"]
    assert "was written by a newer tfhash" in error_of(capsys, *command)
