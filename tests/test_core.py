"""The C++ tests of the core and of the index pass under sanitizers, those of the core in emulation of other CPUs."""

import concurrent.futures
import os
import pathlib
import shutil
import subprocess

import pytest

CC = pathlib.Path(__file__).parents[1] / "tfhash_ops" / "cc"
CORE, INDEX = CC / "core", CC / "index"
# The slowest to compile first.
SOURCES = sorted(CORE.glob("*.cc"), key=lambda path: not path.match("kernel_*"))
INDEX_SOURCES = sorted(INDEX.glob("*.cc"))
# For instruction sets that this CPU may lack.
SIMDE = pathlib.Path("/usr/include/simde/x86/avx512.h")
ARM = "aarch64-linux-gnu-g++"
CPU = pathlib.Path("/proc/cpuinfo")
# Kernels that this CPU does not run, and that take half a minute to compile with sanitizers.
NOT_RUN = () if CPU.exists() and "avx512_vpopcntdq" in CPU.read_text() else ("kernel_avx512.cc",)


def build(compiler, target, *flags, with_index=False):
    """Builds the test of the core; with the index, the test of that, too, at `<target>_index`."""
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} on this machine")
    command = [compiler, "-std=c++17", "-pthread", f"-I{CC}", *flags]
    sources = [*SOURCES, *INDEX_SOURCES] if with_index else SOURCES
    objects = {source: target.with_name(f"{source.stem}.o") for source in sources}

    def compile_source(source):
        without = ["-fno-sanitize=all"] if source.name in NOT_RUN else []
        run(*command, *without, "-c", source, "-o", objects[source])

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(compile_source, sources))
    run(*command, *(objects[source] for source in SOURCES), "-o", target)
    if with_index:
        tested = [source for source in SOURCES if not source.stem.endswith("_test")]
        linked = [objects[source] for source in (*tested, *INDEX_SOURCES)]
        run(*command, *linked, "-o", target.with_name(f"{target.name}_index"))
    return target


def run(*command):
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def check(*command):
    output = run(*command)
    assert output.endswith("all claims hold\n")
    return output


def test_every_kernel_of_this_cpu_passes_under_address_and_undefined_behavior_sanitizers(tmp_path):
    flags = ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    # Checks as calls: inlined, they make GCC take minutes for the unrolled kernels.
    flags += ["--param", "asan-instrumentation-with-call-threshold=0"]
    test = build("g++", tmp_path / "test", *flags, with_index=True)
    assert "kernel scalar\n" in check(test)
    check(f"{test}_index")


def test_concurrent_searches_pass_under_the_thread_sanitizer(tmp_path):
    flags = ["-O1", "-fsanitize=thread"]
    test = build("g++", tmp_path / "test", *flags, with_index=True)
    check(test, "threads")
    check(f"{test}_index", "threads")


def test_the_avx512_kernel_passes_in_emulation(tmp_path):
    if not SIMDE.exists():
        pytest.skip(f"no {SIMDE} on this machine (Debian: libsimde-dev)")
    (tmp_path / "immintrin.h").write_text(
        f'#define SIMDE_ENABLE_NATIVE_ALIASES\n#include "{SIMDE}"\n'
    )
    flags = ["-O1", "-w", "-DTFHASH_EMULATED", f"-I{tmp_path}"]
    assert "kernel avx512\n" in check(build("g++", tmp_path / "test", *flags))


def test_the_neon_kernel_passes_in_emulation(tmp_path):
    if shutil.which("qemu-aarch64") is None:
        pytest.skip("no qemu-aarch64 on this machine (Debian: qemu-user)")
    test = build(ARM, tmp_path / "test", "-O2", "-static")
    assert "kernel neon\n" in check("qemu-aarch64", test)


def test_the_core_compiles_without_warnings(tmp_path):
    flags = ["-O0", "-Wall", "-Wextra", "-Werror", "-Wno-psabi", "-fsyntax-only"]
    if shutil.which("g++") is None:
        pytest.skip("no g++ on this machine")
    run("g++", "-std=c++17", f"-I{CC}", *flags, *SOURCES, *INDEX_SOURCES)
