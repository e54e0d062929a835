"""Codes of an encoding that has not ended, so that an interrupted one continues where it was."""

import contextlib
import fcntl
import json
import pathlib
import zipfile
import zlib

import numpy as np

from tfhash import files

# Of the folder of unfinished codes.
_VERSION = 1


class UnfinishedCodes:
    """Codes of image files in a hidden folder beside the index to be written.

    | file | holds |
    | --- | --- |
    | `about.json` | the model and the folder of the images |
    | `000000.npz`, ... | names, sizes, times and codes of some images |
    | `lock` | locked by the process that encodes |

    Args:
        output: Path of the index to be written.
        model: Fingerprint of the model.
        folder: Absolute path of the folder of the images.
    """

    def __init__(self, output, model, folder):
        output = pathlib.Path(output)
        self.path = output.with_name(f".{output.name}.unfinished")
        self._output = output
        self._about = {"version": _VERSION, "model": model, "folder": folder}
        self._portions = 0

    @contextlib.contextmanager
    def open(self, overwrite=False):
        """Keeps other processes from the folder while the block runs.

        Args:
            overwrite: Whether to remove the codes of another model or folder.

        Raises:
            ValueError: If another process is encoding, or there are codes of another model or
                folder and `overwrite` is not set.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with open(self.path / "lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(
                    f"another process is encoding images for {self._output}. Wait until it has "
                    "finished"
                ) from None
            except OSError:  # a file system without locks
                pass
            # What a killed process was writing.
            files.remove_partial(self.path)
            files.remove_partial(self._output.parent, self._output.name)
            self._begin(overwrite)
            try:
                yield self
            finally:
                if not self._paths():
                    self.remove()

    def read(self):
        """What was encoded: a dictionary from a name to `(stamp, code)`; see `add`.

        Portions that are damaged are left out.
        """
        found: dict[str, tuple[tuple[int, int], np.ndarray]] = {}
        paths = self._paths()
        for path in paths:
            try:
                with np.load(path, allow_pickle=False) as arrays:
                    names, stamps, codes = (arrays[name] for name in ("names", "stamps", "codes"))
            except (zipfile.BadZipFile, zlib.error, OSError, EOFError, KeyError, ValueError):
                continue
            stamps = map(tuple, stamps.tolist())
            found.update(zip(names.tolist(), zip(stamps, codes)))
        self._portions = int(paths[-1].stem) + 1 if paths else 0
        return found

    def add(self, names, stamps, codes):
        """Writes a portion, whole or not at all.

        Args:
            names: Names of the images.
            stamps: Size and time of change of each file, when it was encoded.
            codes: Packed codes, `uint8 [n, ceil(bits / 8)]`.
        """
        with files.atomic_write(self.path / f"{self._portions:06d}.npz") as temporary:
            stamps = np.array(stamps, np.int64).reshape(-1, 2)
            np.savez(temporary, names=np.array(names, str), stamps=stamps, codes=codes)
        self._portions += 1

    def how_to_continue(self):
        """What continues the encoding after an interruption, in words; "" if nothing was encoded."""
        return "the same command continues it" if self._paths() else ""

    def remove(self):
        """Removes the folder and what is in it."""
        for path in self._paths():
            path.unlink(missing_ok=True)
        # Last: while it is there, portions belong to its model and folder.
        (self.path / "about.json").unlink(missing_ok=True)
        (self.path / "lock").unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it holds what others put there
            self.path.rmdir()

    def _paths(self):
        return sorted(path for path in self.path.glob("*.npz") if path.stem.isdecimal())

    def _begin(self, overwrite):
        about = self.path / "about.json"
        before = _read_json(about)
        if before != self._about and self._paths():
            if not overwrite:
                what = next(
                    (name for name in ("model", "folder") if before.get(name) != self._about[name]),
                    "version",
                )
                raise ValueError(
                    f"{self.path} holds codes of an interrupted run with another {what}. Pass "
                    "`overwrite` to remove them, or finish that run by its command"
                )
            for path in self._paths():
                path.unlink()
        if before != self._about:
            files.write_json(about, self._about)


def _read_json(path):
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
