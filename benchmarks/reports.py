"""Benchmark reports that are saved cell by cell, so that a run can continue."""

import json

import tfhash_ops
from tfhash.experiments import environment


def read(path, made_with):
    """Reads an unfinished report, or starts one: `made_with` and the finished `"cells"`.

    Raises:
        ValueError: If the report at `path` was made with other settings.
    """
    if not path.exists():
        return {**made_with, "cells": {}}
    report = json.loads(path.read_text(encoding="utf-8"))
    check_made_with(path, report, made_with)
    return report


def of_compiled(unit, settings, packages=()):
    """Starts a report on compiled code: unit, settings, CPU kernel and environment.

    Args:
        unit: What the figures are.
        settings: Dictionary of flags.
        packages: Packages whose versions count.
    """
    return {
        "settings": settings,
        "unit": unit,
        "kernel": tfhash_ops.cpu_kernel(),
        **environment.describe(list(packages)),
    }


def check_made_with(what, before, now):
    """Raises `ValueError` with the differences unless `before` contains all of `now`."""
    then = {name: before.get(name) for name in now if before.get(name) != now[name]}
    if then:
        today = {name: now[name] for name in then}
        raise ValueError(
            f"{what} was made with {then}, not with {today}. Move it away to start over"
        )
