"""The examples in the documentation run as they stand."""

import numpy as np
import pytest
from commands import SHORT
from documents import code_blocks, commands

from tfhash.cli import main


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


def test_the_example_of_an_index_runs_on_any_codes(rng):
    codes = rng.integers(0, 256, (20, 8), "uint8")
    names = {"codes": codes, "file_names": [f"{i}.png" for i in range(20)], "queries": codes[:2]}
    (block,) = code_blocks("docs/hamming_index.md")
    exec(compile(block, "example", "exec"), names)
    assert names["ids"][:, 0].tolist() == [0, 1]
    assert names["distances"].shape == (2, 10)


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
    for query in (tmp_path / "query.jpg", tmp_path / "incoming" / "new.jpg"):
        query.parent.mkdir(exist_ok=True)
        query.write_bytes((photos / "dark" / "0.png").read_bytes())
    small = [*SHORT, "--backbone=mlp", "--width=4"]
    for arguments in commands("docs/photos.md") + commands("docs/dedupe.md"):
        assert main(arguments + small * (arguments[0] == "train")) == 0, capsys.readouterr().err
    assert commands("docs/search.md") == commands("README.md")[:3] == commands("docs/photos.md")[:3]
    assert (tmp_path / "duplicates" / "duplicates.html").is_file()
    assert (tmp_path / "found.png").is_file()
    for document, count in {"docs/search.md": 20, "docs/photos.md": 5, "docs/dedupe.md": 5}.items():
        capsys.readouterr()
        for block in code_blocks(document):
            exec(compile(block, "example", "exec"), {})
        found = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
        assert len(found) == count
        assert ["0", "dark/0.png"] in found


def test_the_guide_to_a_keras_model_of_ones_own_runs_from_training_to_search():
    names = {}
    for block in code_blocks("docs/keras.md"):
        exec(compile(block, "example", "exec"), names)
    np.testing.assert_array_equal(names["served_codes"], names["codes"])
    assert names["ids"].shape == (3, 5)
    assert names["figures"]["map"] > 0.5  # about 0.2 before training
