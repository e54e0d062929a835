"""A plan for more codes than were measured, computed from a result of `scale.py`.

Every figure is that of the largest measured size of an engine, times the number of codes over that size. Left
out are the network, replicas, and shards that are slower or fuller than others.

    python benchmarks/scale_plan.py benchmarks/results/scale.json --items=2000000000 --seconds=0.5
"""

import argparse
import json
import math
import pathlib
import statistics
import typing

# Engines whose codes may be spread over machines; the others are one machine, however large.
SHARDED = ("cluster",)
# The working set is at most this share of a machine's memory: the rest is the system's and the queries'.
MEMORY_SHARE = 0.5


class Measured(typing.NamedTuple):
    """One engine at its largest measured size, on one machine.

    Attributes:
        engine: Its name in `scale.py`.
        items: Number of codes.
        cores: Cores of the machine. All servers of a cluster ran on it.
        loading: Seconds to load all codes, by one writer.
        one: Seconds of a search with one query.
        in_batch: Seconds of a query in a batch.
        core_seconds: Processor time of a query in a batch, of servers and client.
        disk_gb, memory_gb: Gigabytes on disk, and resident after the searches. `memory_gb` is None if
            it was not measured.
    """

    engine: str
    items: int
    cores: int
    loading: float
    one: float
    in_batch: float
    core_seconds: float
    disk_gb: float
    memory_gb: float | None


class Plan(typing.NamedTuple):
    """What `items` codes need, as `plan` computes it.

    Attributes:
        machines: Machines with the cores of the measured one. Each holds one shard.
        memory_gb: Memory of each machine.
        disk_gb: Disk of each machine.
        loading_hours: Hours to load all codes, by one writer.
        one: Seconds of a search with one query.
        queries_a_second: Queries in batches that all machines together answer in a second.
        core_seconds: Core-seconds of a query in a batch, on all machines together.
    """

    machines: int
    memory_gb: float
    disk_gb: float
    loading_hours: float
    one: float
    queries_a_second: float
    core_seconds: float


def largest(report):
    """The largest measured size of each engine in a report of `scale.py`.

    Returns:
        List of `Measured`, in the order of the report.
    """
    cells = {}
    for key, cell in report["cells"].items():
        engine, items = key.split()
        if engine not in cells or int(items) > cells[engine][0]:
            cells[engine] = int(items), cell
    found = []
    for engine, (items, cell) in cells.items():
        one, batch = (statistics.median(cell["seconds"][name]) for name in ("one", "batch"))
        in_batch = batch / report["settings"]["batch"]
        cores, spent = report["machine"]["cores"], cell["core_seconds"]
        memory = cell["resident_mb"]
        found.append(
            Measured(
                engine,
                items,
                cores,
                cell["loading"],
                one,
                in_batch,
                # Of servers that cannot be asked: all cores, for as long as the query takes.
                in_batch * cores if spent is None else spent["batch"],
                cell["disk_bytes"] / 1e9,
                None if memory is None else memory / 1e3,
            )
        )
    return found


def working_set_gb(measured):
    """Gigabytes that a search wants in memory: what is resident, or the table in the page cache, if larger."""
    return max(measured.disk_gb, measured.memory_gb or 0.0)


def machines_needed(measured, items, memory_gb, seconds):
    """Machines that hold the working set in memory and answer one query in time.

    Args:
        measured: A `Measured`.
        items: Number of codes.
        memory_gb: Memory of a machine.
        seconds: Largest time of a search with one query.

    Returns:
        At least 1, and 1 for an engine without shards.
    """
    if measured.engine not in SHARDED:
        return 1
    times = items / measured.items
    for_memory = working_set_gb(measured) * times / (memory_gb * MEMORY_SHARE)
    return max(1, math.ceil(for_memory), math.ceil(measured.one * times / seconds))


def plan(measured, items, machines):
    """What so many codes need on so many machines, extrapolated linearly.

    Args:
        measured: A `Measured`.
        items: Number of codes.
        machines: Machines with as many cores as the measured one; each holds an equal share of the codes.

    Returns:
        A `Plan`.
    """
    times = items / measured.items
    on_a_machine = times / machines
    return Plan(
        machines=machines,
        memory_gb=working_set_gb(measured) * on_a_machine / MEMORY_SHARE,
        disk_gb=measured.disk_gb * on_a_machine,
        # One writer sends all codes, however many machines take them.
        loading_hours=measured.loading * times / 3600,
        one=measured.one * on_a_machine,
        # Every machine works on every query.
        queries_a_second=1 / (measured.in_batch * on_a_machine),
        core_seconds=measured.core_seconds * times,
    )


def main():
    from scale_tables import plans

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", type=pathlib.Path, help="result of scale.py")
    parser.add_argument("--items", type=int, default=10**9, help="number of codes")
    parser.add_argument("--memory", type=float, default=16.0, help="gigabytes of a shard's machine")
    parser.add_argument("--seconds", type=float, default=1.0, help="largest time of one query")
    flags = parser.parse_args()
    if min(flags.items, flags.memory, flags.seconds) <= 0:
        parser.error("--items, --memory and --seconds must be positive")
    report = json.loads(flags.result.read_text(encoding="utf-8"))
    print(plans(report, flags.items, flags.memory, flags.seconds), end="")


if __name__ == "__main__":
    main()
