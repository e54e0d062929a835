"""Formats results of `scale.py` and `beam.py` as Markdown tables.

A result that does not exist yet, or has no cells, makes one row that says so. Engines and sizes that were
not measured have no row.
"""

import scale_plan
from tables import header, row, spread

ENGINES = {
    "file": "index file",
    "chdb": "chDB",
    "clickhouse": "ClickHouse",
    "cluster": "ClickHouse, two servers",
    "postgresql": "PostgreSQL",
}
SCALE_COLUMNS = (
    "engine",
    "codes",
    "loading, s",
    "one query, ms",
    "a query of a batch, ms",
    "disk, MB",
    "memory, MB",
)
PLAN_COLUMNS = (
    "engine",
    "from, codes",
    "machines",
    "cores of each",
    "memory of each, GB",
    "disk of each, GB",
    "loading, hours",
    "one query, s",
    "queries a second",
    "core-seconds a query",
)
BEAM_COLUMNS = ("way", "images/s", "times `tfhash encode`", "codes that differ")


def scale(report):
    """Each engine at each size, from a report of `scale.py` or None: a whole table."""
    cells = [(*key.split(), cell) for key, cell in _cells(report)]
    cells.sort(key=lambda each: (int(each[1]), _place(each[0])))
    rows = [_measured(report, *each) for each in cells]
    return _table(SCALE_COLUMNS, rows)


def _measured(report, engine, items, cell):
    one = [1e3 * seconds for seconds in cell["seconds"]["one"]]
    batch = [1e3 * seconds / report["settings"]["batch"] for seconds in cell["seconds"]["batch"]]
    memory = cell.get("resident_mb")
    return [
        ENGINES.get(engine, engine),
        f"{int(items):,}",
        f"{cell['loading']:,.1f}",
        spread(one),
        spread(batch),
        f"{cell['disk_bytes'] / 1e6:,.0f}",
        "-" if memory is None else f"{memory:,.0f}",
    ]


def plans(report, items=10**9, memory_gb=16.0, seconds=1.0):
    """What so many codes need in each engine, from a report of `scale.py` or None: a whole table.

    Args:
        report: The report.
        items: Number of codes.
        memory_gb, seconds: As in `scale_plan.machines_needed`.

    Raises:
        ValueError: If the codes of the report are not of 64 bits.
    """
    if _cells(report) and report["settings"]["bits"] != 64:
        raise ValueError(
            "the plan is for codes of 64 bits. Received a result of scale.py with "
            f"{report['settings']['bits']} bits: measure with --bits=64"
        )
    found = scale_plan.largest(report) if _cells(report) else []
    found.sort(key=lambda measured: _place(measured.engine))
    rows = []
    for measured in found:
        machines = scale_plan.machines_needed(measured, items, memory_gb, seconds)
        made = scale_plan.plan(measured, items, machines)
        is_sharded = measured.engine in scale_plan.SHARDED
        rows.append(
            [
                "ClickHouse, a cluster" if is_sharded else ENGINES[measured.engine],
                f"{measured.items:,}",
                made.machines,
                measured.cores,
                f"{made.memory_gb:,.3g}",
                f"{made.disk_gb:,.3g}",
                f"{made.loading_hours:.2g}",
                f"{made.one:.2g}",
                f"{made.queries_a_second:.2g}",
                f"{made.core_seconds:.2g}",
            ]
        )
    return _table(PLAN_COLUMNS, rows)


def beam(report):
    """The ways of bulk encoding, from a report of `beam.py` or None: a whole table."""
    cells = [cell for _, cell in _cells(report)]
    rows = []
    for way in cells[0] if cells else ():
        rates = [report["settings"]["images"] / cell[way]["seconds"] for cell in cells]
        ratios = [cell["tfhash encode"]["seconds"] / cell[way]["seconds"] for cell in cells]
        differing = max(cell[way]["differing_codes"] for cell in cells)
        rows.append([way, spread(rates), spread(ratios), f"{differing:,}"])
    return _table(BEAM_COLUMNS, rows)


def machine(report):
    """The machine of a report, or "-"."""
    if not _cells(report):
        return "-"
    found = report["machine"]
    return f"{found['cores']} cores of {found['processor']}"


def _cells(report):
    return list(report["cells"].items()) if report else []


def _place(engine):
    names = list(ENGINES)
    return names.index(engine) if engine in names else len(names)


def _table(columns, rows):
    rows = rows or [["not measured yet", *["-"] * (len(columns) - 1)]]
    return header(columns) + "".join(map(row, rows))
