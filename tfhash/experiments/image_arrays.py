"""Images in an .npz file. Imports neither Keras nor TensorFlow."""

import pathlib
import zipfile
import zlib

import numpy as np


def check_exists(path):
    """Raises `FileNotFoundError` if there is neither a folder nor a file."""
    if not pathlib.Path(path).exists():
        raise FileNotFoundError(f"`images` must be a folder or an .npz file. There is no {path}")


def read_images(path, image_shape):
    """The array `images` of an .npz file, checked against what the model takes.

    Raises:
        ValueError: If the file is damaged, or holds no such images.
        FileNotFoundError: If there is no such file.
    """
    check_exists(path)
    if not zipfile.is_zipfile(path):
        raise ValueError(f"`images` must be a folder or an .npz file. Received: {path}")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = arrays.files
            images = arrays["images"] if "images" in names else None
    except (zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if images is None:
        raise ValueError(f"{path} must hold an array `images`. Received: {', '.join(names)}")
    if images.dtype.kind not in "uif":
        raise ValueError(f"`images` must be numbers. Received: {images.dtype} in {path}")
    shape = images.shape[1:] if images.ndim == 4 else (*images.shape[1:], 1)
    if shape != tuple(image_shape):
        raise ValueError(
            f"`images` must have shape [n, {', '.join(map(str, image_shape))}] for this model. "
            f"Received: {list(images.shape)} in {path}"
        )
    return images.reshape(len(images), *image_shape)
