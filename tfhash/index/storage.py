"""Files of indexes: what they hold, and which are refused."""

import re
import zlib

import numpy as np

from tfhash import files
from tfhash.codes import packed_length
from tfhash.index import tensors
from tfhash_ops.index import MAX_KEY_BITS, MAX_PIECES

FORMAT = "tfhash.index"
VERSION = 1

# Files up to this size are checked whole when they are loaded.
_CHECKED_BYTES = 1 << 24
_NO_CHECKSUM = b'"header_crc32":"00000000"'
_CHECKSUM = re.compile(rb'"header_crc32":"([0-9a-f]{8})"')
_BLOCK = 1 << 24

# Before the names of arrays that a user attached, and of those that hold the names of items.
ATTACHED = "attached:"
NAMES = "name_"

_TYPES = {
    "ids": np.int64,
    "name_ids": np.int64,
    "name_offsets": np.int64,
    "repeats": np.uint64,
    "ranks": np.uint32,
    "repeats_before": np.uint32,
    "extras": np.uint32,
}


class IndexFileError(ValueError):
    """A file is not an index that can be read; the message says why. See `HammingIndex.load`."""


class DamagedFileError(IndexFileError):
    """A file is an index that has been cut off or changed. See `HammingIndex.load`."""


class OtherModelError(ValueError):
    """The codes of an index come from another model. See `HammingIndex.load`."""


def write(path, arrays, settings, attached):
    """Writes an index, the whole file or none.

    Args:
        path: The file.
        arrays: Dictionary from name to array.
        settings: Dictionary of integers and strings.
        attached: Dictionary of the user's own arrays.

    Raises:
        ValueError: If `read` would refuse the file: an attached array is of another type or shape,
            or the header would be too long. Nothing was written.
    """
    attached = {name: np.asarray(array) for name, array in attached.items()}
    for name, array in attached.items():
        if array.dtype not in tensors.NAMES:
            raise ValueError(
                f"`attached` arrays must be {', '.join(map(str, tensors.NAMES))}. Received: "
                f"{array.dtype} for {name!r}"
            )
    arrays = arrays | {ATTACHED + name: array for name, array in attached.items()}
    arrays = dict(sorted(arrays.items(), key=lambda item: -item[1].itemsize))
    metadata = {"format": FORMAT, "version": str(VERSION)}
    metadata.update((name, str(value)) for name, value in settings.items())
    metadata.update((f"crc32:{name}", f"{crc32(array):08x}") for name, array in arrays.items())
    metadata["header_crc32"] = "00000000"
    try:
        header = tensors.header_of(arrays, metadata)
    except tensors.HeaderTooLongError as error:
        raise ValueError(
            f"the header of an index file must have at most {tensors.MAX_HEADER:,} bytes. Received: "
            f"{error.args[0]:,} bytes for {len(settings['model']):,} characters of `model` and "
            f"{len(attached):,} arrays in `attached`. Shorten `model`, or attach fewer arrays"
        ) from None
    except tensors.LayoutError as error:
        raise ValueError(
            f"`attached` arrays must have at most {tensors.MAX_DIMENSIONS} dimensions, each smaller "
            f"than 2**60. The file could not be read again: {error}"
        ) from None
    checksum = b'"header_crc32":"%08x"' % zlib.crc32(header)
    with files.atomic_write(path) as temporary:
        tensors.write(temporary, header.replace(_NO_CHECKSUM, checksum), arrays)


def read(path, mapped):
    """Reads an index, or maps it; the arrays of large mapped files are checked by `check` alone.

    Returns:
        Arrays and metadata.

    Raises:
        IndexFileError: If it is not an index, or one of a newer version.
        DamagedFileError: If it has been cut off or changed.
        OSError: If it cannot be read.
    """
    try:
        header, metadata, arrays = tensors.read(path, mapped)
    except tensors.TruncatedError as error:
        raise DamagedFileError(f"{path} is cut off: {error}. Restore or build it again") from None
    except tensors.LayoutError as error:
        raise IndexFileError(
            f"{path} is not an index of tfhash, or damaged: {error}. Give a file that "
            "HammingIndex.save wrote"
        ) from None
    if metadata.get("format") != FORMAT:
        raise IndexFileError(
            f"{path} is not an index of tfhash, but another file of tensors. Give a file that "
            "HammingIndex.save wrote"
        )
    version = metadata.get("version", "")
    if re.fullmatch(r"[1-9]\d{0,8}", version) and int(version) > VERSION:
        raise IndexFileError(
            f"{path} has version {version} of the format, and this tfhash reads up to {VERSION}. "
            "Update tfhash, or restore the file if it is damaged"
        )
    found = _CHECKSUM.findall(header)
    expected = f"{zlib.crc32(_CHECKSUM.sub(_NO_CHECKSUM, header)):08x}".encode()
    if version != str(VERSION) or found != [expected]:
        raise _damaged(path, "its header has been changed")
    problem = _problem(arrays, metadata)
    if problem:
        raise _damaged(path, problem)
    if not mapped or is_small(arrays):
        check(path, arrays, metadata)
    return arrays, metadata


def is_small(arrays):
    """Whether arrays are compared with their checksums whenever they are read."""
    return sum(array.nbytes for array in arrays.values()) <= _CHECKED_BYTES


def check(path, arrays, metadata):
    """Raises `DamagedFileError` unless all arrays have their checksums."""
    for name, array in arrays.items():
        if metadata.get(f"crc32:{name}") != f"{crc32(array):08x}":
            raise _damaged(path, f"the checksum of {name} does not match")


def empty(bits):
    """Arrays and layout of an index without items."""
    arrays = {"ids": np.empty(0, np.int64), "codes": np.empty((0, packed_length(bits)), np.uint8)}
    return arrays, {"pieces": 0, "key_bits": 0}


def attached(arrays):
    """The user's own arrays among those of a file, by the names they were attached under."""
    return {
        name.removeprefix(ATTACHED): array
        for name, array in arrays.items()
        if name.startswith(ATTACHED)
    }


def names(arrays):
    """The arrays of names among those of a file, as `Names` takes them; none if there are none."""
    return [arrays[NAMES + part] for part in ("ids", "offsets", "text") if NAMES + part in arrays]


def crc32(array):
    """Checksum of an array's bytes."""
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    checksum = 0
    for first in range(0, len(data), _BLOCK):
        checksum = zlib.crc32(data[first : first + _BLOCK], checksum)
    return checksum


def _damaged(path, problem):
    return DamagedFileError(f"{path} is damaged: {problem}. Restore or build it again")


def _problem(arrays, metadata):
    """What keeps arrays from being an index, whatever their contents; None if nothing does."""
    try:
        bits, count, pieces, key_bits = (
            int(metadata[name]) for name in ("bits", "count", "pieces", "key_bits")
        )
        next_id = int(metadata["next_id"])
    except (KeyError, ValueError):
        return "its metadata are incomplete"
    # -1 once the largest id is in use.
    if not (
        bits >= 1
        and 0 <= pieces <= MAX_PIECES
        and 0 <= key_bits <= MAX_KEY_BITS
        and -1 <= next_id < 2**63
    ):
        return "its metadata are out of range"
    arrays = {name: array for name, array in arrays.items() if not name.startswith(ATTACHED)}
    sizes = {name: array.shape for name, array in arrays.items()}
    # The first dimension: 0 for an array without dimensions, which does not fit.
    first = {name: shape[0] if shape else 0 for name, shape in sizes.items()}
    rows = first.get("codes", 0) if pieces else count
    names = first.get("name_ids", 0)
    length = -(-bits // 8)
    expected = {"ids": (count,), "codes": (rows, length)}
    if names or "name_ids" in sizes:
        expected |= {"name_ids": (names,), "name_offsets": (names + 1,)}
        expected["name_text"] = (first.get("name_text", 0),)
    if pieces:
        expected["ranks"] = (count,)
        expected |= {f"table_{piece}": (rows, length) for piece in range(1, pieces)}
        expected |= {f"directory_{piece}": ((1 << key_bits) + 1,) for piece in range(pieces)}
    if pieces and rows != count:
        words = -(-rows // 64)
        expected |= {"repeats": (words,), "repeats_before": (words,)}
        expected["extras"] = (first.get("extras", 0),)
    if sizes != expected or rows > count:
        return "the shapes of its arrays do not fit together"
    for name, array in arrays.items():
        default = np.uint32 if name.startswith("directory") else np.uint8
        if array.dtype != _TYPES.get(name, default):
            return f"{name} has another type"
    # Ids ascend, so that one page of a mapped file tells the largest.
    if count and 0 <= next_id <= arrays["ids"][-1]:
        return "its next id is not after the largest one"
    return None
