"""The one walk through a folder, for training and encoding alike."""

import dataclasses
import os
import stat

from tfhash.data.formats import why_left_out
from tfhash.data.summary import LeftOut


@dataclasses.dataclass(frozen=True)
class Walk:
    """What is in a folder, at any depth.

    Attributes:
        files: Names of image files, by their extension, in the order of their paths.
        folders: Names of the folders that were read.
        left_out: Everything else.
    """

    files: list[str]
    folders: list[str]
    left_out: list[LeftOut]


def check_folder(path, name):
    """Raises `FileNotFoundError` unless the setting `name` is the path of an existing folder."""
    if not os.path.isdir(path):
        raise FileNotFoundError(f"`{name}` must be an existing folder. Received: {path}")


def walk(root):
    """Finds the images in a folder.

    Links to files and folders are followed at any depth, so a picture that two paths lead to is
    found under both names. A link to a folder that contains it is left out: it would never end.
    Hidden entries are left out. What cannot be read is broken: dangling links, folders that are not
    open to the reader.

    Args:
        root: Path of the folder.

    Returns:
        `Walk`; names are paths below `root`, with `/`.
    """
    found = Walk([], [], [])
    root = os.path.abspath(root)
    _visit(root, "", _ancestors(root), found)
    found.files.sort(key=lambda name: name.split("/"))
    found.folders.sort(key=lambda name: name.split("/"))
    return found


def _visit(path, prefix, ancestors, found):
    try:
        with os.scandir(path) as entries:
            names = sorted(entry.name for entry in entries)
    except OSError as error:
        found.left_out.append(LeftOut(prefix or "./", error.strerror or str(error), True))
        return
    for name in names:
        inside, below = os.path.join(path, name), prefix + name
        if name.startswith("."):
            found.left_out.append(LeftOut(below, "hidden"))
            continue
        try:
            status = os.stat(inside)
        except OSError as error:
            reason = error.strerror or str(error)
            if os.path.islink(inside):
                reason = f"a link to {os.readlink(inside)} ({reason})"
            found.left_out.append(LeftOut(below, reason, True))
            continue
        identity = (status.st_dev, status.st_ino)
        if stat.S_ISDIR(status.st_mode):
            if identity in ancestors:
                found.left_out.append(LeftOut(below + "/", "a link to a folder that contains it"))
                continue
            found.folders.append(below)
            _visit(inside, below + "/", ancestors | {identity}, found)
        elif not stat.S_ISREG(status.st_mode):
            found.left_out.append(LeftOut(below, "neither a file nor a folder"))
        elif reason := why_left_out(name):
            found.left_out.append(LeftOut(below, reason))
        else:
            found.files.append(below)


def _ancestors(root):
    """Identities of the folder and all that contain it."""
    real = os.path.realpath(root)
    identities = set()
    while True:
        status = os.stat(real)
        identities.add((status.st_dev, status.st_ino))
        if real == os.path.dirname(real):
            return frozenset(identities)
        real = os.path.dirname(real)
