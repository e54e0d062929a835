"""Formats results of `scale.py` and `beam.py` as Markdown tables.

What was not measured has a row that says so: a result that does not exist yet or has no cells, and an
engine at a size, or of a plan, that others were measured at.
"""

import scale_plan
from tables import NOT_MEASURED, header, row, spread

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
    "processor time of it, ms",
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
    cells = dict(_cells(report))
    sizes = sorted({int(key.split()[1]) for key in cells})
    rows = [
        measured(report, engine, items, cells.get(f"{engine} {items}"))
        for items in sizes
        for engine in ENGINES
    ]
    return _table(SCALE_COLUMNS, rows)


def measured(report, engine, items, cell):
    """A row under `SCALE_COLUMNS`; `cell` is None where it was not measured."""
    if cell is None:
        return [ENGINES[engine], f"{items:,}", NOT_MEASURED, *["-"] * (len(SCALE_COLUMNS) - 3)]
    one = [1e3 * seconds for seconds in cell["seconds"]["one"]]
    batch = [1e3 * seconds / report["settings"]["batch"] for seconds in cell["seconds"]["batch"]]
    spent, memory = cell["core_seconds"], cell["resident_mb"]
    return [
        " ".join(filter(None, [ENGINES[engine], cell["version"]])),
        f"{items:,}",
        _figure(cell["loading"]),
        spread(one),
        spread(batch),
        "-" if spent is None else f"{1e3 * spent['batch']:.3g}",
        _figure(cell["disk_bytes"] / 1e6),
        "-" if memory is None else _figure(memory),
    ]


def _figure(value):
    """A figure of three digits, or more where it has more before the point."""
    return f"{value:,.0f}" if value >= 999.5 else f"{value:.3g}"


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
    found = {each.engine: each for each in scale_plan.largest(report)} if _cells(report) else {}
    rows = []
    for engine, name in ENGINES.items() if found else ():
        if engine not in found:
            rows.append([name, NOT_MEASURED, *["-"] * (len(PLAN_COLUMNS) - 2)])
            continue
        one = found[engine]
        machines = scale_plan.machines_needed(one, items, memory_gb, seconds)
        made = scale_plan.plan(one, items, machines)
        is_sharded = engine in scale_plan.SHARDED
        rows.append(
            [
                "ClickHouse, a cluster" if is_sharded else name,
                f"{one.items:,}",
                made.machines,
                one.cores,
                _figure(made.memory_gb),
                _figure(made.disk_gb),
                _figure(made.loading_hours),
                _figure(made.one),
                _figure(made.queries_a_second),
                _figure(made.core_seconds),
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


def _table(columns, rows):
    rows = rows or [[NOT_MEASURED, *["-"] * (len(columns) - 1)]]
    return header(columns) + "".join(map(row, rows))
