"""Finished trainings of a benchmark, one JSON object a line, which several processes add to."""

import contextlib
import fcntl
import json

NAME = "cells.jsonl"


def finished(scratch):
    """Finished cells by arm and seed. A line that a kill cut short is no cell."""
    path = scratch / NAME
    cells = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            cell = json.loads(line)
        except ValueError:
            continue
        cells[cell["arm"], cell["seed"]] = cell
    return cells


def save(scratch, cell):
    """Adds a finished cell."""
    # One write: other processes append to the same file, whose last line a kill may have cut.
    with open(scratch / NAME, "a", encoding="utf-8") as file:
        file.write(f"\n{json.dumps(cell)}\n")


@contextlib.contextmanager
def claimed(scratch, arm, seed):
    """Whether this process may train an arm: it is not finished, and no other process is at it.

    A context manager, in which the arm is this process's. A kill gives it free.
    """
    with open(scratch / f"{arm}-{seed}.lock", "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield (arm, seed) not in finished(scratch)
