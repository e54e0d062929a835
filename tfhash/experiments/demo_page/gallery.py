"""The files of an index, by id, and no other files."""

import os
import stat

import numpy as np

from tfhash.experiments.demo_page import pictures
from tfhash.experiments.serving.request_error import RequestError

# Files of one size that an image is compared with.
MOST_COMPARED = 10_000

_CHUNK = 2**16


class UnavailableError(Exception):
    """A file that is not shown.

    Attributes:
        state: Why, in a word: "missing", "changed", "link" or "unreadable".
    """

    def __init__(self, state, message):
        super().__init__(message)
        self.state = state


class Gallery:
    """Opens the files of an index.

    A file is opened if it is regular, its path below the folder is that of the index, no link is on
    the way, and it has the size that it had when it was indexed.

    Args:
        index: `tfhash.experiments.ImageIndex`.
        folder: Path of the folder of its images.
        follow_links: Also open what links lead to, if size and time of change are those of the index.

    Attributes:
        index: As given.
        folder: Its real path.
        codes: Packed codes, `uint8 [n, ceil(bits / 8)]`.
        ids: Their ids, `int64 [n]`, ascending.
    """

    def __init__(self, index, folder, follow_links=False):
        self.index, self.folder = index, os.path.realpath(folder)
        self.codes, self.ids = index.index.items()
        self._follow_links = follow_links
        self._stamps = index.stamps_in_order()

    def __len__(self):
        return len(self.ids)

    @property
    def knows_sizes(self):
        """Whether the index holds the sizes of its files."""
        return self._stamps is not None

    def code_of(self, item):
        """The packed code of an id, `uint8 [ceil(bits / 8)]`.

        Raises:
            RequestError: If there is no such id, with status 404.
        """
        return self.codes[self._row(item)]

    def name_of(self, item):
        """The name of an id in the index; the id itself where it has none."""
        return self.index.names_of([item])[0]

    def state(self, item):
        """What there is of the file of an id: "ok", or the state of an `UnavailableError`."""
        try:
            self.stamp(item)
        except UnavailableError as error:
            return error.state
        return "ok"

    def stamp(self, item):
        """Size and time of change of the file of an id, as it is now.

        Raises:
            UnavailableError: If it is not shown.
            RequestError: If there is no such id, with status 404.
        """
        with open(self._open(item), "rb") as file:
            status = os.fstat(file.fileno())
        return status.st_size, status.st_mtime_ns

    def read(self, item):
        """Contents of the file of an id.

        Raises:
            UnavailableError: If it is not shown.
            RequestError: If there is no such id, with status 404.
        """
        with open(self._open(item), "rb") as file:
            try:
                return file.read()
            except OSError as error:
                raise UnavailableError("unreadable", str(error)) from None

    def thumbnail(self, item):
        """JPEG of the file of an id.

        Raises:
            UnavailableError: If it is not shown, or cannot be decoded.
            RequestError: If there is no such id, with status 404.
        """
        contents = self.read(item)
        try:
            return pictures.thumbnail(contents, self.name_of(item))
        except RequestError as error:
            raise UnavailableError("unreadable", error.message) from None

    def find(self, contents):
        """The smallest id whose file has these bytes, or `None`.

        Raises:
            RequestError: If too many files have as many bytes.
        """
        rows = np.flatnonzero(self._stamps[:, 0] == len(contents)) if self.knows_sizes else ()
        if len(rows) > MOST_COMPARED:
            raise RequestError(
                f"{len(rows):,} indexed files have {len(contents):,} bytes, too many to compare with"
            )
        return next((item for item in self.ids[rows].tolist() if self._has(item, contents)), None)

    def _has(self, item, contents):
        try:
            file = open(self._open(item), "rb")  # noqa: SIM115
            with file:
                starts = range(0, len(contents), _CHUNK)
                return all(file.read(_CHUNK) == contents[at : at + _CHUNK] for at in starts)
        except (UnavailableError, OSError):
            return False

    def _row(self, item):
        row = int(np.searchsorted(self.ids, item))
        if row == len(self.ids) or self.ids[row] != item:
            raise RequestError(f"there is no image {item} in the index", 404)
        return row

    def _open(self, item):
        """A descriptor of the file of an id."""
        row = self._row(item)
        name = self.index.index.names_of([item])[0]
        # An index is a file that may come from elsewhere.
        if name is None or "\0" in name or {"", ".", ".."} & set(name.split("/")):
            raise UnavailableError("missing", "the index names no file below its folder")
        path = os.path.join(self.folder, name)
        real = os.path.realpath(path)
        is_link = real != path
        if is_link and not (self._follow_links and self.knows_sizes):
            reason = ": the index does not hold sizes and times" if self._follow_links else ""
            raise UnavailableError("link", f"links are not followed{reason}")
        try:
            # What a pipe would wait for does not come.
            descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            raise UnavailableError("missing", "the file does not exist any more") from None
        except OSError as error:
            raise UnavailableError("unreadable", error.strerror or str(error)) from None
        try:
            self._check(row, os.fstat(descriptor), is_link)
        except UnavailableError:
            os.close(descriptor)
            raise
        return descriptor

    def _check(self, row, status, is_link):
        if not stat.S_ISREG(status.st_mode):
            raise UnavailableError("missing", "it is no file any more")
        if not self.knows_sizes:
            return
        now, before = (status.st_size, status.st_mtime_ns), tuple(self._stamps[row].tolist())
        # A copy of a folder has its own times. A link can lead to any file of the same size.
        if now[0] != before[0] or (is_link and now != before):
            raise UnavailableError("changed", "the file has changed since it was indexed")
