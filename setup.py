"""Builds tfhash, and its compiled ops against the TensorFlow at hand.

TFHASH_BUILD_OPS=0 leaves the compiled ops out. Everything else about the package is in
pyproject.toml.
"""

import concurrent.futures
import importlib.metadata
import os
import pathlib
import shlex
import shutil
import subprocess

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

CC = pathlib.Path("tfhash_ops/cc")

# A library serves the TensorFlow it was compiled against and no other.
SUPPORTED_TENSORFLOW = "tensorflow~=2.21.0"
REQUIREMENTS = [
    "keras>=3.12",
    "numpy",
    "absl-py",
    "tensorflow-datasets>=4.9.9",
    "importlib_resources",  # tensorflow-datasets 4.9.10 imports it and does not declare it
    "matplotlib>=3.8",
]


def builds_ops():
    return os.environ.get("TFHASH_BUILD_OPS", "1") != "0"


def tensorflow_version():
    """The version of the TensorFlow that is installed, None if there is none."""
    try:
        return importlib.metadata.version("tensorflow")
    except importlib.metadata.PackageNotFoundError:
        return None


def find_compiler():
    """The C++ compiler's command: CXX, or the first of the usual names."""
    wanted = os.environ.get("CXX")
    candidates = [wanted] if wanted else ["c++", "g++", "clang++"]
    for candidate in candidates:
        command = shlex.split(candidate)
        if shutil.which(command[0]):
            return command
    raise SystemExit(
        "tfhash compiles its ops with a C++17 compiler, and found none: looked for "
        f"{', '.join(candidates)}. Install one (on Debian: apt install g++), name one in CXX, "
        "or set TFHASH_BUILD_OPS=0 to install tfhash without compiled ops."
    )


def run(command):
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise SystemExit(f"{shlex.join(map(str, command))}\n{result.stderr}")


class BuildOps(build_ext):
    """Compiles all sources in parallel, and links shared libraries from them.

    These are no Python modules, and keep their plain names.
    """

    def get_ext_filename(self, fullname):
        return str(pathlib.Path(*fullname.split("."))) + ".so"

    def build_extensions(self):
        if tensorflow_version() is None:
            raise SystemExit(
                "tfhash compiles its ops against the installed TensorFlow, and found none. "
                f"Install {SUPPORTED_TENSORFLOW} first, or set TFHASH_BUILD_OPS=0 to install "
                "tfhash without compiled ops."
            )
        self.command = find_compiler()
        import tensorflow as tf

        include = pathlib.Path(tf.sysconfig.get_include())
        flags = [flag for flag in tf.sysconfig.get_compile_flags() if not flag.startswith("-I")]
        flags += [
            *("-O2", "-fPIC", "-DNDEBUG", f'-DTFHASH_TENSORFLOW_VERSION="{tf.__version__}"'),
            # As system headers, so that their warnings stay their own.
            *("-isystem", include, "-isystem", include / "external/highwayhash"),
            f"-I{CC}",
            f"-I{CC / 'tf' / 'wheel'}",
        ]
        self.tensorflow_flags = [*tf.sysconfig.get_link_flags(), "-l:libtensorflow_cc.so.2"]
        pathlib.Path(self.build_temp).mkdir(parents=True, exist_ok=True)
        # The last library's sources take longest to compile, for TensorFlow's headers.
        sources = [source for extension in self.extensions for source in extension.sources][::-1]

        def compile_source(source):
            run([*self.command, *flags, "-c", source, "-o", self.object_of(source)])

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(compile_source, sources))
        super().build_extensions()

    def build_extension(self, extension):
        """Links one library, against the others beside it that it names."""
        target = pathlib.Path(self.get_ext_fullpath(extension.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        objects = [self.object_of(source) for source in extension.sources]
        link = [*self.command, "-shared", "-pthread", *objects, "-o", target]
        if extension.libraries:
            link += [f"-L{target.parent}", *(f"-l{name}" for name in extension.libraries)]
            link += ["-Wl,-rpath,$ORIGIN", *self.tensorflow_flags]
        run(link)

    def object_of(self, source):
        return pathlib.Path(self.build_temp) / source.replace("/", "-").replace(".cc", ".o")


def library(name, folders, libraries=()):
    sources = sorted(
        str(path)
        for folder in folders
        for path in (CC / folder).glob("*.cc")
        if not path.stem.endswith("_test")
    )
    return Extension(f"tfhash_ops.lib{name}", sources, libraries=list(libraries))


# The first one knows nothing of TensorFlow, but for the header of XLA's foreign function interface.
libraries = [
    library("tfhash_core", ["core", "ffi"]),
    library("tfhash_ops", ["tf"], ["tfhash_core"]),
]

if builds_ops():
    version = tensorflow_version()
    tensorflow = f"tensorflow=={version}" if version else SUPPORTED_TENSORFLOW
    setup(
        ext_modules=libraries,
        cmdclass={"build_ext": BuildOps},
        setup_requires=[] if version else [SUPPORTED_TENSORFLOW],
        install_requires=[tensorflow, *REQUIREMENTS],
    )
else:
    setup(install_requires=[SUPPORTED_TENSORFLOW, *REQUIREMENTS])
