"""The examples in the documentation run as they stand."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]


def examples(document):
    """Code blocks of a document, as what a test is given."""
    text = (ROOT / document).read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return [pytest.param(block, id=f"{document}-{i}") for i, block in enumerate(blocks)]


DOCUMENTS = ("README.md", "docs/ops.md", "docs/training.md")


@pytest.mark.parametrize("block", [block for name in DOCUMENTS for block in examples(name)])
def test_the_examples_run(block):
    names = {}
    exec(compile(block, "example", "exec"), names)
    if "codes" in names:
        items = names["images"] if "images" in names else names["splits"].queries
        assert names["codes"].shape == (len(items), 2)
