"""Files of named arrays in the safetensors layout, which can be mapped into memory.

A file is the length of its header (8 bytes, little-endian), the header in JSON, and the arrays one after
the other. The header names type, shape and position of every array, and strings of metadata under
`__metadata__`. Nothing in it is executed. Any reader of safetensors reads these files; this one reads
arrays without copying them, and trusts nothing in the header.
"""

import json
import math
import mmap
import struct

import numpy as np

_DTYPES = {"U8": np.uint8, "U32": np.uint32, "I64": np.int64, "U64": np.uint64}
NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}

# A header of ours has a few thousand bytes.
_MAX_HEADER = 1 << 20
# Arrays of 8-byte numbers begin at multiples of 8; pages and cache lines suit searches better.
_ALIGNMENT = 64


class LayoutError(Exception):
    """A file does not have the layout; `args[0]` says why."""


class TruncatedError(LayoutError):
    """A file is shorter than its header says."""


def header_of(arrays, metadata):
    """The bytes before the arrays.

    Args:
        arrays: Dictionary from name to array; those with wider elements must come first, so that
            each is aligned.
        metadata: Dictionary of strings.
    """
    entries, position = {"__metadata__": metadata}, 0
    for name, array in arrays.items():
        assert position % array.itemsize == 0, name
        end = position + array.nbytes
        entries[name] = {
            "dtype": NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [position, end],
        }
        position = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % _ALIGNMENT)
    return struct.pack("<Q", len(text)) + text


def write(path, header, arrays):
    """Writes a file."""
    with open(path, "wb") as file:
        file.write(header)
        for array in arrays.values():
            file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def read(path, mapped):
    """Reads a file, or maps it.

    Args:
        path: The file.
        mapped: Whether arrays stay in the file and are read when used.

    Returns:
        The header's bytes, the metadata, and a dictionary from name to array, not writable.

    Raises:
        LayoutError: If the file does not have the layout.
        OSError: If it cannot be read.
    """
    content: mmap.mmap | bytes
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        start = file.read(8)
        if len(start) < 8:
            raise TruncatedError(f"it has {len(start)} bytes, less than the shortest header")
        length = struct.unpack("<Q", start)[0]
        if not 2 <= length <= _MAX_HEADER:
            raise LayoutError("it does not begin with the length of a header")
        text = file.read(length)
        if len(text) < length:
            raise TruncatedError(f"its header has {length} bytes, of which {len(text)} are there")
        metadata, entries = _parse(text)
        if mapped:
            # Empty arrays may make a file end with its header.
            content = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
        else:
            file.seek(0)
            content = file.read()
            size = len(content)
    begin, position = 8 + length, 0
    arrays = {}
    for name, entry in entries.items():
        dtype, shape, (first, end) = _check_entry(name, entry)
        nbytes = np.dtype(dtype).itemsize * math.prod(shape)
        is_aligned = (begin + first) % np.dtype(dtype).itemsize == 0
        if first != position or end - first != nbytes or not is_aligned:
            raise LayoutError(f"the position of {name} does not fit its shape")
        position = end
        if begin + end > size:
            raise TruncatedError(f"it has {size} bytes, and {name} would end at byte {begin + end}")
        arrays[name] = np.frombuffer(content, dtype, math.prod(shape), begin + first).reshape(shape)
        arrays[name].flags.writeable = False
    if begin + position != size:
        raise LayoutError(f"it has {size} bytes in place of {begin + position}")
    return start + text, metadata, arrays


def _parse(text):
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError):
        raise LayoutError("its header is not JSON") from None
    if not isinstance(entries, dict):
        raise LayoutError("its header is not an object of JSON")
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise LayoutError("its metadata are not strings")
    return metadata, entries


def _check_entry(name, entry):
    try:
        dtype, shape, offsets = _DTYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
        numbers = [*shape, *offsets]
        is_valid = len(offsets) == 2 and all(type(n) is int and 0 <= n < 2**60 for n in numbers)
    except (KeyError, TypeError):
        is_valid = False
    if not is_valid:
        raise LayoutError(f"its header does not describe {name}")
    return dtype, tuple(shape), offsets
