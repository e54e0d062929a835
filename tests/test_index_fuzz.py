"""Damaged files are refused, and crafted ones do no harm, whatever is wrong with them.

TFHASH_FUZZ_CASES=100000 tries more of each kind.
"""

import os
import re
import zlib

import numpy as np
import pytest
from index_cases import make_codes, parts_of, sealed

from tfhash.index import HammingIndex, IndexFileError

CASES = int(os.environ.get("TFHASH_FUZZ_CASES", "300"))


def save_index(rng, path, kind):
    """An index with names and an array of the user's: flat, or of every array that a file can have."""
    # Long codes, of which the fewest make tables.
    bits, count = (64, 2_000) if kind == "flat" else (1020, 600)
    index = HammingIndex(bits, model="m")
    codes = make_codes(rng, count, bits)
    index.add(codes, ids=rng.permutation(2 * count)[:count])
    index.add(codes[:50], names=[f"{i}.png" for i in range(50)])
    index.attached = {"sizes": np.arange(len(index))}
    index.save(path)
    return path.read_bytes()


@pytest.fixture(params=["flat", "tables"])
def content(request, rng, tmp_path):
    made = save_index(rng, tmp_path / "whole", request.param)
    names = {name.rstrip("0123456789") for name in parts_of(made)[0]}
    expected = {"ids", "codes", "name_ids", "name_offsets", "name_text", "attached:sizes"}
    if request.param == "tables":
        expected |= {"ranks", "repeats", "repeats_before", "extras", "directory_", "table_"}
    assert names == {"__metadata__", *expected}
    return made


def damage(content, rng):
    """One of the ways in which files go bad."""
    content = bytearray(content)
    at, kind = int(rng.integers(len(content))), rng.integers(6)
    if kind == 0:
        return content[:at]
    if kind == 1:
        content[at] ^= 1 << rng.integers(8)
    elif kind == 2:  # in the header
        content[at % 900] ^= 1 << rng.integers(8)
    elif kind == 3:
        end = at + int(rng.integers(1, 5000))
        content[at:end] = bytes(len(content[at:end]))
        content += b"\0"  # zeros in place of zeros are no damage
    elif kind == 4:
        del content[at : at + int(rng.integers(1, 100))]
    else:
        content[at:at] = rng.bytes(int(rng.integers(1, 100)))
    return content


def test_damaged_files_are_all_refused(content, rng, tmp_path):
    path = tmp_path / "index"
    for i in range(CASES):
        path.write_bytes(damage(content, rng))
        with pytest.raises(IndexFileError):
            HammingIndex.load(path, mmap=i % 2 == 0)


NUMBERS = [0, 1, -1, 2, 3, 5, 7, 24, 64, 100, 2**31, 2**32, 2**59, 2**60, 2**63, 2**64, 10**30]
ODD_VALUES = [*NUMBERS, "", "x", "-", None, 1.5, True, [], {}, "\ud800", "9" * 5_000, "1_0", " 7"]
DTYPES = ["U8", "U32", "I64", "U64", "F32", "", None, 3, []]


def pick(rng, values):
    return values[rng.integers(len(values))]


def craft_header(header, rng):
    """Changes a header in one of the ways that its checksum would find."""
    metadata, names = header["__metadata__"], [name for name in header if name != "__metadata__"]
    name, kind = pick(rng, names), rng.integers(11)
    entry = header[name]
    if kind <= 2:
        key = pick(rng, ["bits", "count", "next_id", "pieces", "key_bits", "compact", "version"])
        near = str(int(metadata[key]) + rng.integers(-9, 10))
        metadata[key] = pick(rng, [near, near, str(pick(rng, NUMBERS)), pick(rng, ODD_VALUES)])
    elif kind == 3:
        del metadata[pick(rng, [key for key in metadata if key != "header_crc32"])]
    elif kind == 4:
        entry["dtype"] = pick(rng, DTYPES)
    elif kind == 5:
        shapes = [[0] * 100, [1] * 40, [0, 2**59, 2**59], [], entry["shape"][::-1], "abc", 3, None]
        entry["shape"] = pick(rng, [*shapes, [1, *entry["shape"]], [pick(rng, ODD_VALUES)]])
    elif kind == 6:
        at = rng.integers(len(entry["shape"]))
        entry["shape"][at] = pick(rng, [*ODD_VALUES, entry["shape"][at] + 1])
    elif kind == 7:
        entry["data_offsets"][rng.integers(2)] = pick(rng, ODD_VALUES)
    elif kind == 8:
        header[pick(rng, [*names, "codes", "x", "repeats", "attached:"])] = header.pop(name)
    elif kind == 9:
        header[name] = pick(rng, [*ODD_VALUES, header[pick(rng, names)]])
    else:  # an empty array in front, without moving the others
        header = {
            "__metadata__": metadata,
            pick(rng, ["ids", "extras", "name_text", "attached:x"]): {
                "dtype": pick(rng, DTYPES[:4]),
                "shape": pick(rng, [[0], [0] * 100, [0, 2**59, 2**59]]),
                "data_offsets": [0, 0],
            },
            **header,
        }
    return header


def craft_arrays(header, arrays, which, rng):
    """Changes one array after the other, and its checksum with it."""
    arrays = bytearray(arrays)
    names = [name for name in header if name != "__metadata__"]
    name = names[which % len(names)]
    begin, end = header[name]["data_offsets"]
    for _ in range(pick(rng, [1, 1, 30])):
        at = int(rng.integers(begin, end))
        arrays[at : min(at + 4, end)] = pick(
            rng, [b"\0" * 4, b"\xff" * 4, b"\xff" * 3 + b"\x7f", rng.bytes(4)]
        )[: min(at + 4, end) - at]
    header["__metadata__"][f"crc32:{name}"] = f"{zlib.crc32(arrays[begin:end]):08x}"
    return bytes(arrays)


def use(index, path):
    """Calls everything that reads an index. Returns how many calls found damage."""
    queries = np.zeros((3, -(-index.bits // 8)), "uint8")
    calls = [
        lambda: index.search(queries, 5),
        lambda: index.search(queries[:1], 10**6),
        lambda: index.within(queries, index.bits // 3),
        lambda: index.names_of(index.ids),
        lambda: index.items(),
        lambda: index.verify(),
        lambda: index.remove(index.ids[: len(index) // 3]),
        lambda: index.add(queries, names=["x", "y", "z"]),
        lambda: index.save(path),
        lambda: HammingIndex.load(path).verify(),
    ]
    refused = 0
    for call in calls:
        try:
            call()
        except IndexFileError:
            refused += 1
        except ValueError as error:
            # Of ids that do not ascend, some are not found; and the largest one may be in use.
            if not re.search(r"must be in the index|must be new to|does not fit in 64", str(error)):
                raise
    return refused


@pytest.mark.parametrize("crafted", ["header", "arrays"])
def test_files_with_valid_checksums_that_contradict_themselves_do_no_harm(
    content, rng, tmp_path, crafted
):
    path, saved = tmp_path / "index", tmp_path / "saved"
    opened = refused = 0
    for i in range(CASES // 2 if crafted == "header" else CASES // 8):
        header, arrays = parts_of(content)
        if crafted == "header":
            header = craft_header(header, rng)
        else:
            arrays = craft_arrays(header, arrays, i, rng)
        path.write_bytes(sealed(header, arrays))
        try:
            index = HammingIndex.load(path, mmap=i % 2 == 0)
        except IndexFileError:
            refused += 1
        else:
            opened += 1
            refused += use(index, saved) > 0
    assert refused > 0
    assert opened > 0
