"""Checks of flags: those that a command needs, their bounds, and files that it must not replace."""

import os


def require(given, *names):
    """Raises `ValueError` unless all the settings are given."""
    missing = [name for name in names if given.get(name) is None]
    if missing:
        raise ValueError("missing " + ", ".join(f"--{name}" for name in missing))


def check_bounds(given, groups):
    """Raises `ValueError` if a setting is out of its bounds.

    Args:
        given: The settings that were given, a dictionary.
        groups: The `GROUPS` of the command.
    """
    for group in groups.values():
        for cls in group:
            cls.pick(given)


def require_free(given, *names):
    """Raises `ValueError` if one of the settings names a path that exists, without --overwrite."""
    for name in names:
        path = given.get(name)
        if path is not None and os.path.exists(path) and not given.get("overwrite"):
            raise ValueError(f"--{name}={path} exists. Pass --overwrite to replace it")
