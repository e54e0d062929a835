"""The C++ test of the core passes: under sanitizers, and for CPUs other than this one."""

import pathlib
import shutil
import subprocess

import pytest

CC = pathlib.Path(__file__).parents[1] / "tfhash_ops" / "cc"
CORE = [
    *("buckets", "distance", "histogram", "kernel_choice", "parallel", "top_k", "within"),
    *("kernel_avx2", "kernel_avx512", "kernel_neon", "kernel_scalar", "hamming_test"),
]
# With these the test is compiled for instructions this CPU may lack.
SIMDE = pathlib.Path("/usr/include/simde/x86/avx512.h")
ARM = "aarch64-linux-gnu-g++"


def build(compiler, target, *flags):
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} on this machine")
    sources = [CC / f"{name}.cc" for name in CORE]
    command = [compiler, "-std=c++17", "-pthread", *flags, *sources, "-o", target]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return target


def check(*command):
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.endswith("all claims hold\n")
    return result.stdout


def test_every_kernel_of_this_cpu_holds_its_claims_under_address_and_undefined_sanitizers(tmp_path):
    flags = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    assert "kernel scalar\n" in check(build("g++", tmp_path / "test", *flags))


def test_concurrent_searches_hold_their_claims_under_the_thread_sanitizer(tmp_path):
    flags = ["-O1", "-g", "-fsanitize=thread"]
    check(build("g++", tmp_path / "test", *flags), "threads")


def test_the_avx512_kernel_holds_its_claims_in_emulation(tmp_path):
    if not SIMDE.exists():
        pytest.skip(f"no {SIMDE} on this machine (Debian: libsimde-dev)")
    (tmp_path / "immintrin.h").write_text(
        f'#define SIMDE_ENABLE_NATIVE_ALIASES\n#include "{SIMDE}"\n'
    )
    flags = ["-O1", "-w", "-DTFHASH_EMULATED", f"-I{tmp_path}"]
    assert "kernel avx512\n" in check(build("g++", tmp_path / "test", *flags))


def test_the_neon_kernel_holds_its_claims_in_emulation(tmp_path):
    if shutil.which("qemu-aarch64") is None:
        pytest.skip("no qemu-aarch64 on this machine (Debian: qemu-user)")
    test = build(ARM, tmp_path / "test", "-O2", "-static")
    assert "kernel neon\n" in check("qemu-aarch64", test)


def test_the_core_compiles_without_warnings(tmp_path):
    flags = ["-O0", "-Wall", "-Wextra", "-Werror", "-Wno-psabi", "-fsyntax-only"]
    build("g++", tmp_path / "test", *flags)
