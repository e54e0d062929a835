"""Decoded images on disk, for folders whose images do not fit into memory.

Decoding an image of 12 megapixels takes as long as training on it, and a folder is read in every epoch.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import itertools
import json
import os
import pathlib
import shutil
import time

import numpy as np
import tensorflow as tf

from tfhash import files
from tfhash.data import images, scan
from tfhash.data.kept import as_tensor
from tfhash.errors import translated

# Of what is known of files.
_VERSION = 1

# What was found in files is written so often while they are read, so that a killed run continues.
SECONDS_BETWEEN_WRITES = 60
_PORTION = 1024

_DIGEST_BYTES = 32

# Images written at a time.
CHUNK = 256


class DiskCache:
    """A folder with decoded images and with what is known of image files.

    | file | holds |
    | --- | --- |
    | `files-*.json` | of one folder of images, what `tfhash.data.scan` found in files of that size and time |
    | `images-*.uint8` | images of one shape, decoded and resized, one after the other |
    | `images-*.digests` | the SHA-256 of the file of each of them |
    | `lock` | locked by the process that adds images |

    Images are found by the contents of their files, so they outlive a renamed file, and copies share
    one. An image counts once its digest is written, after its pixels: what a killed process was
    writing is written again, and all before it is kept. Images are added and never removed; delete
    the folder for that.

    Args:
        directory: The folder; it is made if it does not exist.

    Raises:
        OSError: If the folder cannot be written to.
    """

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with self._locked():
                pass
        except OSError as error:
            raise OSError(
                f"`cache_dir` must be a folder that can be written to. Received: {directory} "
                f"({error.strerror or error}). Pass another one, or leave it out"
            ) from error

    def examine(self, root, names):
        """As `tfhash.data.scan.examine`, without reading files of the same size and time as before."""
        path = self.directory / f"files-{_short_digest(os.path.realpath(root))}.json"
        known = _read_known(path)
        stamps = {name: _stamp(root, name) for name in names}
        found = {
            name: known[name][1]
            for name in names
            if name in known and known[name][0] == stamps[name] is not None
        }
        broken, written = [], time.monotonic()
        rest = [name for name in names if name not in found]
        for start in range(0, len(rest), _PORTION):
            examined, more_broken = scan.examine(root, rest[start : start + _PORTION])
            broken += more_broken
            found |= {file.name: file for file in examined}
            is_last = start + _PORTION >= len(rest)
            if is_last or time.monotonic() - written > SECONDS_BETWEEN_WRITES:
                _write_known(path, found, stamps)
                written = time.monotonic()
        return [found[name] for name in names if name in found], broken

    def images(self, source, image_shape, indices, report=None):
        """Images of a source that are on disk, or are decoded and written now.

        Args:
            source: `tfhash.data.sources.FileSource`.
            image_shape: `(height, width, channels)`.
            indices: Items that are wanted.
            report: Function that is told how many images were written now, again and again.

        Returns:
            `DiskImages`.

        Raises:
            OSError: If the images do not fit on the disk, or a file cannot be read or written.
        """
        # Another TensorFlow may decode to other pixels.
        made_by = json.dumps([images.VERSION, source.keep_aspect, tf.__version__])
        sides = "x".join(map(str, image_shape))
        path = self.directory / f"images-{sides}-{_short_digest(made_by)}.uint8"
        with self._locked():
            rows = _Rows(path, image_shape)
            digest_of = {i: bytes.fromhex(source.digests[i]) for i in np.unique(indices).tolist()}
            missing: dict[bytes, int] = {}
            for index, digest in digest_of.items():
                if digest not in rows.row_of:
                    missing.setdefault(digest, index)
            rows.add(source, missing, report)
        return DiskImages(rows, digest_of)

    @contextlib.contextmanager
    def _locked(self):
        """Waits until no other process adds images, and lets none do so while the block runs."""
        with open(self.directory / "lock", "ab") as lock:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


class DiskImages:
    """Images of a source on disk; `images` and `tensor` as in `tfhash.data.kept.MemoryImages`."""

    def __init__(self, rows, digest_of):
        self.images = rows.mapped()
        self.tensor = as_tensor(self.images)
        self._indices = np.array(list(digest_of), "int64")  # ascending
        self._rows = np.array([rows.row_of[digest] for digest in digest_of.values()], "int64")

    def rows_of(self, indices):
        """The rows of items in `images` and `tensor`."""
        return self._rows[np.searchsorted(self._indices, indices)]


class _Rows:
    """The images of one shape in two files that only grow."""

    def __init__(self, path, image_shape):
        self._path, self._digests_path = path, path.with_suffix(".digests")
        self._image_shape = image_shape
        self._row_bytes = int(np.prod(image_shape))
        digests = self._digests_path.read_bytes() if self._digests_path.exists() else b""
        size = path.stat().st_size if path.exists() else 0
        self._count = min(len(digests) // _DIGEST_BYTES, size // self._row_bytes)
        starts = range(0, self._count * _DIGEST_BYTES, _DIGEST_BYTES)
        self.row_of = {digests[at : at + _DIGEST_BYTES]: row for row, at in enumerate(starts)}

    def add(self, source, index_of, report=None):
        """Decodes images and writes them.

        Args:
            source: `tfhash.data.sources.FileSource`.
            index_of: Dictionary from the digests of the new images to their items.
            report: As in `DiskCache.images`.
        """
        if not index_of:
            return
        self._check_space(len(index_of) * self._row_bytes)
        digests = list(index_of)
        images = source.decoded(list(index_of.values()), self._image_shape)
        with self._opened() as (rows, keys), translated():
            while chunk := list(itertools.islice(images, CHUNK)):
                added = digests[: len(chunk)]
                digests = digests[len(chunk) :]
                self._append(rows, np.stack(chunk).data.cast("B"))
                self._append(keys, b"".join(added))
                self.row_of |= {digest: self._count + i for i, digest in enumerate(added)}
                self._count += len(added)
                if report:
                    report(len(added))

    def mapped(self):
        """All images, NumPy `uint8 [n, *image_shape]`, read from the disk where they are used."""
        # Shared with the file, so that they take no memory of the process. Nothing writes to them.
        shape = (self._count, *self._image_shape)
        if not self._count:
            return np.zeros(shape, np.uint8)
        return np.memmap(self._path, np.uint8, "r+", shape=shape)

    def _check_space(self, needed):
        free = shutil.disk_usage(self._path.parent).free
        if needed > free:
            raise OSError(
                f"the images take {needed / 1e9:.2f} GB, and the disk of `cache_dir` "
                f"{self._path.parent} has {free / 1e9:.2f} GB left. Make room, pass another "
                "`cache_dir`, or leave it out to decode images whenever they are read"
            )

    @contextlib.contextmanager
    def _opened(self):
        with (
            open(self._path, "ab", buffering=0) as rows,
            open(self._digests_path, "ab", buffering=0) as keys,
        ):
            # What a killed process was writing.
            rows.truncate(self._count * self._row_bytes)
            keys.truncate(self._count * _DIGEST_BYTES)
            yield rows, keys

    def _append(self, file, data):
        rest = memoryview(data)
        try:
            while len(rest):
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        except OSError as error:
            raise OSError(
                f"could not write to `cache_dir` {self._path.parent}: {error.strerror}. Its "
                f"{self._count:,} images of this size are kept. Make room, or pass another `cache_dir`"
            ) from error


def _stamp(root, name):
    """Size in bytes and time of the last change in nanoseconds; `None` of a missing file."""
    try:
        status = os.stat(os.path.join(root, name))
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _read_known(path):
    """A dictionary from a name to `(stamp, Examined)`; empty where the file is missing or damaged."""
    try:
        found = json.loads(path.read_text(encoding="ascii"))
        if found["version"] != _VERSION:
            return {}
        return {
            name: ((size, changed), scan.Examined(name, *values))
            for name, size, changed, *values in found["files"]
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _write_known(path, found, stamps):
    rows = [
        [name, *stamps[name], *dataclasses.astuple(file)[1:]]
        for name, file in found.items()
        if stamps[name]
    ]
    with files.atomic_write(path) as temporary:
        temporary.write_text(json.dumps({"version": _VERSION, "files": rows}), encoding="ascii")


def _short_digest(text):
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:16]
