"""The examples in the documentation."""

import pathlib
import re
import shlex

ROOT = pathlib.Path(__file__).parents[1]


def read(document):
    return (ROOT / document).read_text(encoding="utf-8")


def code_blocks(document):
    return re.findall(r"```python\n(.*?)```", read(document), re.DOTALL)


def commands(document):
    """The arguments of every tfhash command of a document."""
    lines = re.findall(r"^    tfhash (.*)$", read(document), re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]
