"""The command line: `tfhash train`, `evaluate`, `encode` and `export`."""

from tfhash.cli.main import main

__all__ = ["main"]
