import pathlib
import re

import pytest

README = pathlib.Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=["model", "layer_and_loss", "search"])
def test_the_readmes_examples_run(block):
    names = {}
    exec(compile(block, str(README), "exec"), names)
    if "codes" in names:
        assert names["codes"].shape == (len(names["splits"].queries), 2)
