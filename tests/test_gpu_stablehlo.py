"""What TensorFlow lowers the ops to computes the same under JAX's compiler."""

import gpu_stablehlo
import numpy as np
import pytest

import tfhash_ops

pytest.importorskip("jax")
pytestmark = pytest.mark.skipif(
    not tfhash_ops.is_compiled(), reason="tfhash was installed with TFHASH_BUILD_OPS=0"
)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes the programs for codes of 9 bytes, and gives their folder."""
    monkeypatch.setenv("TFHASH_XLA_HANDLERS", "1")  # to be put back afterwards
    monkeypatch.setattr(gpu_stablehlo, "LENGTHS", (9,))

    def to_folder(platform):
        gpu_stablehlo.write(tmp_path, platform, seed=3)
        return tmp_path

    return to_folder


def test_what_is_lowered_for_gpus_equals_the_ops_of_the_cpu(write):
    report = gpu_stablehlo.run(write("GPU"))
    equal = report["equal_results"]
    assert {name: equal[f"{name}-9-plain"] for name in gpu_stablehlo.ops(9)} == {
        "distance": 3,
        "top_k": 3,
        "within": 3,
        "histogram": 3,
    }


def test_handlers_are_called_alike_from_what_tensorflow_lowers_and_by_jax(write):
    report = gpu_stablehlo.run(write("CPU"))
    called = {name for name in report["equal_results"] if name.endswith("-handlers")}
    assert called == {"top_k-9-handlers", "within-9-handlers", "histogram-9-handlers"}


def test_a_single_result_that_differs_is_told(write):
    folder = write("GPU")
    case = folder / "top_k-9-2.npz"
    with np.load(case) as arrays:
        changed = dict(arrays)
    changed["expected_1"][36, 19] += 1
    np.savez(case, **changed)
    with pytest.raises(AssertionError, match="top_k-9-2.npz"):
        gpu_stablehlo.run(folder)


def test_a_folder_without_programs_is_told(tmp_path):
    with pytest.raises(SystemExit, match="holds no programs"):
        gpu_stablehlo.run(tmp_path)
