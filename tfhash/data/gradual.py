"""Image files that are examined and read some at a time, so that what was done need not be done again."""

import os

import numpy as np

from tfhash.data import scan
from tfhash.data.sources import FileSource
from tfhash.data.split import Split
from tfhash.data.summary import LeftOut
from tfhash.data.walk import check_folder, walk


class ImageFiles:
    """Image files of a folder.

    Attributes:
        root: Path of the folder.
        names: Paths below it, with `/`, in their order.
        stamps: Dictionary from the name of each file that exists to its size in bytes and the time
            of its last change in nanoseconds.
        left_out: `LeftOut` of everything else, and of the broken files that were found so far.

    Args:
        root, names, left_out: See above.

    Example:

        files = ImageFiles.below("photos/")
        first = files.read(files.names[:100], (224, 224, 3))  # a `Split`
        print(files.summary())
    """

    def __init__(self, root, names, left_out=()):
        self.root, self.left_out = os.fspath(root), list(left_out)
        self._known_broken = sum(item.is_broken for item in self.left_out)
        self._examined = []
        self.stamps = {}
        for name in names:
            try:
                status = os.stat(os.path.join(self.root, name))
            except OSError as error:
                reason = error.strerror or str(error)
                self.left_out.append(LeftOut(name, reason, True))
                self._known_broken += 1
            else:
                self.stamps[name] = status.st_size, status.st_mtime_ns
        self.names = list(self.stamps)

    @classmethod
    def below(cls, folder):
        """All images below a folder.

        Raises:
            FileNotFoundError: If there is no such folder.
            ValueError: If it holds no images.
        """
        check_folder(folder, "images")
        walked = walk(folder)
        if not walked.files and not any(item.is_broken for item in walked.left_out):
            raise ValueError(f"there are no images below {folder}")
        return cls(folder, walked.files, walked.left_out)

    def __len__(self):
        return len(self.names)

    def read(self, names, image_shape, keep_aspect=True):
        """The readable ones among some files; the others join `left_out`.

        Args:
            names: Some of `names`.
            image_shape: `(height, width, channels)` that the images are brought to.
            keep_aspect: As in `tfhash.data.images.resize_to`.

        Returns:
            `Split`, in the order of `names`; empty if none is readable.
        """
        examined, broken = scan.examine(self.root, names)
        self._examined += examined
        self.left_out += broken
        unlabeled = np.full(len(examined), -1)
        source = FileSource(self.root, examined, unlabeled, True, keep_aspect)
        return Split.of_all(source, image_shape)

    def check_readable(self, skip_broken):
        """Raises `ValueError` if files are broken and `skip_broken` is not set, or all are."""
        total = len(self.names) + self._known_broken
        scan.check_readable(self.root, total, self.left_out, skip_broken)

    def summary(self):
        """`Summary` of the files that were read and of all that was left out."""
        return scan.summarize(self._examined, self.left_out)
