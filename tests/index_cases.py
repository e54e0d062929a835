"""What the tests of the index share: codes, and a search in plain NumPy."""

import json
import re
import struct
import zlib

import numpy as np

from tfhash import codes as code_layout

ONES = np.array([bin(byte).count("1") for byte in range(256)], np.int32)


def make_codes(rng, count, bits, layout="random"):
    """Packed codes: random, few different ones, all equal, or in clusters of about 200."""
    length = code_layout.packed_length(bits)
    if layout == "equal":
        codes = np.full((count, length), 0xA5, "uint8")
    elif layout == "random":
        codes = rng.integers(0, 256, (count, length), "uint8")
    else:
        centers = rng.integers(0, 256, (count // 200 + 1, length), "uint8")
        codes = centers[rng.integers(0, len(centers), count)]
        if layout == "clustered":
            codes ^= np.packbits(rng.random((count, 8 * length)) < 0.05, axis=1)
    if bits % 8:
        codes[:, -1] &= (1 << bits % 8) - 1
    return codes


def brute_force(queries, codes, ids):
    """For each query, all distances and ids in ascending order of (distance, id)."""
    for query in queries:
        distances = ONES[codes ^ query].sum(axis=1, dtype=np.int32)
        order = np.lexsort((ids, distances))
        yield distances[order], ids[order]


def check_search(index, queries, codes, ids, k, **options):
    """Checks a search against brute force."""
    found = index.search(queries, k, **options)
    shape = len(queries), min(k, len(ids))
    assert found.distances.shape == found.ids.shape == shape
    assert (found.distances.dtype, found.ids.dtype) == (np.int32, np.int64)
    for i, (distances, expected) in enumerate(brute_force(queries, codes, ids)):
        np.testing.assert_array_equal(found.distances[i], distances[:k])
        np.testing.assert_array_equal(found.ids[i], expected[:k])


def check_within(index, queries, codes, ids, radius, **options):
    """Checks a search within a radius against brute force."""
    found = index.within(queries, radius, **options)
    assert found.row_splits[0] == 0
    assert len(found.row_splits) == len(queries) + 1
    for i, (distances, expected) in enumerate(brute_force(queries, codes, ids)):
        row = slice(*found.row_splits[i : i + 2])
        np.testing.assert_array_equal(found.distances[row], distances[distances <= radius])
        np.testing.assert_array_equal(found.ids[row], expected[distances <= radius])


def parts_of(content):
    """The header of a file of an index, as a dictionary, and the bytes of its arrays."""
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def sealed(header, arrays):
    """A file with this header and a valid checksum of it, whatever else it says."""
    header["__metadata__"]["header_crc32"] = "00000000"
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % 64)
    text = struct.pack("<Q", len(text)) + text
    checksum = b'"header_crc32":"%08x"' % zlib.crc32(text)
    return re.sub(rb'"header_crc32":"0{8}"', checksum, text) + arrays
