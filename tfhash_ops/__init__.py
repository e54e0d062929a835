"""Hamming distance and exact search on packed codes, compiled for TensorFlow, XLA and JAX.

The functions for TensorFlow are here; those for JAX, which need no TensorFlow, are in
`tfhash_ops.jax`. `reference` has the same functions in stock TensorFlow operations: it is what
the compiled ones are tested against, and what serves where they were not built.

A packed code is a row of `ceil(bits / 8)` bytes, `uint8`; bit j of the code is bit j % 8 of byte
j // 8, and padding bits are zero.
"""

import importlib

_FUNCTIONS = {
    "hamming_distance",
    "hamming_histogram",
    "hamming_top_k",
    "hamming_within",
    "DistanceHistograms",
    "Neighbors",
    "TopK",
}
_LIBRARY = {"cpu_kernel", "is_compiled", "supported_cpu_kernels", "warn_if_not_compiled"}

__all__ = sorted(_FUNCTIONS | _LIBRARY)


def __getattr__(name):
    # Later, not now: `tfhash_ops.jax` must not import TensorFlow.
    if name in _FUNCTIONS:
        return getattr(importlib.import_module("tfhash_ops.hamming"), name)
    if name in _LIBRARY:
        return getattr(importlib.import_module("tfhash_ops.library"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return __all__
