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
    before = {name: report.get(name) for name in made_with if report.get(name) != made_with[name]}
    if before:
        now = {name: made_with[name] for name in before}
        raise ValueError(
            f"{path} was made with {before}, not with {now}. Move it away to start over"
        )
    return report
