"""The commands, and what a command is made of."""

import importlib

# What each command does. The command itself is `tfhash.cli.NAME`, imported when it is needed.
COMMANDS = {
    "train": "learn binary codes from labeled images",
    "evaluate": "measure how well the codes of a model retrieve",
    "encode": "turn images into packed codes",
    "index": "make a searchable index of a folder of images",
    "search": "find the images of an index that are nearest to a query",
    "dedupe": "find copies and look-alikes in a folder",
    "export": "write a model as a SavedModel for TensorFlow Serving",
    "serve": "answer requests for codes and neighbors over HTTP",
    "demo": "open an index in the browser, and search it by dropping images",
}


def find(name):
    """The module of a command.

    It has a docstring, examples first, which is its help; `GROUPS`, a dictionary from a heading to
    the dataclasses of settings that its flags are made from; `check(given)`, which raises
    `ValueError` for wrong usage; `check_paths(given)`, which raises `OSError` or `ValueError` if
    something else stands where a path leads than the command needs; and `run(given, command_line)`.
    `given` is a dictionary of the flags that were given. A command imports no TensorFlow before
    `run`, so that mistakes are told at once. A function `imports_tensorflow_first(given)` that
    returns false leaves the import to `run`.
    """
    return importlib.import_module(f"tfhash.cli.{name}")
