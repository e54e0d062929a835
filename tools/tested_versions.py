"""Records the versions that all tests passed with, for the README's badges. The last step of `make test`."""

import importlib.metadata
import json
import pathlib
import platform

RECORD = pathlib.Path(__file__).parents[1] / "benchmarks" / "results" / "tested_versions.json"
PACKAGES = {"TensorFlow": "tensorflow", "Keras": "keras", "JAX": "jax"}


def minor(version):
    """Major and minor version: "2.21" for "2.21.0"."""
    return ".".join(version.split(".")[:2])


def this_environment():
    packages = {name: importlib.metadata.version(package) for name, package in PACKAGES.items()}
    return {
        name: minor(version)
        for name, version in ({"Python": platform.python_version()} | packages).items()
    }


def main():
    rows = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else []
    versions = this_environment()
    if versions not in rows:
        rows.append(versions)
        RECORD.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
        print(f"{RECORD.name} has new versions: run `make tables` and commit both.")
    print("All tests passed with", ", ".join(map(" ".join, versions.items())))


if __name__ == "__main__":
    main()
