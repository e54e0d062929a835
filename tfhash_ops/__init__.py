"""Hamming distance and exact search on packed codes, compiled for TensorFlow, XLA and JAX.

The TensorFlow ops are here. The JAX ops are in `tfhash_ops.jax` and need no TensorFlow.
`tfhash_ops.reference` has the same ops in stock TensorFlow: the compiled ones are tested against
it, and it replaces them where they were not compiled.

A packed code is a row of `ceil(bits / 8)` bytes, `uint8`. Bit j of a code is bit j % 8 of byte
j // 8, and padding bits are zero.
"""

import importlib

from tfhash_ops.library import (
    cpu_kernel,
    has_xla,
    is_compiled,
    supported_cpu_kernels,
    warn_if_not_compiled,
)
from tfhash_ops.results import DistanceHistograms, Neighbors, TopK

_FUNCTIONS = ["hamming_distance", "hamming_histogram", "hamming_top_k", "hamming_within"]

__all__ = [
    "DistanceHistograms",
    "Neighbors",
    "TopK",
    "cpu_kernel",
    "hamming_distance",
    "hamming_histogram",
    "hamming_top_k",
    "hamming_within",
    "has_xla",
    "is_compiled",
    "supported_cpu_kernels",
    "warn_if_not_compiled",
]


def __getattr__(name):
    # On first use: `tfhash_ops.jax` must not import TensorFlow.
    if name in _FUNCTIONS:
        return getattr(importlib.import_module("tfhash_ops.hamming"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return __all__
