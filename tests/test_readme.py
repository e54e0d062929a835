"""The examples in the documentation run as they stand."""

import pathlib
import re
import shlex

import numpy as np
import pytest
from commands import SHORT

from tfhash.cli import main

ROOT = pathlib.Path(__file__).parents[1]


def read(document):
    return (ROOT / document).read_text(encoding="utf-8")


def code_blocks(document):
    return re.findall(r"```python\n(.*?)```", read(document), re.DOTALL)


def commands(document):
    """The arguments of every tfhash command of a document."""
    lines = re.findall(r"^    tfhash (.*)$", read(document), re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


def examples(document):
    """Code blocks of a document, as what a test is given."""
    return [
        pytest.param(block, id=f"{document}-{i}") for i, block in enumerate(code_blocks(document))
    ]


DOCUMENTS = ("README.md", "docs/ops.md", "docs/training.md")


@pytest.mark.parametrize("block", [block for name in DOCUMENTS for block in examples(name)])
def test_the_examples_run(block):
    names = {}
    exec(compile(block, "example", "exec"), names)
    if "codes" in names:
        items = names["images"] if "images" in names else names["splits"].queries
        assert names["codes"].shape == (len(items), 2)


def test_the_loss_of_ones_own_takes_one_label_of_each_item_or_several(rng):
    (block,) = (block for block in code_blocks("docs/training.md") if "PairLoss" in block)
    names = {}
    exec(block.split("\n\n\nrecipe = ")[0], names)
    loss, codes, labels = names["PairLoss"](), rng.uniform(-1, 1, (6, 4)), np.arange(6) % 3
    several = np.eye(3)[labels]
    assert float(loss(several, codes)) == pytest.approx(float(loss(labels, codes)))
    several[0, 1] = 1  # now similar to items 1 and 4 as well
    assert float(loss(several, codes)) != pytest.approx(float(loss(labels, codes)))


def test_the_examples_for_a_folder_of_photos_run(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "query.jpg").write_bytes((photos / "dark" / "0.png").read_bytes())
    small = [*SHORT, "--backbone=mlp", "--width=4"]
    for arguments in commands("docs/photos.md") + commands("docs/dedupe.md"):
        assert main(arguments + small * (arguments[0] == "train")) == 0, capsys.readouterr().err
    assert commands("docs/search.md") == commands("README.md")[:3] == commands("docs/photos.md")[:3]
    assert (tmp_path / "duplicates" / "duplicates.html").is_file()
    assert (tmp_path / "found.png").is_file()
    for document, count in {"docs/search.md": 10, "docs/photos.md": 5, "docs/dedupe.md": 0}.items():
        capsys.readouterr()
        for block in code_blocks(document):
            exec(compile(block, "example", "exec"), {})
        found = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
        assert len(found) == count
        assert not count or ["0", "dark/0.png"] in found


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
    # The report in the guide has the rows of one that is printed now.
    (shown,) = re.findall(r"```text\n(.*?)```", read("docs/quickstart.md"), re.DOTALL)

    def names_of_rows(text):
        rows = re.findall(r"^  (\w.*?)  +[\d.,]+(?:  +[\d.,]+)?$", text, re.MULTILINE)
        return [re.sub(r"\d+ bits", "", name) for name in rows]

    assert len(names_of_rows(shown)) == 10
    assert set(names_of_rows(shown)) <= set(names_of_rows(printed))


def test_the_guide_to_a_keras_model_of_ones_own_runs_from_training_to_search():
    names = {}
    for block in code_blocks("docs/keras.md"):
        exec(compile(block, "example", "exec"), names)
    np.testing.assert_array_equal(names["served_codes"], names["codes"])
    assert names["ids"].shape == (3, 5)
    assert names["figures"]["map"] > 0.5  # about 0.2 before training
