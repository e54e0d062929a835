"""Bazel builds the same libraries as setup.py, without a network."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]

EXAMPLE = """
import ctypes, pathlib, sys
import tensorflow as tf

folder = pathlib.Path(sys.argv[1])
core = ctypes.CDLL(str(folder / "libtfhash_core.so"))
core.TfhashTensorflowVersion.restype = ctypes.c_char_p
assert core.TfhashTensorflowVersion().decode() == tf.__version__

ops = tf.load_op_library(str(folder / "libtfhash_ops.so"))
queries, database = tf.constant([[0], [7]], tf.uint8), tf.constant([[1], [0], [3]], tf.uint8)
print(ops.tfhash_hamming_distance(queries, database).numpy().tolist())
compiled = tf.function(ops.tfhash_hamming_distance, jit_compile=True)
print(compiled(queries, database).numpy().tolist())
"""


@pytest.fixture(scope="module")
def bazel(tmp_path_factory):
    """Runs Bazel with this Python's TensorFlow; returns the output folder of tfhash_ops."""
    if shutil.which("bazel") is None:
        pytest.skip("no bazel on this machine (Debian: bazel-bootstrap)")
    folder = tmp_path_factory.mktemp("bazel")

    def run(command, target):
        result = subprocess.run(
            [
                # --batch: no server keeps running.
                *("bazel", "--batch", f"--output_user_root={folder}", command, target),
                f"--symlink_prefix={folder}/",
            ],
            cwd=ROOT,
            env=os.environ | {"TFHASH_PYTHON": sys.executable},
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return folder / "bin" / "tfhash_ops"

    return run


def test_bazel_builds_the_core_and_its_test_passes(bazel):
    folder = bazel("test", "//:tests")
    log = folder.parents[1] / "testlogs" / "tfhash_ops" / "hamming_test" / "test.log"
    assert log.read_text().endswith("all claims hold\n")


def test_ops_built_by_bazel_run_in_the_installed_tensorflow(bazel):
    folder = bazel("build", "//:libtfhash_ops.so")
    result = subprocess.run([sys.executable, "-c", EXAMPLE, folder], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "[[1, 0, 2], [2, 3, 1]]\n" * 2
