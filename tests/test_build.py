"""The package installs from source and from wheels, with and without compiled ops."""

import ast
import importlib.metadata
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import venv

import pytest
import tensorflow as tf
from commands import QUICK, SHORT

ROOT = pathlib.Path(__file__).parents[1]

EXAMPLE = """
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import tfhash_ops
    distances, indices = tfhash_ops.hamming_top_k([[0], [7]], [[1], [0], [3]], k=2)
    tfhash_ops.hamming_distance([[0]], [[1]])
print(tfhash_ops.__file__)
print(tfhash_ops.is_compiled(), distances.numpy().tolist(), indices.numpy().tolist())
print([str(w.message) for w in caught if "tfhash" in str(w.message)])
"""


HAS_NVCC = shutil.which("nvcc") is not None


def copy_source(folder):
    """A copy of the sources without build products, except objects: they compile for minutes."""
    left_out = shutil.ignore_patterns(
        ".*", "build", "dist", "runs", "*.so", "*.egg-info", "__pycache__"
    )
    source = shutil.copytree(ROOT, folder / "source", ignore=left_out)
    copy_objects(source)
    return source


def copy_objects(source):
    if (ROOT / "build" / "objects").exists():
        shutil.copytree(ROOT / "build" / "objects", source / "build" / "objects")


def unpacked_sdist(folder):
    """The sources as an sdist holds them."""
    command = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", folder]
    made = subprocess.run([*command, copy_source(folder)], capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    (sdist,) = folder.glob("*.tar.gz")
    shutil.unpack_archive(sdist, folder, filter="data")
    source = folder / sdist.name.removesuffix(".tar.gz")
    copy_objects(source)
    return source


@pytest.fixture
def source(tmp_path):
    return copy_source(tmp_path)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of an sdist, with everything that can be compiled here, as a build takes minutes.

    The CUDA kernels must compile without warnings.
    """
    source = unpacked_sdist(tmp_path_factory.mktemp("wheel"))
    nvcc = {"TFHASH_BUILD_CUDA": "1", "NVCC": "nvcc -Werror all-warnings"} if HAS_NVCC else {}
    result, wheel = make_wheel(source, **nvcc)
    assert result.returncode == 0, result.stderr
    return wheel


def pip(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "pip", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )


def make_wheel(source, **environment):
    folder = source.parent / "wheels"
    options = "--no-build-isolation", "--no-deps", "--wheel-dir", str(folder)
    result = pip("wheel", *options, str(source), **environment)
    return result, next(folder.glob("*.whl"), None)


class Environment:
    """A fresh environment in a folder, with a wheel and the dependencies that are installed here."""

    def __init__(self, folder, wheel):
        venv.create(folder, symlinks=True)
        self.folder = folder
        (self.packages,) = folder.glob("lib/python*/site-packages")
        installed = pip("--python", str(folder), "install", "--no-deps", str(wheel))
        assert installed.returncode == 0, installed.stderr
        # Adds the folder alone, and not what the .pth files in it add: tfhash as it is installed here.
        (self.packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))

    def run(self, command, *arguments):
        return subprocess.run(
            [self.folder / "bin" / command, *arguments],
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            cwd=self.folder,
            capture_output=True,
            text=True,
        )

    def run_example(self):
        """What the example prints."""
        result = self.run("python", "-c", EXAMPLE)
        assert result.returncode == 0, result.stderr
        path, values, warned = result.stdout.splitlines()
        assert pathlib.Path(path).is_relative_to(self.packages)
        return values, warned


@pytest.fixture(scope="module")
def with_wheel(wheel, tmp_path_factory):
    return Environment(tmp_path_factory.mktemp("environment"), wheel)


def test_a_wheel_holds_compiled_ops_and_requires_the_tensorflow_they_were_compiled_against(
    with_wheel,
):
    values, warned = with_wheel.run_example()
    assert values == "True [[0, 1], [1, 2]] [[1, 0], [2, 0]]"
    assert warned == "[]"
    assert not list(with_wheel.packages.rglob("*.cc"))
    # So that type checkers read the annotations of both packages.
    for package in ("tfhash", "tfhash_ops"):
        assert (with_wheel.packages / package / "py.typed").exists()
    (installed,) = importlib.metadata.distributions(name="tfhash", path=[str(with_wheel.packages)])
    assert f"tensorflow=={tf.__version__}" in installed.requires


def test_the_commands_of_a_wheel_train_and_search(with_wheel):
    trained = with_wheel.run("tfhash", "train", *QUICK, *SHORT, "--output_dir=run")
    assert trained.returncode == 0, trained.stderr
    codes = "--codes=run/database.npz"
    indexed = with_wheel.run("tfhash", "index", codes, "--output=digits.index")
    assert indexed.returncode == 0, indexed.stderr
    found = with_wheel.run(
        "tfhash", "search", codes, "--index=digits.index", "-k=1", "--format=csv"
    )
    assert found.returncode == 0, found.stderr
    header, *rows = found.stdout.splitlines()
    assert header == "query,rank,distance,name,id"
    assert len(rows) > 1000
    assert {row.split(",")[2] for row in rows} == {"0"}


NEEDED_TO_BUILD = """
import sys, sysconfig
sys.path.remove(sysconfig.get_path("purelib"))  # as pip does
sys.path.append(sys.argv[1])
from setuptools import build_meta
print([line for line in build_meta.get_requires_for_build_wheel() if "tensorflow" in line])
"""


@pytest.mark.parametrize(
    ("installed", "place", "needed"),
    [
        ("2.18.1", "environment", "tensorflow==2.18.1"),
        ("2.17.0", "environment", "tensorflow>=2.18,<2.22"),
        ("2.20.0+own", "environment", "tensorflow>=2.18,<2.22"),  # which no index has
        (None, "environment", "tensorflow>=2.18,<2.22"),
        ("2.19.0", "user, seen", "tensorflow==2.19.0"),
        ("2.19.0", "user, not seen", "tensorflow>=2.18,<2.22"),
    ],
)
def test_pip_builds_with_the_tensorflow_that_is_there(source, tmp_path, installed, place, needed):
    venv.create(tmp_path / "target", symlinks=True, system_site_packages=place == "user, seen")
    (packages,) = tmp_path.glob("target/lib/python*/site-packages")
    if place != "environment":
        packages = tmp_path / packages.relative_to(tmp_path / "target")
        packages.mkdir(parents=True)
    if installed:
        (packages / f"tensorflow-{installed}.dist-info").mkdir()
        (packages / f"tensorflow-{installed}.dist-info" / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: tensorflow\nVersion: {installed}\n"
        )
    tools = tmp_path / "tools"
    tools.mkdir()
    for package in ("setuptools", "_distutils_hack"):
        (tools / package).symlink_to(pathlib.Path(sysconfig.get_path("purelib"), package))
    asked = subprocess.run(
        [tmp_path / "target" / "bin" / "python", "-c", NEEDED_TO_BUILD, tools],
        cwd=source,
        env={
            **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            "PYTHONUSERBASE": str(tmp_path),
            "PYTHONNOUSERSITE": "1",  # as pip does
        },
        capture_output=True,
        text=True,
    )
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.splitlines()[-1] == f"['{needed}']"


def test_without_compiled_ops_the_reference_replaces_them_with_one_warning(source, tmp_path):
    result, wheel = make_wheel(source, TFHASH_BUILD_OPS="0", CXX="no-such-compiler")
    assert result.returncode == 0, result.stderr
    values, warned = Environment(tmp_path / "elsewhere", wheel).run_example()
    assert values == "False [[0, 1], [1, 2]] [[1, 0], [2, 0]]"
    assert warned.count("TFHASH_BUILD_OPS=0") == 1


def test_without_a_compiler_the_build_says_what_to_do(source):
    result, wheel = make_wheel(source, CXX="no-such-compiler")
    assert result.returncode != 0
    assert wheel is None
    message = result.stdout + result.stderr
    assert "C++17 compiler" in message
    assert "no-such-compiler" in message
    assert "TFHASH_BUILD_OPS=0" in message


def test_a_build_for_jax_compiles_nothing_that_needs_tensorflow(source, tmp_path):
    pytest.importorskip("jax")
    # Left over from an earlier build with other settings.
    built = source / "build" / f"lib.{sysconfig.get_platform()}-{sys.implementation.cache_tag}"
    (built / "tfhash_ops").mkdir(parents=True)
    (built / "tfhash_ops" / "libtfhash_cuda.so").touch()
    result, wheel = make_wheel(source, TFHASH_BUILD_OPS="jax")
    assert result.returncode == 0, result.stderr
    search = (
        "import sys, numpy as np, tfhash_ops.jax as hamming\n"
        "codes = np.array([[1], [0], [3]], 'uint8')\n"
        "print(hamming.hamming_top_k(codes[1:2], codes, k=2)[1].tolist())\n"
        "assert 'tensorflow' not in sys.modules\n"
        "import tfhash_ops\n"
        "tfhash_ops.hamming_top_k(codes, codes, k=2)"
    )
    environment = Environment(tmp_path / "elsewhere", wheel)
    ran = environment.run("python", "-c", search)
    assert [path.name for path in environment.packages.rglob("*.so")] == ["libtfhash_core.so"]
    assert ran.stdout == "[[1, 0]]\n"
    assert "compiled for JAX only" in ran.stderr


COMPILER = """#!/bin/sh
# Writes down what is compiled, and makes an object of nothing.
while [ $# -gt 0 ]; do
    case $1 in
        -c) echo "$2" >> compiled.txt;;
        -o) echo > "$2";;
        --version) cat "$0";;
    esac
    shift
done
"""


def test_a_build_compiles_what_changed_since_the_last_one(source):
    pytest.importorskip("jax")
    shutil.rmtree(source / "build", ignore_errors=True)
    compiler = source / "compiler"
    compiled = source / "compiled.txt"

    def sources_compiled(**environment):
        compiled.write_text("")
        build = subprocess.run(
            [sys.executable, "setup.py", "build_ext"],
            cwd=source,
            env=os.environ | {"TFHASH_BUILD_OPS": "jax", "CXX": str(compiler)} | environment,
            capture_output=True,
            text=True,
        )
        assert build.returncode == 0, build.stderr
        return set(compiled.read_text().split())

    def append_to(path, comment="// changed"):
        path.write_text(f"{path.read_text()}{comment}\n")

    compiler.write_text(COMPILER)
    compiler.chmod(0o755)
    everything = sources_compiled()
    core = source / "tfhash_ops" / "cc" / "core"
    assert {f"tfhash_ops/cc/core/{path.name}" for path in core.glob("[!t]*[!t].cc")} <= everything
    assert sources_compiled() == set()
    append_to(core / "checks.cc")
    assert sources_compiled() == {"tfhash_ops/cc/core/checks.cc"}
    append_to(core / "scan.h")
    assert sources_compiled() == everything
    append_to(compiler, "# a new version")
    assert sources_compiled() == everything
    assert sources_compiled(CXX=f"{compiler} -g") == everything
    assert sources_compiled() == set()


@pytest.mark.skipif(not HAS_NVCC, reason="no nvcc on this machine")
def test_tensorflow_xla_calls_the_cuda_kernels_on_gpus(with_wheel):
    lowered = (
        "import tensorflow as tf, tfhash_ops\n"
        "@tf.function(jit_compile=True)\n"
        "def search(codes, labels):\n"
        "    return (\n"
        "        tfhash_ops.hamming_top_k(codes, codes, k=2),\n"
        "        tfhash_ops.hamming_within(codes, codes, radius=1),\n"
        "        tfhash_ops.hamming_histogram(codes, codes, labels, labels, bits=8),\n"
        "    )\n"
        "inputs = tf.TensorSpec((3, 1), tf.uint8), tf.TensorSpec(3, tf.int64)\n"
        "text_of = search.experimental_get_compiler_ir(*inputs)\n"
        "print(text_of(stage='hlo', platform_name='GPU'))"
    )
    ran = with_wheel.run("python", "-c", lowered)
    assert ran.returncode == 0, ran.stderr
    called = re.findall(r'custom_call_target="(\w+)"', ran.stdout)
    assert sorted(called) == ["TfhashHammingHistogram", "TfhashHammingTopK", "TfhashHammingWithin"]


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"TFHASH_BUILD_OPS": "yes"}, "must be one of 0, 1, jax. Received: yes"),
        ({"TFHASH_BUILD_CUDA": "yes"}, "must be one of 0, 1. Received: yes"),
        ({"TFHASH_BUILD_CUDA": "1", "TFHASH_BUILD_OPS": "0"}, "needs compiled ops"),
        ({"TFHASH_BUILD_CUDA": "1", "NVCC": "no-such-compiler"}, "Tried: no-such-compiler"),
    ],
)
def test_invalid_build_settings_are_refused(source, environment, message):
    result, wheel = make_wheel(source, **environment)
    assert result.returncode != 0
    assert wheel is None
    assert message in result.stdout + result.stderr


# Names under which packages are imported, where they differ from those of their distributions.
DISTRIBUTIONS = {
    "absl": "absl-py",
    "apache_beam": "apache-beam",
    "faiss": "faiss-cpu",
    "google": "protobuf",
    "grpc": "grpcio",
    "PIL": "pillow",
    "pillow_heif": "pillow-heif",
    "sklearn": "scikit-learn",
    "tensorflow_datasets": "tensorflow-datasets",
    "tensorflow_serving": "tensorflow-serving-api",
}


def test_every_imported_package_is_declared():
    imported = set()
    for path in [*ROOT.glob("tfhash/**/*.py"), *ROOT.glob("tfhash_ops/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                imported.add(node.module.split(".")[0])
    imported -= {*sys.stdlib_module_names, "tfhash", "tfhash_ops"}
    declared = "".join((ROOT / file).read_text() for file in ("setup.py", "pyproject.toml"))
    declared = set(re.findall(r'"([\w-]+)', declared))
    assert {DISTRIBUTIONS.get(name, name) for name in imported} <= declared
