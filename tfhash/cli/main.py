"""Finds the command, reads its flags and reports errors in one line."""

import sys

import tfhash
from tfhash.cli import flags, help, terminal
from tfhash.cli.registry import COMMANDS, find

# Errors that a user can mostly fix end in one line; others keep their traceback.
EXPECTED_ERRORS = (ValueError, OSError, FloatingPointError, ImportError, MemoryError)

# Of a program that SIGPIPE ends, which is ignored in Python.
NOBODY_READS = 141


def main(argv=None):
    """Runs a command and returns its exit status: 0, 1 for an error, 2 for wrong usage."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        status = _main(argv)
        print(end="", flush=True)
        return status
    except OSError as error:  # of standard output, or because of --traceback
        is_reader_gone = isinstance(error, BrokenPipeError) and terminal.is_reader_gone()
        is_of_file = error.filename is not None
        if is_of_file or ("--traceback" in argv and not is_reader_gone):
            raise
        terminal.discard_output()
        if is_reader_gone:
            return NOBODY_READS
        print(f"tfhash: error: could not write the output: {error.strerror}", file=sys.stderr)
        return 1


def _main(argv):
    terminal.print_any_name()
    if argv == ["--version"]:
        print(f"tfhash {tfhash.__version__}")
        return 0
    if argv[:1] == ["help"] and len(argv) == 2:
        argv = [argv[1], "--help"]
    if not argv or argv[0] in ("help", "-h", "--help"):
        print(help.overview())
        return 0 if argv else 2
    name, *arguments = argv
    if name not in COMMANDS:
        print(f"tfhash: error: no command {name!r}\n\n{help.overview()}", file=sys.stderr)
        return 2
    command = find(name)
    if {"-h", "--help"} & set(arguments):
        print(help.of_command(name, command))
        return 0
    shows_traceback = "--traceback" in arguments
    values = flags.define(command.GROUPS)
    try:
        given = flags.parse(values, [a for a in arguments if a != "--traceback"])
        command.check(given)
    except ValueError as error:
        message = flags.named_as_flags(str(error), values)
        print(f"tfhash {name}: error: {message}\nSee tfhash {name} --help", file=sys.stderr)
        return 2
    try:
        _run(name, command, given, ["tfhash", *argv])
    except EXPECTED_ERRORS as error:
        if shows_traceback or (isinstance(error, BrokenPipeError) and terminal.is_reader_gone()):
            raise
        message = flags.named_as_flags(_in_words(error), values)
        print(
            f"\ntfhash {name}: error: {message}\n(--traceback shows where in the code)",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt as error:
        # With a message where what was done is kept.
        said = "; ".join(["interrupted", *map(str, error.args)])
        print(f"\ntfhash {name}: {flags.named_as_flags(said, values)}", file=sys.stderr)
        return 130
    return 0


def _run(name, command, given, command_line):
    command.check_paths(given)
    imports_tensorflow_first = getattr(command, "imports_tensorflow_first", lambda given: True)
    if imports_tensorflow_first(given):
        terminal.import_libraries()
    from tfhash import errors

    with terminal.one_line_warnings(name), errors.translated():
        command.run(given, command_line)


def _in_words(error):
    if isinstance(error, ImportError):
        return (
            f"{error}\n(commands need TensorFlow, as tfhash installs it; the library alone also "
            "runs on JAX)"
        )
    return str(error) or type(error).__name__
