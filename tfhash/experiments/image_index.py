"""An index of images in its file: codes and names, and where the images and their model are.

Imports neither Keras nor TensorFlow.
"""

import dataclasses
import json
import pathlib

import numpy as np

from tfhash.experiments.code_files import Origin
from tfhash.index import DamagedFileError, HammingIndex

# What is kept beside the codes, as `HammingIndex.attached`.
_ORIGIN, _SIZES, _TIMES = "origin", "file_sizes", "file_times"


@dataclasses.dataclass
class ImageIndex:
    """An index of images.

    Attributes:
        index: `tfhash.index.HammingIndex`, with the names of the images and the fingerprint of
            their model.
        origin: `tfhash.experiments.code_files.Origin`.
        stamps: Dictionary from the id of each image to the size of its file in bytes and the time of
            its last change in nanoseconds, when it was encoded; `None` where codes were given in
            place of images.

    Example:

        index = tfhash.experiments.ImageIndex.load("photos.index")
        len(index.index), index.origin.folder
        index.names_of([0, 1])
    """

    index: HammingIndex
    origin: Origin
    stamps: dict[int, tuple[int, int]] | None = None

    def stamps_in_order(self):
        """Sizes and times of change of `stamps`, `int64 [n, 2]`, in the order of `index.ids`, or `None`.

        Of an index of millions of images, much smaller than `stamps`, which need not be loaded.

        Raises:
            tfhash.index.DamagedFileError: If they do not fit the images.
        """
        if self.stamps is not None:
            in_order = [self.stamps[item] for item in self.index.ids.tolist()]
            return np.array(in_order, np.int64).reshape(-1, 2)
        return _stamps_in_order(self.index, "the index")

    def find_folder(self, folder=None):
        """The folder of the images.

        Args:
            folder: Where it is now; by default where it was when the index was made.

        Raises:
            ValueError: If it is not known.
            FileNotFoundError: If it does not exist.
        """
        folder = folder or self.origin.folder
        if not folder:
            raise ValueError(
                "the index was made of codes and does not say where its images are. Give `images`, "
                "their folder"
            )
        if not pathlib.Path(folder).is_dir():
            raise FileNotFoundError(
                f"there is no folder {folder} with the indexed images. Give `images`, where it is now"
            )
        return folder

    def save(self, path):
        """Writes the index, whole or not at all."""
        origin = json.dumps(dataclasses.asdict(self.origin)).encode()
        attached: dict[str, np.ndarray] = {_ORIGIN: np.frombuffer(origin, np.uint8)}
        if self.stamps is not None:
            stamps = self.stamps_in_order()
            attached |= {_SIZES: stamps[:, 0], _TIMES: stamps[:, 1]}
        self.index.attached = attached
        self.index.save(path)

    @classmethod
    def load(cls, path, with_stamps=False):
        """Opens an index, made by `tfhash index` or by `HammingIndex.save`.

        Args:
            path: The file.
            with_stamps: Whether to read the whole file, check it, and make `stamps`.

        Returns:
            `ImageIndex`.

        Raises:
            FileNotFoundError: If there is no such file.
            tfhash.index.IndexFileError: If it is not an index, or damaged.
        """
        if not pathlib.Path(path).is_file():
            raise FileNotFoundError(
                f"there is no index {path}. `tfhash index` makes one of a folder of images"
            )
        index = HammingIndex.load(path)
        made = cls(index, _origin_of(index, path))
        if with_stamps:
            index.verify()
            made.stamps = _stamps_of(index, path)
        return made

    def names_of(self, ids):
        """The name of each id; the id itself where it has none."""
        names = self.index.names_of(ids)
        return [str(item) if name is None else name for name, item in zip(names, ids)]


def index_codes(found, output, overwrite=False):
    """Writes an index of codes that were made before.

    Args:
        found: `tfhash.experiments.code_files.CodeFile`.
        output: Path of the index.
        overwrite: Replace `output` if it exists.

    Returns:
        The `HammingIndex`.

    Raises:
        ValueError: If the length of the codes is not known, or `output` exists.
    """
    check_output(output, False, overwrite)
    if found.bits is None:
        raise ValueError(
            "codes to be indexed must come with their number of bits, as in the .npz files of "
            "`tfhash encode`"
        )
    index = HammingIndex(found.bits, model=found.origin.model)
    index.add(found.codes, found.ids, found.names)
    ImageIndex(index, found.origin).save(output)
    return index


def check_output(output, update, overwrite):
    """Raises `ValueError` if an index cannot be written at a path."""
    path = pathlib.Path(output)
    if path.is_dir():
        raise ValueError(f"`output` must be a file. Received: the folder {path}")
    if update and overwrite:
        raise ValueError("`update` and `overwrite` exclude each other")
    if path.exists() and not (update or overwrite):
        raise ValueError(
            f"`output` {path} exists. Pass `update` to take in what has changed, or `overwrite` to "
            "encode all images again"
        )


def _origin_of(index, path):
    if _ORIGIN not in index.attached:
        return Origin(model=index.model)
    try:
        values = json.loads(index.attached[_ORIGIN].tobytes())
        origin = Origin(**{name: str(value) for name, value in values.items()})
    except (ValueError, TypeError, AttributeError):
        raise _damaged(path, "it does not say where its images are") from None
    return dataclasses.replace(origin, model=index.model)


def _stamps_of(index, path):
    stamps = _stamps_in_order(index, path)
    if stamps is None:
        return None
    return dict(zip(index.ids.tolist(), map(tuple, stamps.tolist())))


def _stamps_in_order(index, path):
    if _SIZES not in index.attached:
        return None
    sizes, times = (index.attached.get(name, np.empty(0)) for name in (_SIZES, _TIMES))
    if sizes.shape != times.shape or sizes.shape != (len(index),):
        raise _damaged(path, "the sizes and times of its files do not fit its images")
    return np.stack([sizes, times], axis=1)


def _damaged(path, problem):
    return DamagedFileError(f"{path} is damaged: {problem}. Restore or build it again")
