"""Atomic writes: files and directories appear whole or not at all."""

import contextlib
import itertools
import json
import os
import pathlib
import re
import shutil
import threading

from tfhash.errors import in_words

_PREFIX = ".partial-"

# Writes of this process that are under way, by number: threads may write to one path.
_numbers: set[int] = set()
_numbering = threading.Lock()


@contextlib.contextmanager
def atomic_write(path):
    """Yields a temporary path that replaces `path` when the block succeeds.

    The temporary path is in the same directory and has the same suffix. If the block raises, it is
    removed and `path` is unchanged. A directory can be written too, if `path` does not exist yet.

    Args:
        path: File or directory to write; missing parents are made.

    Raises:
        OSError: If writing fails; the message names `path`.

    Example:

    >>> import tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "note.txt"
    >>> with atomic_write(path) as temporary:
    ...     _ = temporary.write_text("whole")
    >>> path.read_text()
    'whole'
    """
    path = pathlib.Path(path)
    with _own_number() as number:
        temporary = path.with_name(f"{_PREFIX}{os.getpid()}-{number}-{path.name}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove(temporary)  # left by a killed process of the same number
            yield temporary
            if temporary.is_file():
                # A full disk may only be noticed now.
                with open(temporary, "rb+") as file:
                    os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else in_words(error)
            raise OSError(f"could not write {path}: {reason}; it is unchanged") from error
        finally:
            _remove(temporary)


def remove_partial(directory, name=None):
    """Removes the temporary files that a killed `atomic_write` left in a directory.

    Args:
        directory: The directory.
        name: Name of the file that was written; by default those of all files are removed.

    Example:

    >>> import tempfile
    >>> directory = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (directory / ".partial-123-0-note.txt").write_text("half")
    >>> remove_partial(directory)
    >>> list(directory.iterdir())
    []
    """
    # Earlier versions wrote one number.
    pattern = re.escape(_PREFIX) + r"\d+(-\d+)?-" + (".*" if name is None else re.escape(name))
    for path in pathlib.Path(directory).glob(f"{_PREFIX}*"):
        if re.fullmatch(pattern, path.name, re.DOTALL):
            _remove(path)


def remove_abandoned(directory):
    """Removes what killed `atomic_write`s left, but for that of processes that run and may be writing.

    Args:
        directory: The directory; nothing happens if it does not exist.

    Example:

    >>> import tempfile
    >>> directory = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (directory / f".partial-{os.getpid()}-0-note.txt").write_text("half")
    >>> remove_abandoned(directory)
    >>> len(list(directory.iterdir()))  # this process runs
    1
    """
    for path in pathlib.Path(directory).glob(f"{_PREFIX}*"):
        written_by = re.match(re.escape(_PREFIX) + r"(\d+)-", path.name)
        if written_by and not _is_running(int(written_by[1])):
            _remove(path)


def write_json(path, value):
    """Writes `value` as indented JSON, atomically. NaN becomes null.

    Args:
        path: The file; missing parents are made.
        value: What `json.dumps` takes.

    Raises:
        OSError: If writing fails; the file is unchanged.
        ValueError: If a number is infinite.

    Example:

    >>> import tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "figures.json"
    >>> write_json(path, {"map": 0.5})
    >>> json.loads(path.read_text())
    {'map': 0.5}
    """
    with atomic_write(path) as temporary:
        temporary.write_text(as_json(value), encoding="utf-8")


def as_json(value):
    """`value` as indented JSON that ends in a line break. NaN becomes null.

    Args:
        value: What `json.dumps` takes.

    Returns:
        A string.

    Raises:
        ValueError: If a number is infinite.

    Example:

    >>> as_json([float("nan")]).split()
    ['[', 'null', ']']
    """
    return json.dumps(_without_nan(value), indent=2, allow_nan=False) + "\n"


@contextlib.contextmanager
def _own_number():
    """The smallest number that no write under way has, so that it comes again after a kill."""
    with _numbering:
        number = next(n for n in itertools.count() if n not in _numbers)
        _numbers.add(number)
    try:
        yield number
    finally:
        with _numbering:
            _numbers.discard(number)


def _is_running(process):
    if os.name == "nt":
        return True  # signal 0 would end it
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True  # of another user, or no number of a process
    return True


def _remove(path):
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _without_nan(value):
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    # Only NaN differs from itself.
    return None if value != value else value
