"""Finished trainings of a benchmark, one JSON object a line, which several processes add to."""

import contextlib
import fcntl
import json

from absl import flags

NAME = "cells.jsonl"


def define_flags(name):
    """Defines the flags of a benchmark that trains arms.

    Args:
        name: Name of its result file and of its scratch folder.
    """
    flags.DEFINE_string("scratch", f"runs/{name}", "Where finished trainings are kept.")
    flags.DEFINE_string("data_dir", "../shared/datasets", "Directory of the prepared CIFAR-10.")
    flags.DEFINE_multi_string("arms", [], "Words, one of which the name of an arm must contain.")
    flags.DEFINE_multi_integer("seeds", [0], "Seeds.")
    flags.DEFINE_bool(
        "collect", False, "Write the results of the finished trainings; train nothing."
    )
    flags.DEFINE_string("output", f"benchmarks/results/{name}.json", "Result file.")


def by_arm(scratch, arms):
    """Finished cells of each arm that has some, in the order of `arms`, by seed."""
    done = finished(scratch)
    found = {arm: {str(s): done[n, s] for n, s in sorted(done) if n == arm} for arm in arms}
    return {arm: of_seeds for arm, of_seeds in found.items() if of_seeds}


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


def left_to_train(scratch, arms):
    """Yields each arm and seed that the flags want and nobody has trained, claimed until the next."""
    for seed in flags.FLAGS.seeds:
        for arm in arms:
            is_wanted = not flags.FLAGS.arms or any(word in arm for word in flags.FLAGS.arms)
            if is_wanted:
                with claimed(scratch, arm, seed) as is_free:
                    if is_free:
                        yield arm, seed
