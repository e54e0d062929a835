"""The CUDA kernels give the results of the core in emulation. `test_build.py` compiles them for GPUs."""

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
