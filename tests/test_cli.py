import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from commands import QUICK, error_of

import tfhash
from tfhash.cli import main, terminal
from tfhash.cli.main import NOBODY_READS
from tfhash.cli.registry import COMMANDS, find
from tfhash.experiments import ImageIndex
from tfhash.experiments.code_files import Origin
from tfhash.experiments.serving import running
from tfhash.index import HammingIndex

HEAVY = ("tensorflow", "keras", "matplotlib", "jax")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["--help"],
        *([command, "--help"] for command in COMMANDS),
        ["train", "--dataset=digits", "--bits=0"],
        ["fit"],
    ],
    ids=" ".join,
)
def test_what_needs_no_model_imports_no_keras(arguments):
    program = (
        "import sys; from tfhash.cli import main; main(sys.argv[1:]); "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True
    )
    assert finished.stdout.splitlines()[-1] == "[]"


def test_wrong_paths_are_told_without_importing_keras(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    (tmp_path / "evaluated").mkdir()
    (tmp_path / "evaluated" / "report.json").write_text("{}")
    (tmp_path / "served" / "1").mkdir(parents=True)
    (tmp_path / "model.keras").write_text("")
    ImageIndex(HammingIndex(12), Origin(folder=str(tmp_path))).save(tmp_path / "photos.index")
    taken = running.listen("127.0.0.1", 0)
    model, port = "--model=model.keras", f"--port={taken.getsockname()[1]}"
    mistakes = [
        ["train", "--dataset=./none"],
        ["train", "--dataset=none/"],
        ["train", "--dataset=digits", "--labels=none.csv"],
        ["train", "--dataset=digits", "--output_dir=run"],
        ["evaluate", "--dataset=digits", "--model=none"],
        ["evaluate", "--dataset=./none", model],
        ["evaluate", "--dataset=digits", model, "--output_dir=evaluated"],
        ["encode", "--images=.", "--model=none", "--output=o.npz"],
        ["encode", "--images=none", model, "--output=o.npz"],
        ["encode", "--images=none.npz", model, "--output=o.npz"],
        ["index", "--images=.", "--model=none", "--output=o"],
        ["index", "--images=none", model, "--output=o"],
        ["search", "--index=none", "--image=."],
        ["dedupe", "--images=none"],
        ["dedupe", "--images=.", "--model=none"],
        ["export", "--model=none", "--output_dir=o"],
        ["export", model, "--output_dir=served", "--version=1"],
        ["export", model, "--output_dir=o", "--index=none"],
        ["serve", "--model=none"],
        ["serve", "--index=none"],
        ["demo", "--index=none"],
        # They hold the port before they load a model.
        ["serve", model, port],
        ["demo", "--index=photos.index", port],
    ]
    program = (
        "import sys; from tfhash.cli import main; "
        f"print([main(arguments) for arguments in {mistakes}], "
        f"[name for name in {HEAVY} if name in sys.modules])"
    )
    with taken:
        finished = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
    assert finished.stdout == f"{[1] * len(mistakes)} []\n"
    assert finished.stderr.count("Address already in use") == 2
    assert "Loading" not in finished.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--dataset=digits", "--output_dir=a.keras"],
        ["evaluate", "--dataset=digits", "--model=a.keras", "--output_dir=a.keras/new"],
        ["encode", "--images=.", "--model=a.keras", "--output=a.keras/o.npz"],
        ["index", "--images=.", "--model=a.keras", "--output=a.keras/o.index"],
        ["search", "--index=i", "--codes=c.npz", "--output=a.keras/o.csv"],
        ["search", "--index=i", "--image=.", "--picture=a.keras/new/o.png"],
        ["dedupe", "--images=.", "--output=a.keras/o.csv"],
        ["dedupe", "--images=.", "--output=a.keras/new"],
        ["dedupe", "--images=.", "--output=notes", "--overwrite"],
        ["export", "--model=a.keras", "--output_dir=a.keras"],
        ["export", "--model=a.keras", "--output_dir=a.keras/new"],
        ["export", "--model=a.keras", "--output_dir=a.keras", "--format=onnx"],
    ],
    ids=lambda arguments: " ".join(arguments[::3]),
)
def test_a_file_where_a_directory_must_be_is_told_before_any_work(
    tmp_path, monkeypatch, capsys, arguments
):
    monkeypatch.setattr(terminal, "import_libraries", lambda: pytest.fail("it imported Keras"))
    monkeypatch.chdir(tmp_path)
    for name in ("a.keras", "notes"):
        (tmp_path / name).write_text("")
    error = error_of(capsys, *arguments)
    assert "cannot make the directory" in error
    assert "a.keras is a file. " in error or "notes is a file. " in error


@pytest.mark.parametrize(
    ("model", "received"),
    [
        ("served", "served, an exported model"),
        ("served/2", "served/2, an exported model"),
        ("served/2/saved_model.pb", "served/2/saved_model.pb, an exported model"),
        ("mobile/model.tflite", "mobile/model.tflite, an exported model"),
        ("mobile", "mobile, a directory without model.keras"),
        ("none", "none, which does not exist"),
        ("mobile/none.keras", "mobile/none.keras, which does not exist"),
        ("mobile/model.keras", "mobile/model.keras, which does not exist"),
        ("model.keras", "model.keras, which does not exist"),
    ],
)
@pytest.mark.parametrize("command", ["serve", "export"])
def test_a_model_that_is_none_is_told_for_what_it_is(
    tmp_path, monkeypatch, capsys, command, model, received
):
    monkeypatch.setattr(terminal, "import_libraries", lambda: pytest.fail("it imported Keras"))
    monkeypatch.chdir(tmp_path)
    for file in ("served/2/saved_model.pb", "served/model.config", "mobile/model.tflite"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("")
    output = ["--output_dir=o"] if command == "export" else []
    error = error_of(capsys, command, f"--model={model}", *output)
    assert f"--model must be a .keras file or a finished run. Received: {received}" in error


def test_a_query_a_folder_and_a_model_that_an_index_names_are_looked_for_first(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(terminal, "import_libraries", lambda: pytest.fail("it imported Keras"))
    (tmp_path / "model.keras").write_text("")
    for name, origin in {
        "photos": Origin(model_path=str(tmp_path / "model.keras"), folder=str(tmp_path)),
        "moved": Origin(model_path=str(tmp_path / "gone.keras"), folder=str(tmp_path / "gone")),
    }.items():
        ImageIndex(HammingIndex(12), origin).save(tmp_path / f"{name}.index")
    photos, moved = (f"--index={tmp_path / name}.index" for name in ("photos", "moved"))
    for arguments, message in [
        (["search", photos, "--image=none.png"], "there is no image none.png"),
        (["search", moved, f"--image={tmp_path}"], "Give --model, where it is now"),
        (["search", moved, f"--image={tmp_path}", "--picture=p.png"], "Give --images, where"),
        (["serve", moved], "Give --model, where it is now"),
        (["demo", moved], "Give --images, where it is now"),
        (["demo", photos, "--model=none"], "there is no model none"),
    ]:
        assert message in error_of(capsys, *arguments)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_describes_every_flag_in_groups_after_examples(command, capsys):
    assert main([command, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert COMMANDS[command] in lines[0]
    assert lines[2].startswith(f"  tfhash {command} --")  # an example
    for heading in find(command).GROUPS:
        assert f"{heading}:" in lines
    flags = [i for i, line in enumerate(lines) if line.startswith("  --")]
    assert flags
    assert all(lines[i + 1].startswith("      ") for i in flags)


def test_help_of_train_shows_how_to_load_the_model_and_the_limits_of_image_size(capsys):
    assert main(["help", "train"]) == 0
    printed = capsys.readouterr().out
    assert "import tfhash, keras" in printed
    assert "keras.saving.load_model(" in printed
    assert "--image_size=...  (8 or more)" in printed
    assert "The built-in backbones take 8 to 64." in " ".join(printed.split())


def test_without_a_command_the_commands_are_listed(capsys):
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(command in printed for command in COMMANDS)
    assert main([]) == 2


def test_the_version_is_printed(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"tfhash {tfhash.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--dataset=digits", "--bits=0"], "--bits=0"),
        (["train", "--dataset=digits", "--batch_size=1"], "--batch_size=1"),
        (["train", "--dataset=digits", "--items_per_class=1"], "--items_per_class must be 2"),
        (["train", "--dataset=digits", "--slope=0"], "--slope must be above 0"),
        (["train", "--dataset=digits", "--scale=50"], "--scale=50"),
        (["train", "--dataset=digits", "--image_size=224"], "--image_size must be 8 to 64"),
        (["train", "--dataset=digits", "--recipe=none"], "--recipe=none"),
        (["train"], "missing --dataset"),
        (["train", "--dataset=digits", "--resume", "--overwrite"], "exclude each other"),
        (["train", "--dataset=digits", "--bit=12"], "Unknown command line flag 'bit'"),
        (["train", "--dataset=digits", "--unlabeled"], "needs --protocol cnnh or cnnh54k"),
        (["train", "digits"], "flags are written --name=value"),
        (["encode", "--model=m", "--output=o.npz"], "give one of --images"),
        (["encode", "--images=i", "--output=o.npz"], "missing --model"),
        (["encode", "--model=m", "--output=o.npz", "--images=i", "--split=test"], "--split needs"),
        (["encode", "--model=m", "--output=o.npz", "--dataset=digits", "--split=a"], "--split nee"),
        (["encode", "--model=m", "--images=i", "--output=codes.csv"], "must end in .npz"),
        (["fit"], "no command 'fit'"),
    ],
)
def test_wrong_usage_says_what_is_wrong(capsys, arguments, message):
    error = error_of(capsys, *arguments, status=2)
    assert message in error
    assert "error: " in error.splitlines()[0]


@pytest.mark.parametrize("flag", ["--map_denominator=relevant", "--map_without_hits=drop"])
@pytest.mark.parametrize("command", [["train"], ["evaluate", "--model=m"]])
def test_variants_of_average_precision_at_no_k_are_refused(capsys, command, flag):
    error = error_of(capsys, *command, "--dataset=digits", flag, status=2)
    assert f"{flag.split('=')[0]} needs --map_at" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--dataset=mnits"], "Did you mean mnist"),
        (
            ["train", "--dataset=no/where"],
            "--dataset must be an existing folder. Received: no/where",
        ),
        (["train", "--dataset=digits", "--image_size=16"], "8x8 pixels"),
        (["evaluate", "--model=nowhere", "--dataset=digits"], "a .keras file or a finished run"),
    ],
)
def test_bad_input_says_what_was_expected(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    error = error_of(capsys, *arguments)
    assert message in error
    assert "--traceback shows where" in error


def test_an_error_of_tensorflow_ends_in_one_line_with_its_reason(capsys, monkeypatch):
    import tensorflow as tf

    def fails(given, command_line):
        tf.io.read_file("gone.jpg")

    monkeypatch.setattr(find("export"), "check_paths", lambda given: None)
    monkeypatch.setattr(find("export"), "run", fails)
    error = error_of(capsys, "export", "--model=m", "--output_dir=o")
    assert "tfhash export: error: gone.jpg: No such file or directory\n" in error


def test_traceback_keeps_the_error(capsys):
    with pytest.raises(FileNotFoundError):
        main(["export", "--model=nowhere", "--output_dir=o", "--traceback"])


def test_a_warning_is_one_line_without_code(capsys, monkeypatch):
    def warns(given, command_line):
        warnings.warn("two\nlines", stacklevel=1)
        warnings.warn("old", DeprecationWarning, stacklevel=1)

    monkeypatch.setattr(find("export"), "check_paths", lambda given: None)
    monkeypatch.setattr(find("export"), "run", warns)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert main(["export", "--model=m", "--output_dir=o"]) == 0
    assert capsys.readouterr().err == "tfhash export: warning: two lines\n"


def test_a_missing_tensorflow_is_said(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    error = error_of(capsys, "train", *QUICK)
    assert "tfhash train: error: import of tensorflow" in error
    assert "commands need TensorFlow" in error


@pytest.mark.parametrize("lines", [0, 1])
def test_a_reader_of_the_output_may_stop_early(lines, tmp_path):
    """As `tfhash ... | head -1` does. What is written to files is whole."""
    index = HammingIndex(bits=8)
    index.add(np.arange(256, dtype="uint8")[:, None])
    ImageIndex(index, Origin()).save(tmp_path / "a.index")
    np.save(tmp_path / "queries.npy", np.arange(256, dtype="uint8")[:, None])
    paths = [f"--index={tmp_path / 'a.index'}", f"--codes={tmp_path / 'queries.npy'}"]
    command = [sys.executable, "-m", "tfhash", "search", *paths, "-k=256"]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        for _ in range(lines):
            assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == NOBODY_READS


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_cannot_be_written_is_an_error(unbuffered, monkeypatch):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    with open("/dev/full", "w") as full:
        finished = subprocess.run(
            [sys.executable, "-m", "tfhash", "--version"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert finished.returncode == 1
    assert finished.stderr == (
        "tfhash: error: could not write the output: No space left on device\n"
    )


def test_a_broken_connection_is_an_error_while_the_output_is_read(monkeypatch, capfd):
    def run(*_):
        raise BrokenPipeError("the server is gone")

    monkeypatch.setattr(find("search"), "run", run)
    monkeypatch.setattr(find("search"), "check_paths", lambda given: None)
    assert main(["search", "--index=a.index", "--codes=q.npy"]) == 1
    assert "error: the server is gone" in capfd.readouterr().err


def test_what_is_written_while_libraries_load_is_shown_only_if_they_fail(capfd):
    def write():
        subprocess.run(["sh", "-c", "echo noise >&2"], check=True)

    with terminal._without_stderr():
        write()
    assert capfd.readouterr().err == ""
    with pytest.raises(ImportError), terminal._without_stderr():
        write()
        raise ImportError
    assert capfd.readouterr().err == "noise\n"


def test_python_dash_m_is_the_command():
    finished = subprocess.run(
        [sys.executable, "-m", "tfhash", "no"], capture_output=True, text=True
    )
    assert finished.returncode == 2
    assert "tfhash: error: no command 'no'" in finished.stderr
