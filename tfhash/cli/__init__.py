"""The command line: `tfhash train`, `evaluate`, `encode` and `export`. Flags and printing."""

from tfhash.cli.main import main

__all__ = ["main"]
