"""The CUDA kernels compile, and give the results of the core in emulation."""

import pathlib
import shutil
import subprocess

import pytest

CC = pathlib.Path(__file__).parents[1] / "tfhash_ops" / "cc"
KERNELS = sorted(CC.glob("cuda/*.cu.cc"))
CORE = [path for path in sorted(CC.glob("core/*.cc")) if not path.stem.endswith("_test")]


def run(*command):
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_kernels_pass_in_emulation(tmp_path):
    if shutil.which("g++") is None:
        pytest.skip("no g++ on this machine")
    command = ["g++", "-std=c++17", "-O1", "-pthread", f"-I{CC}"]
    # The core is the reference here; other tests run it under sanitizers, which compile slowly.
    objects = [tmp_path / f"{source.stem}.o" for source in CORE]
    for source, compiled in zip(CORE, objects):
        run(*command, "-c", source, "-o", compiled)
    command += ["-fsanitize=undefined", "-fno-sanitize-recover=all", "-DTFHASH_EMULATE_CUDA"]
    kernels = [path for path in KERNELS if path.name != "handlers.cu.cc"]
    sources = [*kernels, CC / "cuda" / "emulated_test.cc", *objects]
    run(*command, *sources, "-o", tmp_path / "test")
    assert run(tmp_path / "test") == "all claims hold\n"


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda path: path.name)
def test_the_kernels_compile_for_gpus_without_warnings(kernel, tmp_path):
    if shutil.which("nvcc") is None:
        pytest.skip("no nvcc on this machine")
    jax = pytest.importorskip("jax")
    gpus = [f"-gencode=arch=compute_{gpu},code=sm_{gpu}" for gpu in (80, 90)]
    flags = ["-std=c++17", "-x", "cu", *gpus, "-Werror", "all-warnings", f"-I{CC}"]
    flags += ["-isystem", jax.ffi.include_dir()]
    run("nvcc", *flags, "-c", kernel, "-o", tmp_path / "kernel.o")
