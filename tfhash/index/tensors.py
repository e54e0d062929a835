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
MAX_HEADER = 1 << 20
# Which every NumPy has.
MAX_DIMENSIONS = 32
# Of numbers in a header, and of the bytes that a shape spans without its zeros. NumPy has 2**63.
_LIMIT = 2**60
# Arrays of 8-byte numbers begin at multiples of 8; pages and cache lines suit searches better.
_ALIGNMENT = 64


class LayoutError(Exception):
    """A file does not have the layout; `args[0]` says why."""


class TruncatedError(LayoutError):
    """A file is shorter than its header says."""


class HeaderTooLongError(Exception):
    """A header is too long to be read again; `args[0]` is its length in bytes."""


def header_of(arrays, metadata):
    """The bytes before the arrays.

    Args:
        arrays: Dictionary from name to array; those with wider elements must come first, so that
            each is aligned.
        metadata: Dictionary of strings.

    Raises:
        HeaderTooLongError: If `read` would refuse the length of the header; `args[0]` is that.
        LayoutError: If `read` would refuse a shape.
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
    if len(text) > MAX_HEADER:
        raise HeaderTooLongError(len(text))
    _places(_parse(text)[1], 8 + len(text))
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
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        start = file.read(8)
        if len(start) < 8:
            raise TruncatedError(f"it has {len(start)} bytes, less than the shortest header")
        length = struct.unpack("<Q", start)[0]
        if not 2 <= length <= MAX_HEADER:
            raise LayoutError("it does not begin with the length of a header")
        text = file.read(length)
        if len(text) < length:
            raise TruncatedError(f"its header has {length} bytes, of which {len(text)} are there")
        metadata, entries = _parse(text)
        places, expected_size = _places(entries, 8 + length)
        for name, (_, _, begin, nbytes) in places.items():
            _check_end(name, begin + nbytes, size)
        if expected_size != size:
            raise LayoutError(f"it has {size} bytes in place of {expected_size}")
        if mapped:
            try:
                # All of the file: that is not empty even if all arrays are.
                content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError:  # it became empty
                raise TruncatedError("it was cut off while it was read") from None
        arrays = {}
        for name, (dtype, shape, begin, nbytes) in places.items():
            if mapped:
                _check_end(name, begin + nbytes, len(content))
                array = np.frombuffer(content, dtype, nbytes // dtype.itemsize, begin)
            else:
                # Each by itself, so that it can be dropped by itself.
                data = file.read(nbytes)
                _check_end(name, begin + nbytes, begin + len(data))
                array = np.frombuffer(data, dtype, nbytes // dtype.itemsize)
            array = arrays[name] = array.reshape(shape)
            array.flags.writeable = False
    return start + text, metadata, arrays


def _check_end(name, end, size):
    if end > size:
        raise TruncatedError(f"it has {size} bytes, and {name} would end at byte {end}")


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


def _places(entries, begin):
    """Type, shape, first byte and number of bytes of every array, and the size of the file.

    Args:
        entries: What the header says of each array, by name.
        begin: Size of the header.
    """
    places, position = {}, begin
    for name, entry in entries.items():
        dtype, shape, (first, end) = _check_entry(name, entry)
        nbytes = dtype.itemsize * math.prod(shape)
        is_aligned = position % dtype.itemsize == 0
        if begin + first != position or end - first != nbytes or not is_aligned:
            raise LayoutError(f"the position of {name} does not fit its shape")
        places[name] = dtype, shape, position, nbytes
        position += nbytes
    return places, position


def _check_entry(name, entry):
    try:
        dtype = np.dtype(_DTYPES[entry["dtype"]])
        shape, offsets = entry["shape"], entry["data_offsets"]
        is_valid = len(shape) <= MAX_DIMENSIONS and len(offsets) == 2
        is_valid = is_valid and all(type(n) is int and 0 <= n < _LIMIT for n in [*shape, *offsets])
        # Zeros aside, because NumPy leaves them aside when it asks whether a shape is too large.
        is_valid = is_valid and dtype.itemsize * math.prod(n or 1 for n in shape) < _LIMIT
    except (KeyError, TypeError):
        is_valid = False
    if not is_valid:
        raise LayoutError(f"its header does not describe {name}")
    return dtype, tuple(shape), offsets
