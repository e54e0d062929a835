"""The file that an index was loaded from."""

import contextlib

from tfhash.index import storage
from tfhash_ops.index import DamagedError


class LoadedFile:
    """A file, as long as the index reads from it.

    Args:
        path: The file.
        mapped: Whether arrays stay in the file and are read when used.
        model: The only model whose codes will do; `None` for any.

    Attributes:
        path: The file.
        model: What made its codes.
        arrays: Dictionary from name to array.
        metadata: Dictionary of strings.

    Raises:
        IndexFileError, DamagedFileError, OSError: As `storage.read`.
        OtherModelError: If its codes come from another model.
    """

    def __init__(self, path, mapped, model):
        self.path = path
        self.arrays, self.metadata = storage.read(path, mapped)
        self.model = self.metadata.get("model", "")
        if model not in (None, self.model):
            raise storage.OtherModelError(
                f"the codes of {path} come from the model {self.model!r}. Expected: {model!r}. "
                "Encode the images with the model of the index, or load it with model=None"
            )
        self._is_checked = not mapped or storage.is_small(self.arrays)

    def open_into(self, core):
        """Gives the items of the file to an empty index, which reads them when searched."""
        next_id = int(self.metadata["next_id"])
        if int(self.metadata["count"]):
            layout = int(self.metadata["pieces"]), int(self.metadata["key_bits"])
            core.open(self.arrays, *layout, next_id)
        elif next_id:
            core.skip_ids(next_id)

    def check(self):
        """Raises `DamagedFileError` unless the arrays that are read have their checksums."""
        storage.check(self.path, self.arrays, self.metadata)
        self._is_checked = True

    def let_go(self):
        """Drops the arrays of codes, which the index does not read any more.

        Arrays that were never compared with their checksums stay: `check` is still to tell whether
        what was made of them is right. They are in a mapped file, so they take no memory of their
        own.
        """
        if self._is_checked:
            self.arrays = {
                name: array
                for name, array in self.arrays.items()
                if name.startswith((storage.ATTACHED, storage.NAMES))
            }


@contextlib.contextmanager
def explained(path):
    """Says what to do about a damaged index, in a `with` statement.

    Args:
        path: The file, or what else to call the index.

    Raises:
        DamagedFileError: If the block raises `DamagedError`.
    """
    try:
        yield
    except DamagedError as error:
        raise storage.DamagedFileError(
            f"{path} is damaged: {error}. Restore or build it again"
        ) from None
