"""Builds tfhash and compiles its ops against the installed TensorFlow.

A build compiles only what changed: objects stay in build/objects, named by a digest of what they are made of.

TFHASH_BUILD_OPS=0 compiles no ops, TFHASH_BUILD_OPS=jax only those for JAX. TFHASH_BUILD_CUDA=1
adds kernels for NVIDIA GPUs. All other metadata is in pyproject.toml.
"""

import concurrent.futures
import functools
import hashlib
import importlib.metadata
import os
import pathlib
import re
import shlex
import shutil
import site
import subprocess
import sys
import sysconfig

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

CC = pathlib.Path("tfhash_ops/cc")
OBJECTS = pathlib.Path("build/objects")
WITH_CUDA = "TFHASH_WITH_CUDA"

# Compiled ops work with exactly the TensorFlow version they were compiled against.
SUPPORTED_TENSORFLOW = "tensorflow>=2.18,<2.22"

# Headers that the ops need under XLA and that TensorFlow 2.19 and older do not bring, and the sources
# that are left out without them.
XLA_HEADERS = ("xla/hlo/builder/xla_builder.h", "xla/ffi/api/ffi.h")
XLA_SOURCES = {
    "ffi": ["ffi/handlers.cc"],
    "tf": ["tf/ffi_registration.cc", "tf/hlo.cc", "tf/xla_lowerings.cc"],
}
REQUIREMENTS = [
    # tfhash.keras_private uses private names, tested with 3.12 (the last one for Python 3.10) and 3.15.
    "keras>=3.12,<3.16",
    "numpy",
    "absl-py",
    "tensorflow-datasets>=4.9.9",
    "importlib_resources",  # tensorflow-datasets 4.9.10 imports it and does not declare it
    "matplotlib>=3.8",
    "protobuf",
    "pillow>=11.3",  # the first version that reads AVIF
    "requests",
    "rich",
    "urllib3>=2",  # the first version whose retries have jitter
]

# Folders of sources that include no headers of TensorFlow, JAX or XLA.
WITHOUT_FRAMEWORK = ("core", "index", "join")

# GPU architectures to compile for. Newer GPUs compile the PTX of the last one.
CUDA_ARCHITECTURES = ("80", "90")


def ops_to_build():
    """What to compile the ops against: "tensorflow", "jax", or None."""
    wanted = os.environ.get("TFHASH_BUILD_OPS") or "1"
    known = {"0": None, "1": "tensorflow", "jax": "jax"}
    if wanted not in known:
        raise SystemExit(f"TFHASH_BUILD_OPS must be one of {', '.join(known)}. Received: {wanted}")
    return known[wanted]


def builds_cuda():
    wanted = os.environ.get("TFHASH_BUILD_CUDA") or "0"
    if wanted not in ("0", "1"):
        raise SystemExit(f"TFHASH_BUILD_CUDA must be one of 0, 1. Received: {wanted}")
    is_wanted = wanted == "1"
    if is_wanted and not builds_xla():
        raise SystemExit(
            "TFHASH_BUILD_CUDA=1 needs headers of XLA, which the installed TensorFlow "
            f"{tensorflow_version()} lacks. Install TensorFlow 2.20 or newer."
        )
    if is_wanted and ops_to_build() is None:
        raise SystemExit("TFHASH_BUILD_CUDA=1 needs compiled ops: unset TFHASH_BUILD_OPS=0.")
    return is_wanted


def tensorflow_version():
    """Version of the installed TensorFlow, or None."""
    try:
        return importlib.metadata.version("tensorflow")
    except importlib.metadata.PackageNotFoundError:
        return None


def tensorflow_to_compile_against():
    """What pip installs to build with: the TensorFlow that is there already, where it is supported.

    pip builds by the Python that it installs for, but takes that Python's packages off the path.
    """
    oldest, first_unsupported = minor_versions(SUPPORTED_TENSORFLOW)
    there = importlib.metadata.distributions(name="tensorflow", path=folders_of_packages())
    for version in (distribution.version for distribution in there):
        is_local = "+" in version  # which no index has
        if oldest <= minor_versions(version)[0] < first_unsupported and not is_local:
            return f"tensorflow=={version}"
    return SUPPORTED_TENSORFLOW


def folders_of_packages():
    """Where the packages of this Python are, in the order of its path."""
    kinds = ("purelib", "platlib")
    folders = [sysconfig.get_path(kind) for kind in kinds]
    configuration = pathlib.Path(sys.prefix, "pyvenv.cfg")
    sees_all = "include-system-site-packages = true"
    if not configuration.exists() or sees_all in configuration.read_text().lower():
        base = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix}
        folders.append(site.getusersitepackages())
        folders += [sysconfig.get_path(kind, vars=base) for kind in kinds]
    return list(dict.fromkeys(folders))


def minor_versions(text):
    """The pair of numbers of each version in a text."""
    return [(int(major), int(minor)) for major, minor in re.findall(r"(\d+)\.(\d+)", text)]


def find_compiler():
    """Command of the C++ compiler: CXX, or the first one found of c++, g++ and clang++."""
    wanted = os.environ.get("CXX")
    candidates = [wanted] if wanted else ["c++", "g++", "clang++"]
    for candidate in candidates:
        command = shlex.split(candidate)
        if shutil.which(command[0]):
            return command
    raise SystemExit(
        "tfhash needs a C++17 compiler to compile its ops, but found none. Tried: "
        f"{', '.join(candidates)}. Install one (Debian: apt install g++), set CXX, or set "
        "TFHASH_BUILD_OPS=0 to install tfhash without compiled ops."
    )


def find_nvcc():
    """Command of the CUDA compiler: NVCC, or nvcc."""
    wanted = shlex.split(os.environ.get("NVCC") or "nvcc")
    if shutil.which(wanted[0]) is None:
        raise SystemExit(
            f"TFHASH_BUILD_CUDA=1 needs CUDA's nvcc, but found none. Tried: {wanted[0]}. Install the "
            "CUDA toolkit, set NVCC, or unset TFHASH_BUILD_CUDA."
        )
    return wanted


def tensorflow_include():
    """Folder of the headers of the installed TensorFlow, found without importing it."""
    files = importlib.metadata.distribution("tensorflow").locate_file("tensorflow/include")
    return pathlib.Path(str(files))


def builds_xla():
    """Whether the ops are compiled for XLA, too."""
    if ops_to_build() == "tensorflow" and tensorflow_version():
        return all((tensorflow_include() / header).exists() for header in XLA_HEADERS)
    return True


def tensorflow_flags():
    """Flags that compile against the headers of the installed TensorFlow, and that link against it."""
    if tensorflow_version() is None:
        raise SystemExit(
            "tfhash compiles its ops against the package tensorflow, which is not installed "
            "(variants such as tensorflow-cpu do not count). "
            f"Install {SUPPORTED_TENSORFLOW} first, or set TFHASH_BUILD_OPS=0 to install "
            "tfhash without compiled ops."
        )
    import tensorflow as tf

    if not builds_xla():
        print(
            f"TensorFlow {tf.__version__} lacks headers of XLA: the ops will work neither inside "
            "jit_compile=True nor under JAX"
        )
    include = tensorflow_include()
    compile_flags = [
        *(flag for flag in tf.sysconfig.get_compile_flags() if not flag.startswith("-I")),
        f'-DTFHASH_TENSORFLOW_VERSION="{tf.__version__}"',
    ]
    folders = [include, include / "external/highwayhash"]
    link_flags = [*tf.sysconfig.get_link_flags(), "-l:libtensorflow_cc.so.2"]
    return compile_flags, folders, link_flags


def jax_flags():
    """Flags that compile against the headers of the installed JAX. There is nothing to link."""
    try:
        import jax
    except ImportError:
        raise SystemExit(
            "TFHASH_BUILD_OPS=jax compiles against the headers of JAX, which is not installed. "
            "Install jax first, and pass --no-build-isolation to pip."
        ) from None
    return [f'-DTFHASH_JAX_VERSION="{jax.__version__}"'], [jax.ffi.include_dir()], []


@functools.cache
def headers():
    """Contents of all headers: any of them may be included."""
    return b"".join(bytes(path) + path.read_bytes() for path in sorted(CC.rglob("*.h")))


@functools.cache
def version_of(compiler):
    return subprocess.run([*compiler, "--version"], capture_output=True, check=True).stdout


def needs_framework(source):
    """Whether a source includes headers of TensorFlow, JAX or XLA."""
    return pathlib.Path(source).parent.name not in WITHOUT_FRAMEWORK


def run(command):
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise SystemExit(f"{shlex.join(map(str, command))}\n{result.stderr}")


class BuildOps(build_ext):
    """Compiles all sources in parallel and links them into shared libraries.

    The libraries are not Python modules, so their file names get no ABI suffix.
    """

    def get_ext_filename(self, fullname):
        return str(pathlib.Path(*fullname.split("."))) + ".so"

    def run(self):
        # Libraries of an earlier build with other settings must not be loaded or packaged.
        folders = [self.build_lib, "."] if self.inplace else [self.build_lib]
        current = {extension.name.split(".")[-1] for extension in self.extensions}
        for folder in folders:
            for path in pathlib.Path(folder, "tfhash_ops").glob("libtfhash_*.so"):
                if path.stem not in current:
                    path.unlink()
        super().run()

    def build_extensions(self):
        self.compiler = find_compiler()
        self.nvcc = find_nvcc() if builds_cuda() else None
        flags = tensorflow_flags if ops_to_build() == "tensorflow" else jax_flags
        self.framework_flags, self.framework_folders, self.link_flags = flags()
        if builds_xla():
            self.framework_flags.append("-DTFHASH_WITH_XLA")
        OBJECTS.mkdir(parents=True, exist_ok=True)
        # Last library first: its sources are the slowest to compile.
        sources = [source for extension in self.extensions for source in extension.sources][::-1]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(self.compile_source, dict.fromkeys(sources)))
        super().build_extensions()

    def compile_source(self, source):
        target = self.object_of(source)
        if target.exists():
            return
        unfinished = target.with_suffix(f".{os.getpid()}.o")
        command = [*self.compiler_of(source), *self.flags_of(source)]
        if needs_framework(source):
            # As system headers, to silence their warnings.
            for folder in self.framework_folders:
                command += ["-isystem", folder]
        run([*command, "-c", source, "-o", unfinished])
        unfinished.replace(target)

    def compiler_of(self, source):
        return self.nvcc if source.endswith(".cu.cc") else self.compiler

    def flags_of(self, source):
        flags = ["-std=c++17", "-D_GLIBCXX_USE_CXX11_ABI=1", "-O2", "-DNDEBUG", f"-I{CC}"]
        if source.endswith(".cu.cc"):
            gpus = [f"-gencode=arch=compute_{gpu},code=sm_{gpu}" for gpu in CUDA_ARCHITECTURES]
            newer = f"-gencode=arch=compute_{CUDA_ARCHITECTURES[-1]},code=compute_{CUDA_ARCHITECTURES[-1]}"
            flags += ["-x", "cu", "-Xcompiler", "-fPIC", *gpus, newer]
        else:
            flags.append("-fPIC")
        if needs_framework(source):
            flags += [*self.framework_flags, f"-I{CC / 'tf' / 'wheel'}"]
            # Where it is asked for alone: the others compile for a minute.
            if builds_cuda() and WITH_CUDA in pathlib.Path(source).read_text():
                flags.append(f"-D{WITH_CUDA}")
        return flags

    def build_extension(self, extension):
        """Links one library, against the libraries that it names."""
        target = pathlib.Path(self.get_ext_fullpath(extension.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        objects = [self.object_of(source) for source in extension.sources]
        is_cuda = any(source.endswith(".cu.cc") for source in extension.sources)
        linker = self.nvcc if is_cuda else [*self.compiler, "-pthread"]
        link = [*linker, "-shared", *objects, "-o", target]
        if extension.libraries:
            link += [f"-L{target.parent}", *(f"-l{name}" for name in extension.libraries)]
            link += ["-Wl,-rpath,$ORIGIN", *self.link_flags]
        run(link)

    def object_of(self, source):
        """Path of an object, whose name has a digest of what decides its contents."""
        compiler = self.compiler_of(source)
        digest = hashlib.sha256(version_of(tuple(compiler)))
        # Without the folders of foreign headers: they differ under build isolation. Flags have the
        # version of what they belong to.
        digest.update(shlex.join([*compiler, *self.flags_of(source)]).encode())
        digest.update(pathlib.Path(source).read_bytes() + headers())
        name = source.replace("/", "-").replace(".cc", "")
        return OBJECTS / f"{name}-{digest.hexdigest()[:16]}.o"


def library(name, folders, files=(), libraries=()):
    """A library of all sources in `folders`, except tests, and of some more files."""
    left_out = [
        CC / file for folder in folders if not builds_xla() for file in XLA_SOURCES.get(folder, ())
    ]
    sources = sorted(
        str(path)
        for folder in folders
        for path in (CC / folder).glob("*.cc")
        if not path.stem.endswith("_test") and path not in left_out
    )
    sources += [str(CC / file) for file in files]
    return Extension(f"tfhash_ops.lib{name}", sources, libraries=list(libraries))


# These do not depend on TensorFlow, except for the headers of XLA's foreign function interface.
libraries = [library("tfhash_core", ["core", "index", "join", "ffi"])]
handlers = ["tfhash_core"]
if builds_cuda():
    libraries.append(library("tfhash_cuda", ["cuda"], ["core/checks.cc"]))
    handlers.append("tfhash_cuda")
if ops_to_build() == "tensorflow":
    libraries.append(library("tfhash_ops", ["tf"], libraries=handlers))

version = tensorflow_version()
tensorflow = f"tensorflow=={version}" if version else tensorflow_to_compile_against()
if "==" in tensorflow and minor_versions(tensorflow)[0] < (2, 20):
    # Newer ones need a newer protobuf than these versions of TensorFlow accept, and do not declare it.
    REQUIREMENTS.append("tensorflow-metadata<1.18")

if ops_to_build():
    setup(
        ext_modules=libraries,
        cmdclass={"build_ext": BuildOps},
        setup_requires=[] if version else ["jax" if ops_to_build() == "jax" else tensorflow],
        install_requires=[tensorflow if version else SUPPORTED_TENSORFLOW, *REQUIREMENTS],
    )
else:
    setup(install_requires=[SUPPORTED_TENSORFLOW, *REQUIREMENTS])
