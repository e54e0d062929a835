"""Codes to search in benchmarks: random ones, and ones that lie around others as learned codes do."""

import numpy as np

from tfhash import codes as code_layout


def random(rng, count, bits):
    """Packed codes, every bit 0 or 1 with equal probability."""
    codes = rng.integers(0, 256, (count, code_layout.packed_length(bits)), "uint8")
    return clear_padding(codes, bits)


def around(rng, centers, count, bits, share=0.05):
    """Packed codes, each a center drawn at random of which every bit is flipped with probability `share`."""
    codes = np.empty((count, centers.shape[1]), "uint8")
    for first in range(0, count, 1_000_000):
        part = codes[first : first + 1_000_000]
        flips = rng.random((len(part), 8 * codes.shape[1]), "float32") < share
        part[:] = centers[rng.integers(0, len(centers), len(part))] ^ np.packbits(flips, axis=1)
    return clear_padding(codes, bits)


def read(path, bits):
    """Packed codes of a file, `.npy` or `.npz` with `codes`.

    Raises:
        ValueError: If no file is named or its codes are not of so many bits.
    """
    if path is None:
        raise ValueError("learned codes need --codes=FILE, such as the database.npz of a run")
    codes = np.load(path)
    codes = codes if isinstance(codes, np.ndarray) else codes["codes"]
    if codes.dtype != np.uint8 or codes.shape[1:] != (code_layout.packed_length(bits),):
        raise ValueError(
            f"{path} must hold codes of {bits} bits. Received: {codes.dtype} {list(codes.shape)}"
        )
    return codes


def clear_padding(codes, bits):
    """Sets the padding bits of packed codes to 0, in place."""
    if bits % 8:
        codes[:, -1] &= (1 << bits % 8) - 1
    return codes
