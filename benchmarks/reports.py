"""Reports that benchmarks save cell by cell, to go on from."""

import json


def read(path, made_with):
    """What is there so far: `made_with`, and `"cells"` that are done.

    Raises:
        ValueError: If the report at `path` was made with something else.
    """
    if not path.exists():
        return {**made_with, "cells": {}}
    report = json.loads(path.read_text(encoding="utf-8"))
    check_made_with(path, report, made_with)
    return report


def check_made_with(what, before, now):
    """Raises `ValueError`, naming what differs, unless `before` has all that is in `now`."""
    then = {name: before.get(name) for name in now if before.get(name) != now[name]}
    if then:
        today = {name: now[name] for name in then}
        raise ValueError(
            f"{what} was made with {then}, not with {today}. Move it away to start over"
        )
