"""Memory and processor time of processes and of those that they started, as Linux counts them."""

import os
import pathlib
import re
import time


def resident_mb(pids):
    """Resident memory in megabytes; pages that processes share are counted once.

    Args:
        pids: Process ids as strings, or `["self"]`.
    """
    kilobytes = 0
    for pid in family(pids):
        try:
            rollup = pathlib.Path("/proc", pid, "smaps_rollup").read_text()
        except OSError:  # it has ended
            continue
        kilobytes += int(re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)[1])
    return kilobytes / 1000


def core_seconds(pids):
    """Seconds that all cores together have worked, for this process and for others.

    Those of processes that have ended are counted once their parent has asked for their end.

    Args:
        pids: Process ids as strings; `["self"]` or none for this process alone.
    """
    ticks = 0
    for pid in family(pids) - {str(os.getpid())}:
        try:
            fields = _stat(pathlib.Path("/proc", pid))
        except OSError:  # it has ended
            continue
        # utime, stime, and those of children that have ended.
        ticks += sum(map(int, fields[11:15]))
    own = time.process_time() + sum(os.times()[2:4])
    return own + ticks / os.sysconf("SC_CLK_TCK")


def family(pids):
    """The ids of processes and of all that they started, a set of strings."""
    parents = {}
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parents[path.name] = _stat(path)[1]
        except OSError:  # it has ended
            continue
    found, new = set(), {str(os.getpid()) if pid == "self" else pid for pid in pids}
    while new:
        found |= new
        new = {pid for pid, parent in parents.items() if parent in found} - found
    return found


def _stat(path):
    """The fields of a process from its state on; its name, in parentheses, may hold anything."""
    return (path / "stat").read_text().rpartition(")")[2].split()
