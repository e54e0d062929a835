"""Files of packed codes, as `tfhash encode` writes them. Reading imports neither Keras nor TensorFlow."""

import dataclasses
import os
import pathlib
import zipfile
import zlib

import numpy as np

from tfhash import codes as code_layout
from tfhash import files
from tfhash.index import shards


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where codes come from.

    Attributes:
        model: Fingerprint of the model, see `tfhash.models.fingerprint`; "" if not known.
        model_path: Absolute path of its run or `.keras` file; "" if not known.
        folder: Absolute path of the folder that names begin in; "" if there is none.
    """

    model: str = ""
    model_path: str = ""
    folder: str = ""


@dataclasses.dataclass(frozen=True)
class CodeFile:
    """What a file of codes holds.

    Attributes:
        codes: Packed codes, `uint8 [n, ceil(bits / 8)]`.
        names: A name for each.
        bits: Length of the codes; `None` where the file does not say.
        origin: `Origin`.
        ids: Their ids, `int64 [n]`; `None` where they have none yet.
    """

    codes: np.ndarray
    names: list[str]
    bits: int | None
    origin: Origin
    ids: np.ndarray | None = None


def origin_of(model, path, dataset):
    """`Origin` of the codes of a model.

    Args:
        model: `tfhash.models.HashingModel`.
        path: Its run or `.keras` file.
        dataset: Folder of the images, or the name of a dataset.
    """
    from tfhash.models import fingerprint

    folder = os.path.realpath(dataset) if os.path.isdir(dataset) else ""
    return Origin(fingerprint(model), os.path.abspath(path), folder)


def write_codes(path, codes, names, bits, origin, **more):
    """Writes codes as an .npz file, whole or not at all.

    Its arrays are `codes`, `names`, `bits`, the fields of `origin`, and `more`, such as labels.
    """
    with files.atomic_write(path) as temporary:
        np.savez_compressed(
            temporary,
            codes=codes,
            names=np.array(names, str),
            bits=bits,
            **dataclasses.asdict(origin),
            **more,
        )


def read_codes(path):
    """Reads packed codes: an .npz file of `write_codes`, a directory of shards, or an .npy file.

    Args:
        path: File, or directory; an .npz file needs `codes` alone, and an .npy file is a bare array.
            Items without names are called 0, 1, ...

    Returns:
        `CodeFile`.

    Raises:
        ValueError: If the file is damaged or holds something else.
        FileNotFoundError: If there is no such file.
    """
    if pathlib.Path(path).is_dir():
        return _read_shards(path)
    arrays = _read(path)
    if "codes" not in arrays:
        found = ", ".join(arrays) or "nothing"
        raise ValueError(f"{path} must hold an array `codes`. Received: {found}")
    codes = arrays["codes"]
    codes = codes[None] if codes.ndim == 1 else codes
    if codes.ndim != 2 or codes.dtype != np.uint8:
        raise ValueError(
            f"the codes in {path} must be packed, uint8 [n, ceil(bits / 8)]. Received: "
            f"{codes.dtype} of shape {list(codes.shape)}"
        )
    bits = code_layout.check_bits(arrays["bits"].item()) if "bits" in arrays else None
    if bits is not None:
        codes = code_layout.as_packed(codes, bits)
    names = arrays.get("names", np.arange(len(codes))).tolist()
    if len(names) != len(codes):
        raise ValueError(
            f"{path} must hold one name for each code. Received: {len(names)} names and "
            f"{len(codes)} codes"
        )
    fields = [field.name for field in dataclasses.fields(Origin)]
    origin = Origin(**{name: str(arrays[name]) for name in fields if name in arrays})
    return CodeFile(codes, [str(name) for name in names], bits, origin)


def _read_shards(path):
    manifest = shards.read_manifest(path)
    empty = shards.CodeBlock(
        np.empty(0, np.int64), np.empty((0, code_layout.packed_length(manifest.bits)), np.uint8), []
    )
    found = shards.together([empty, *shards.blocks(path)])
    origin = Origin(manifest.model, manifest.model_path, manifest.folder)
    return CodeFile(found.codes, found.names, manifest.bits, origin, found.ids)


def _read(path):
    """Dictionary of the arrays in a file."""
    if not pathlib.Path(path).is_file():
        raise FileNotFoundError(
            "`codes` must be an .npz file or a directory that `tfhash encode` wrote, or an .npy "
            f"file. There is no {path}"
        )
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"codes": loaded}
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError) as error:
        raise ValueError(
            f"{path} is damaged, or neither an .npz nor an .npy file of numbers: {error}"
        ) from error
