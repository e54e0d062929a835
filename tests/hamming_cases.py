"""What the tests of the ops for TensorFlow share."""

import os
import subprocess
import sys

import numpy as np
import pytest

import tfhash_ops

compiled = pytest.mark.skipif(
    not tfhash_ops.is_compiled(), reason="tfhash was installed with TFHASH_BUILD_OPS=0"
)

xla = pytest.mark.skipif(
    not tfhash_ops.has_xla(),
    reason="the ops were compiled without XLA (TFHASH_BUILD_OPS=0, or TensorFlow 2.19 or older)",
)


def make_codes(rng, count, length, layout="random"):
    if layout == "equal":
        return np.full((count, length), 0xA5, "uint8")
    codes = rng.integers(0, 256, (count, length), "uint8")
    return np.where(codes < 200, 0, codes).astype("uint8") if layout == "tied" else codes


def assert_equal(left, right):
    left, right = (list(x) if isinstance(x, tuple) else [x] for x in (left, right))
    assert len(left) == len(right)
    for a, b in zip(left, right):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def run_python(code, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
