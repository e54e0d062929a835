"""What figures depend on besides the code: versions, environment variables and the machine."""

import importlib.metadata
import os
import platform

PACKAGES = ("tfhash", "tensorflow", "keras", "numpy", "tensorflow-datasets")

# They change the speed of TensorFlow and Keras, or the last digits of results.
VARIABLES = ("KERAS_BACKEND", "OMP_NUM_THREADS", "TF_ENABLE_ONEDNN_OPTS", "XLA_FLAGS")


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
            "cores": os.cpu_count(),
        },
    }


def _version(package):
    """None if it is not installed: some benchmarks need JAX alone."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [
                line.split(":", 1)[1].strip() for line in file if line.startswith("model name")
            ]
    except OSError:
        names = []
    return names[0] if names else platform.processor()
