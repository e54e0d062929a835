"""The compiled library: threads, CPU kernels, versions, and when it is loaded."""

import itertools
import threading

import numpy as np
import pytest
import tensorflow as tf
from hamming_cases import compiled, make_codes, run_python, xla

import tfhash_ops


@compiled
def test_concurrent_python_threads_get_the_same_results(rng):
    queries, database = make_codes(rng, 100, 8), make_codes(rng, 40000, 8)
    labels = np.arange(100) % 3, np.arange(40000) % 3
    calls = [
        lambda: tfhash_ops.hamming_top_k(queries, database, 5),
        lambda: tfhash_ops.hamming_within(queries, database, 20),
        lambda: tfhash_ops.hamming_histogram(queries, database, *labels, bits=64),
    ]
    expected = [[x.numpy() for x in call()] for call in calls]
    equal = []

    def search():
        for call, values in zip(calls, expected):
            equal.append(all(np.array_equal(a, b) for a, b in zip(call(), values)))

    threads = [threading.Thread(target=search) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert equal == [True] * 48


DIGEST = """
import hashlib, sys
import numpy as np, tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[1]))
import tfhash_ops
digest = hashlib.sha256()
rng = np.random.default_rng(5)
for length, queries, items in ((2, 100, 30000), (3, 300, 2000), (8, 5, 40000), (12, 70, 1000)):
    codes = rng.integers(0, 256, (queries + items, length), "uint8") & 0x3F
    labels = rng.integers(0, 9, queries + items)
    sides = codes[:queries], codes[queries:]
    results = (
        tfhash_ops.hamming_distance(*sides),
        *tfhash_ops.hamming_top_k(*sides, 20),
        *tfhash_ops.hamming_within(*sides, length),
        *tfhash_ops.hamming_histogram(*sides, labels[:queries], labels[queries:], 8 * length),
    )
    for result in results:
        digest.update(result.numpy().tobytes())
print(tfhash_ops.cpu_kernel(), digest.hexdigest())
"""


@compiled
def test_results_do_not_depend_on_the_kernel_or_the_number_of_threads():
    kernels = tfhash_ops.supported_cpu_kernels()
    # Each kernel at least once, and the default one on two numbers of threads.
    runs = [("7", ""), *zip(itertools.cycle("127"), kernels)]
    digests = {}
    for threads, kernel in runs:
        result = run_python(DIGEST, threads, TFHASH_CPU_KERNEL=kernel)
        assert result.returncode == 0, result.stderr
        used, digests[threads, kernel] = result.stdout.split()
        assert used == (kernel or kernels[0])
    assert len(set(digests.values())) == 1, digests


@compiled
def test_an_unsupported_cpu_kernel_is_refused_by_name():
    result = run_python(
        "import tfhash_ops; tfhash_ops.hamming_distance([[1]], [[2]])", TFHASH_CPU_KERNEL="mmx"
    )
    assert result.returncode == 1
    assert "TFHASH_CPU_KERNEL must name a kernel that this CPU can run" in result.stderr
    assert "scalar" in result.stderr
    assert "Received: mmx" in result.stderr


@compiled
def test_the_ops_are_compiled_for_xla_where_tensorflow_brings_its_headers():
    version = tuple(map(int, tf.__version__.split(".")[:2]))
    assert tfhash_ops.has_xla() == (version >= (2, 20))


@xla
def test_xla_compiles_the_ops_even_if_tensorflow_ran_before_they_were_loaded():
    code = """
import sys, tensorflow as tf
if sys.argv[1] == "before":
    tf.constant(1) + 1
import tfhash_ops
call = tf.function(lambda q: tfhash_ops.hamming_within(q, q, 0).indices, jit_compile=True)
print(call(tf.constant([[1], [2]], tf.uint8)).numpy().tolist())
"""
    for order in ("before", "after"):
        result = run_python(code, order)
        assert result.stdout.split("\n")[0] == "[0, 1]", result.stderr


@compiled
def test_a_library_compiled_for_another_tensorflow_is_refused():
    code = "import tensorflow as tf; tf.__version__ = '2.99.1'; import tfhash_ops as t; t.hamming_top_k"
    result = run_python(code)
    assert result.returncode == 1
    assert "ImportError" in result.stderr
    assert "2.99.1" in result.stderr
    assert tf.__version__ in result.stderr


def test_the_package_can_be_imported_without_importing_tensorflow():
    code = "import sys, tfhash_ops; print(tfhash_ops.is_compiled(), 'tensorflow' in sys.modules)"
    assert run_python(code).stdout.split()[1] == "False"
    with pytest.raises(AttributeError, match="hamming_weight"):
        _ = tfhash_ops.hamming_weight
