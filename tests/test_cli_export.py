import json
import shutil

import numpy as np
import pytest
from commands import error_of
from raw_session import RawSession
from sklearn.datasets import load_digits

from tfhash.cli import main
from tfhash.experiments import RunDirectory
from tfhash.export import compare
from tfhash.index import HammingIndex


@pytest.fixture(scope="module")
def served(trained, tmp_path_factory):
    """Versions 1 and 2 of a run, the second with an index of its database."""
    served = tmp_path_factory.mktemp("served") / "digits"
    index = served.with_name("digits.index")
    codes = trained[0] / "database.npz"
    assert main(["index", f"--codes={codes}", f"--output={index}"]) == 0
    command = ["export", f"--model={trained[0]}", f"--output_dir={served}"]
    assert main(command) == 0
    assert main([*command, f"--index={index}"]) == 0
    return served


def test_export_writes_the_next_version(served, run_directory, capsys):
    versions = sorted(path.name for path in served.iterdir())
    assert versions == ["1", "2", "batching.config", "model.config"]
    command = ["export", f"--model={run_directory}", f"--output_dir={served}", "--version=2"]
    assert "version 2 exists" in error_of(capsys, *command)


def test_an_exported_index_is_searched(served, run_directory):
    database = np.load(run_directory / "database.npz")
    images = np.zeros((2, 8, 8, 1), "uint8")
    session = RawSession(served / "2")
    codes = session.run("encode", images=images)["codes"]
    index = HammingIndex(int(database["bits"]))
    index.add(database["codes"], names=database["names"])
    found, expected = session.run("search", images=images, k=5), index.search(codes, 5)
    np.testing.assert_array_equal(found["ids"], expected.ids)
    assert [name.decode() for name in found["names"][0]] == index.names_of(expected.ids[0]).tolist()
    assert "search" not in RawSession(served / "1").signatures


def test_the_model_card_tells_the_figures_of_the_run(served, run_directory):
    report = json.loads((run_directory / "report.json").read_text())
    card = (served / "1" / "README.md").read_text()
    assert f"| `map` | {report['metrics']['map']:.4f} | " in card
    assert report["protocol"]["dataset"] in card


def test_a_model_that_has_moved_out_of_its_run_has_no_figures(run_directory, tmp_path):
    for name in ("model.keras", "report.json"):
        shutil.copy(run_directory / name, tmp_path)
    (tmp_path / "model.keras").rename(tmp_path / "other.keras")
    command = ["export", f"--model={tmp_path / 'other.keras'}", f"--output_dir={tmp_path / 'out'}"]
    assert main(command) == 0
    assert "without the report of a training" in (tmp_path / "out" / "1" / "README.md").read_text()


def test_a_changed_configuration_is_kept_and_named(run_directory, tmp_path, capsys):
    (tmp_path / "model.config").write_text("mine")
    assert main(["export", f"--model={run_directory}", f"--output_dir={tmp_path}"]) == 0
    assert (
        f"kept {tmp_path / 'model.config'}, which holds something else" in capsys.readouterr().err
    )
    assert (tmp_path / "model.config").read_text() == "mine"


def test_an_index_of_another_model_is_refused(run_directory, tmp_path, capsys):
    HammingIndex(9, model="another").save(tmp_path / "other.index")
    command = ["export", f"--model={run_directory}", f"--output_dir={tmp_path / 'out'}"]
    message = error_of(capsys, *command, f"--index={tmp_path / 'other.index'}")
    assert "come from the model 'another'" in message
    assert "there is no index" in error_of(capsys, *command, f"--index={tmp_path / 'gone'}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("flag", ["--version=2", "--on_error=mask", "--index=photos.index"])
def test_flags_of_a_saved_model_are_refused_for_other_formats(
    run_directory, tmp_path, capsys, flag
):
    command = ["export", f"--model={run_directory}", f"--output_dir={tmp_path}", "--format=litert"]
    message = error_of(capsys, *command, flag, status=2)
    assert f"{flag.partition('=')[0]} is for --format=saved_model" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "name", "packages"),
    [
        ("onnx", "model.onnx", ("tf2onnx", "onnxruntime")),
        ("litert", "model.tflite", ("ai_edge_litert",)),
    ],
)
def test_export_writes_one_file_of_another_format_with_the_same_codes_and_never_replaces_it(
    run_directory, tmp_path, capsys, kind, name, packages
):
    for package in packages:
        pytest.importorskip(package, reason=f"needs the extra {kind}: pip install '.[{kind}]'")
    command = ["export", f"--model={run_directory}", f"--output_dir={tmp_path}"]
    command.append(f"--format={kind}")
    assert main(command) == 0
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert f"{name} exists. Remove it" in error_of(capsys, *command, status=2)
    # scikit-learn's images of handwritten digits, which the run is trained on.
    images = (load_digits().images[..., None] * 15.9).astype("uint8")
    model = RunDirectory.of_model(str(run_directory)).load_model()
    found = compare(model, tmp_path / name, images)
    assert (found.images, found.bits) == (1797, 1797 * 9)
    assert found.differing_elsewhere == 0
    assert found.differing <= found.near_zero < 0.001 * found.bits
    assert len(np.unique(model.encode(images), axis=0)) > 10
