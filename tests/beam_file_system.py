"""A file system of Beam for tests: paths elsewhere://NAME are files of a folder."""

import os

from apache_beam.io.filesystem import FileMetadata, FileSystem

SCHEME = "elsewhere://"


class Elsewhere(FileSystem):
    """Shows a file when it is closed, and has no directories, as a store of objects."""

    root = ""

    @classmethod
    def scheme(cls):
        return "elsewhere"

    def _list(self, dir_or_prefix):
        for folder, _, names in os.walk(self.root):
            for name in names:
                path = os.path.join(folder, name)
                shown = SCHEME + os.path.relpath(path, self.root)
                if shown.startswith(dir_or_prefix):
                    yield FileMetadata(shown, os.path.getsize(path), os.path.getmtime(path))

    def _open(self, path, mode):
        path = self._path(path)
        if mode == "wb":
            os.makedirs(os.path.dirname(path), exist_ok=True)
        return open(path, mode)

    def _path(self, path):
        return os.path.join(self.root, path.removeprefix(SCHEME))

    def create(self, path, mime_type="", compression_type=""):
        return self._open(path, "wb")

    def open(self, path, mime_type="", compression_type=""):
        return self._open(path, "rb")

    def rename(self, source_file_names, destination_file_names):
        for source, target in zip(source_file_names, destination_file_names):
            os.replace(self._path(source), self._path(target))

    def delete(self, paths):
        for path in paths:
            os.remove(self._path(path))

    def join(self, basepath, *paths):
        return "/".join([basepath.rstrip("/"), *paths])

    def split(self, path):
        return tuple(path.rsplit("/", 1))

    def has_dirs(self):
        return False

    def mkdirs(self, path):
        raise NotImplementedError

    def copy(self, source_file_names, destination_file_names):
        raise NotImplementedError

    def exists(self, path):
        return os.path.isfile(self._path(path))

    def size(self, path):
        raise NotImplementedError

    def last_updated(self, path):
        raise NotImplementedError

    def checksum(self, path):
        raise NotImplementedError

    def metadata(self, path):
        here = self._path(path)
        return FileMetadata(path, os.path.getsize(here), os.path.getmtime(here))
