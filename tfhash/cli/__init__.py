"""The command line: `tfhash train`, `index`, `search` and others. Flags and printing."""

from tfhash.cli.main import main

__all__ = ["main"]
