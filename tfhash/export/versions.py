"""Where a version of an exported model is written. Imports neither Keras nor TensorFlow."""

import pathlib
import re

from tfhash.files import check_directory


def new_version(path, version=None):
    """The directory of a version to be written.

    Args:
        path: Directory of the model; it need not exist.
        version: Integer >= 1; by default one more than the highest there.

    Returns:
        `pathlib.Path` of `path/version`, which does not exist.

    Raises:
        ValueError: If the version is no integer >= 1.
        FileExistsError: If it exists.
        NotADirectoryError: If `path` is a file, or in one.

    Example:

    >>> new_version("served/none").name
    '1'
    """
    path = pathlib.Path(path)
    check_directory(path)
    if version is None:
        numbers = [int(d.name) for d in path.glob("*") if re.fullmatch("[0-9]+", d.name)]
        version = 1 + max(numbers, default=0)
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ValueError(f"`version` must be an integer >= 1. Received: version={version!r}")
    target = path / str(version)
    if target.exists():
        raise FileExistsError(f"version {version} exists in {path}. Pass another `version`")
    return target
