"""Finds the command, reads its flags and reports errors in one line."""

import importlib
import os
import sys
import textwrap

from absl import flags

COMMANDS = {
    "train": "learn binary codes from labeled images",
    "evaluate": "measure how well the codes of a model retrieve",
    "encode": "turn images into packed codes",
    "export": "write a model as a SavedModel for TensorFlow Serving",
}

# Errors that a user can mostly set right end in one line; others keep their traceback.
EXPECTED_ERRORS = (ValueError, OSError, FloatingPointError, ImportError)


def main(argv=None):
    """Runs a command and returns its exit status: 0, 1 for an error, 2 for wrong usage."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("help", "-h", "--help"):
        print(_overview())
        return 0 if argv else 2
    name, *arguments = argv
    if name not in COMMANDS:
        print(f"tfhash: no command {name!r}\n\n{_overview()}", file=sys.stderr)
        return 2
    # TensorFlow reads these when it is imported. Its start-up notes are of no use here, and the
    # faster convolutions of oneDNN are off by default on CPUs with AVX2 alone.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    try:
        command = importlib.import_module(f"tfhash.cli.{name}")
    except ImportError as error:
        print(
            f"tfhash {name}: error: {error}\n(commands need TensorFlow, as tfhash installs it; "
            "the library alone also runs on JAX)",
            file=sys.stderr,
        )
        return 1
    values = flags.FlagValues()
    command.define_flags(values)
    flags.DEFINE_bool(
        "traceback", False, "Show where in the code an error arose.", flag_values=values
    )
    if {"-h", "--help"} & set(arguments):
        print(_help(name, command, values))
        return 0
    try:
        rest = values(["tfhash", *arguments])[1:]
        if rest:
            raise flags.Error(f"unexpected arguments {rest}: flags are written --name=value")
        command.check_flags(values)
    except flags.Error as error:
        print(f"tfhash {name}: {error}\nSee tfhash {name} --help", file=sys.stderr)
        return 2
    try:
        command.run(values, ["tfhash", *argv])
    except EXPECTED_ERRORS as error:
        if values.traceback:
            raise
        print(
            f"\ntfhash {name}: error: {error}\n(--traceback shows where in the code)",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print(f"\ntfhash {name}: interrupted", file=sys.stderr)
        return 130
    return 0


def require(values, *names):
    """Raises `absl.flags.Error` unless all the flags are set."""
    missing = [name for name in names if values[name].value is None]
    if missing:
        raise flags.Error("missing " + ", ".join(f"--{name}" for name in missing))


def _overview():
    commands = "\n".join(f"  {name:10}{what}" for name, what in COMMANDS.items())
    return (
        "tfhash learns short binary codes of images.\n\n"
        f"usage: tfhash COMMAND --flag=value ...\n\n{commands}\n\n"
        "tfhash COMMAND --help lists the flags of a command."
    )


def _help(name, command, values):
    lines = [f"tfhash {name}: {COMMANDS[name]}", "", textwrap.dedent(command.__doc__).strip(), ""]
    for flag_name in values:
        flag = values[flag_name]
        default = "" if flag.default is None else f" (default: {flag.default_as_str})"
        lines.append(f"  --{flag_name}{default}")
        lines += textwrap.wrap(flag.help, 76, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines)
