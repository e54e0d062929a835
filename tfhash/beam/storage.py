"""Files on this machine or in a file system that Beam knows, such as `gs://`.

A path is this machine's unless it has a scheme.
"""

import contextlib
import os
import pathlib
import shutil
import tempfile
import uuid

from tfhash import files
from tfhash.beam.extra import apache_beam as beam

FileSystems = beam.io.filesystems.FileSystems

_CHUNK = 2**20
# Otherwise Beam unpacks what is called .gz.
_AS_IS = {"compression_type": beam.io.filesystem.CompressionTypes.UNCOMPRESSED}


def is_local(path):
    """Whether a path is one of this machine."""
    return "://" not in str(path)


def join(directory, *names):
    """The path of a file in a directory."""
    if is_local(directory):
        return os.path.join(directory, *names)
    return "/".join([directory.rstrip("/"), *names])


@contextlib.contextmanager
def whole_file(path):
    """Yields a path on this machine whose file replaces `path`, whole, when the block succeeds."""
    if is_local(path):
        with files.atomic_write(path) as temporary:
            yield temporary
        return
    with tempfile.TemporaryDirectory() as directory:
        temporary = pathlib.Path(directory) / path.rpartition("/")[2]
        yield temporary
        # Stores of objects show a file when it is closed; others would show the beginning of it.
        unfinished = f"{path}.partial-{uuid.uuid4().hex}"
        with open(temporary, "rb") as source, FileSystems.create(unfinished, **_AS_IS) as target:
            shutil.copyfileobj(source, target, _CHUNK)
        FileSystems.rename([unfinished], [path])


def write(path, text):
    """Writes a text, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read(path):
    """The bytes of a file.

    Raises:
        OSError: If it cannot be read.
    """
    if is_local(path):
        return pathlib.Path(path).read_bytes()
    with FileSystems.open(path, **_AS_IS) as file:
        return file.read()


@contextlib.contextmanager
def local_copy(path):
    """Yields a path on this machine with the contents of a file."""
    if is_local(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as directory:
        copy = os.path.join(directory, path.rpartition("/")[2])
        with FileSystems.open(path, **_AS_IS) as source, open(copy, "wb") as target:
            shutil.copyfileobj(source, target, _CHUNK)
        yield copy


def sizes(directory, prefix=""):
    """Dictionary from path to size in bytes of the files of a directory whose names begin so.

    Args:
        directory: Its path; there are no files in one that does not exist.
        prefix: How names begin.
    """
    if not is_local(directory):
        (found,) = FileSystems.match([join(directory, f"{prefix}*")])
        return {file.path: file.size_in_bytes for file in found.metadata_list}
    if not os.path.isdir(directory):
        return {}
    with os.scandir(directory) as entries:
        return {
            join(directory, entry.name): entry.stat().st_size
            for entry in entries
            if entry.name.startswith(prefix) and entry.is_file()
        }


def remove(paths):
    """Removes files, all of this machine or all of one file system of Beam.

    Args:
        paths: Their paths, a list; on this machine, those that do not exist are passed over.
    """
    if paths and not is_local(paths[0]):
        FileSystems.delete(list(paths))
        return
    for path in paths:
        # Beam would take names such as "[2020]" for patterns.
        pathlib.Path(path).unlink(missing_ok=True)
