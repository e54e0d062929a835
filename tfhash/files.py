"""Atomic writes: files and directories appear whole or not at all."""

import contextlib
import itertools
import json
import os
import pathlib
import random
import re
import shutil
import threading
import warnings

from tfhash.errors import in_words

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_PREFIX = ".partial-"
_LOCK_PREFIX = ".lock-of"  # followed by the name of the temporary path

# Writes of this process that are under way, by number: threads may write to one path.
_numbers: set[int] = set()
_numbering = threading.Lock()

# Directories that this process has cleaned of what killed writes left.
_cleaned: set[pathlib.Path] = set()


@contextlib.contextmanager
def atomic_write(path):
    """Yields a temporary path that replaces `path` when the block succeeds.

    The temporary path is in the same directory and has the same suffix. If the block raises, it is
    removed, with parents that it made, and `path` is unchanged. The first write of a process to a
    directory removes what killed ones left there. A directory can be written too, if `path` does not
    exist yet.

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
    with _own_number() as number, contextlib.ExitStack() as held:
        temporary = path.with_name(f"{_PREFIX}{os.getpid()}-{number}-{path.name}")
        try:
            held.enter_context(_made(path.parent))
            _clean_once(path.parent)
            temporary = held.enter_context(_locked(temporary))
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


def check_directory(path):
    """Checks that there is a directory at a path, or that one can be made there.

    Args:
        path: The directory; it need not exist, nor those that it is in.

    Raises:
        NotADirectoryError: If it is a file, or in one.

    Example:

    >>> import tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "note.txt"
    >>> _ = file.write_text("")
    >>> check_directory(file.parent / "new")
    >>> check_directory(file / "new")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    NotADirectoryError: cannot make the directory .../note.txt/new: .../note.txt is a file. ...
    """
    path = pathlib.Path(path)
    for part in (path, *path.parents):
        if part.is_dir():
            return
        if os.path.lexists(part):
            kind = "a file" if part.exists() else "a link that leads nowhere"
            raise NotADirectoryError(
                f"cannot make the directory {path}: {part} is {kind}. Choose another path"
            )


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
    for path in _temporary_paths(directory, name):
        _remove(path)


def remove_abandoned(directory):
    """Removes what killed `atomic_write`s left, but not what is being written.

    A writer holds a lock beside its file, which ends with its process. Process ids would not do:
    another container has its own. What has no lock stays, with a warning: the file system has
    none, or an earlier version wrote it.

    Args:
        directory: The directory; nothing happens if it does not exist.

    Example:

    >>> import tempfile
    >>> directory = pathlib.Path(tempfile.mkdtemp())
    >>> with atomic_write(directory / "note.txt") as temporary:
    ...     _ = temporary.write_text("half")
    ...     remove_abandoned(directory)
    ...     temporary.exists()
    True
    """
    for path in _without_a_lock(directory):
        warnings.warn(
            f"{path} is kept: no lock shows whether a process writes it. If none does, remove it",
            stacklevel=2,
        )


def _clean_once(directory):
    """Removes what killed writes left, at the first write of this process to a directory."""
    directory = directory.resolve()
    if directory not in _cleaned:
        _cleaned.add(directory)
        _without_a_lock(directory)


def _without_a_lock(directory):
    """Removes the temporary paths whose locks are free. Returns those of which no lock tells."""
    unknown = []
    present = set(_temporary_paths(directory))
    for lock in (path for path in present if path.name.startswith(_LOCK_PREFIX)):
        path = lock.with_name(lock.name.removeprefix(_LOCK_PREFIX))
        try:
            descriptor = _take(lock, os.O_RDWR)
        except (BlockingIOError, FileNotFoundError):  # being written, or just removed
            continue
        except PermissionError:
            descriptor = None
        if descriptor is None:
            unknown.append(path)
        else:
            _remove(path)
            lock.unlink(missing_ok=True)
            os.close(descriptor)
    for path in present:
        is_lock = path.name.startswith(_LOCK_PREFIX)
        if not is_lock and not _lock_path(path).exists() and path.exists():
            unknown.append(path)
    return sorted(unknown)


def _temporary_paths(directory, name=None):
    """What is there of the temporary paths of a file, or of all, and of their locks."""
    # Earlier versions wrote one number.
    written = ".*" if name is None else re.escape(name)
    prefixes = f"({re.escape(_LOCK_PREFIX)})?{re.escape(_PREFIX)}"
    pattern = re.compile(rf"{prefixes}\d+(-\d+)?-{written}", re.DOTALL)
    return [path for path in pathlib.Path(directory).glob(".*") if pattern.fullmatch(path.name)]


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


@contextlib.contextmanager
def _made(directory):
    """Makes a directory and its parents. Those that it made and that are empty go if the block raises."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for path in missing:
            with contextlib.suppress(OSError):  # others have written there, or it was never made
                path.rmdir()
        raise


@contextlib.contextmanager
def _locked(temporary):
    """`temporary`, with its lock held where the file system has locks."""
    process, _, name = temporary.name.removeprefix(_PREFIX).split("-", 2)
    while True:
        try:
            descriptor = _take(_lock_path(temporary), os.O_RDWR | os.O_CREAT)
            break
        except (
            FileNotFoundError
        ):  # a write that failed has removed the directory, which it had made
            temporary.parent.mkdir(parents=True, exist_ok=True)
        except BlockingIOError:  # a process of another container has the same id
            number = random.SystemRandom().randrange(2**31, 2**63)
            temporary = temporary.with_name(f"{_PREFIX}{process}-{number}-{name}")
    try:
        yield temporary
    finally:
        _remove(temporary)
        if fcntl is not None:
            _lock_path(temporary).unlink(missing_ok=True)
        if descriptor is not None:
            os.close(descriptor)


def _lock_path(temporary):
    return temporary.with_name(_LOCK_PREFIX + temporary.name)


def _take(lock, flags):
    """A descriptor that holds the lock, None without locks; BlockingIOError if another has it."""
    if fcntl is None:
        return None
    descriptor = os.open(lock, flags, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Its holder may have removed it between the two calls.
        if not os.path.samestat(os.fstat(descriptor), os.stat(lock)):
            raise BlockingIOError
    except (BlockingIOError, FileNotFoundError) as error:
        os.close(descriptor)
        raise BlockingIOError from error
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


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
