"""The CUDA kernels give the results of the core in emulation. `test_build.py` compiles them for GPUs."""

import pathlib
import shutil
import subprocess

import pytest

CC = pathlib.Path(__file__).parents[1] / "tfhash_ops" / "cc"
KERNELS = sorted(CC.glob("cuda/*.cu.cc"))
CORE = CC.parent / "libtfhash_core.so"


def run(*command):
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_kernels_pass_in_emulation(tmp_path):
    if shutil.which("g++") is None:
        pytest.skip("no g++ on this machine")
    if not CORE.exists():
        pytest.skip("no compiled ops")
    command = ["g++", "-std=c++17", "-O1", "-pthread", f"-I{CC}"]
    command += ["-fsanitize=undefined", "-fno-sanitize-recover=all", "-DTFHASH_EMULATE_CUDA"]
    kernels = [path for path in KERNELS if path.name != "handlers.cu.cc"]
    # The installed core is the reference; other tests run it under sanitizers, which compile slowly.
    sources = [*kernels, CC / "cuda" / "emulated_test.cc", CORE, f"-Wl,-rpath,{CORE.parent}"]
    run(*command, *sources, "-o", tmp_path / "test")
    assert run(tmp_path / "test") == "all claims hold\n"
