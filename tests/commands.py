"""How tests run the commands."""

from tfhash.cli import main

# A network that trains in seconds.
QUICK = ["--dataset=digits", "--backbone=mlp", "--width=4", "--bits=9"]
SHORT = ["--pretrain_epochs=1", "--finetune_epochs=2"]


def error_of(capsys, *argv, status=1):
    """What a command that ends with `status` writes to standard error."""
    assert main(list(argv)) == status
    return capsys.readouterr().err
