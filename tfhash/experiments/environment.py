"""What figures depend on besides the code: versions, environment variables and the machine."""

import importlib.metadata
import os
import platform

PACKAGES = ("tfhash", "tensorflow", "keras", "numpy", "tensorflow-datasets")

# They change the speed of TensorFlow and Keras, or the last digits of results.
VARIABLES = ("KERAS_BACKEND", "OMP_NUM_THREADS", "TF_ENABLE_ONEDNN_OPTS", "XLA_FLAGS")

# Extensions of the instruction set by which the speed of training and search differs most.
EXTENSIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def describe(more_packages=()):
    """Describes packages, environment variables and the machine, for a report."""
    return {
        "versions": {
            "python": platform.python_version(),
            **{name: _version(name) for name in (*PACKAGES, *more_packages)},
        },
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "machine": {
            "system": platform.platform(),
            "processor": _processor(),
            "extensions": extensions(),
            "cores": os.cpu_count(),
        },
    }


def _version(package):
    """None if it is not installed: some benchmarks need JAX alone."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def extensions():
    """Those of `EXTENSIONS` that the processor has; none are known outside of Linux on x86."""
    found = set(_cpuinfo("flags").split())
    return [name for name in EXTENSIONS if name in found]


def _processor():
    return _cpuinfo("model name") or platform.processor()


def _cpuinfo(key):
    """What Linux says of the first processor; "" where it says nothing."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            lines = (line.partition(":") for line in file)
            return next((value.strip() for name, _, value in lines if name.strip() == key), "")
    except OSError:
        return ""
