"""Flags that a command cannot do without."""


def require(given, *names):
    """Raises `ValueError` unless all the settings are given."""
    missing = [name for name in names if given.get(name) is None]
    if missing:
        raise ValueError("missing " + ", ".join(f"--{name}" for name in missing))
