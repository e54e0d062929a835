"""How tests run the commands."""

import re

from tfhash.cli import main

# A network that trains in seconds.
QUICK = ["--dataset=digits", "--backbone=mlp", "--width=4", "--bits=9"]
SHORT = ["--pretrain_epochs=1", "--finetune_epochs=2"]


def row_of(printed, name):
    """The values in a row of the table of figures, as they are printed."""
    (found,) = re.findall(rf"^  {re.escape(name)}  +(\S.*)$", printed, re.MULTILINE)
    return found.split()


def error_of(capsys, *argv, status=1):
    """What a command that ends with `status` writes to standard error."""
    assert main(list(argv)) == status
    return capsys.readouterr().err
