"""What a figure depends on besides the code: versions and machine."""

import importlib.metadata
import os
import platform

PACKAGES = ("tfhash", "tensorflow", "keras", "numpy", "tensorflow-datasets")


def describe(more_packages=()):
    """Versions of the packages, Python, and the machine, for a report."""
    return {
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in (*PACKAGES, *more_packages)},
        },
        "machine": {
            "system": platform.platform(),
            "processor": _processor(),
            "cores": os.cpu_count(),
        },
    }


def _processor():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [
                line.split(":", 1)[1].strip() for line in file if line.startswith("model name")
            ]
    except OSError:
        names = []
    return names[0] if names else platform.processor()
