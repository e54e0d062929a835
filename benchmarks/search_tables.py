"""Formats results of `hamming.py`, `index.py` and `duplicates.py` as Markdown tables."""

import statistics

from tables import header, row, spread

ENGINES = ("tfhash", "faiss", "usearch", "NumPy", "TensorFlow")
SEARCH_COLUMNS = ("bits", *ENGINES, "tfhash / faiss", "k = 100 / k = 10")

INDEX_COLUMNS = (
    "codes",
    "bits",
    "number",
    "one query, ms",
    "after a scan, ms",
    "query of a batch of 1,000, ms",
    "within radius 3, ms",
    "faiss Flat, ms",
    "Flat / tfhash",
    "the same, in turn",
    "reading the codes, ms",
    "bytes an item",
    "opening the file, ms",
)

LAYOUTS = ("random", "clustered", "learned")

JOIN_COLUMNS = (
    "codes",
    "number",
    "bits",
    "radius",
    "pairs",
    "counting pairs, s",
    "groups, s",
    "pairs a second",
    "memory, bytes a code",
)

FAISS = {"flat": "Flat", "hash": "Hash", "multihash": "MultiHash", "hnsw": "HNSW"}
# Of an engine's figures: what is added to its name, a unit, how many there are to a second, and
# the share of the results that it finds, where that is measured.
COMPARED = {
    "search": ("", "one query, ms", 1e3, "_recall"),
    "batch": ("_batch", "a query of a batch, ms", 1e3, None),
    "within": ("_within", "within radius 3, ms", 1e3, "_within_recall"),
    "build": ("_build", "adding all codes, s", 1, None),
}


def search(report):
    """Rows under `SEARCH_COLUMNS` for a report of `hamming.py`."""
    return "".join(
        row(
            [
                bits,
                *(spread(cell["rates"][engine]) for engine in ENGINES),
                spread(cell["times_faiss"]),
                spread(cell["k100_to_k10"]),
            ]
        )
        for bits, cell in report["search"].items()
    )


def search_on_cpus(reports):
    """tfhash and its ratio to faiss on each CPU, from reports of `hamming.py`: a whole table.

    Args:
        reports: Dictionary from the name of a CPU to its report.
    """
    columns = [f"{cpu}{of}" for cpu in reports for of in ("", " / faiss")]
    rows = []
    for bits in next(iter(reports.values()))["search"]:
        cells = [report["search"][bits] for report in reports.values()]
        rows.append(
            [
                bits,
                *(
                    spread(v)
                    for cell in cells
                    for v in (cell["rates"]["tfhash"], cell["times_faiss"])
                ),
            ]
        )
    return header(["bits", *columns]) + "".join(map(row, rows))


def index(report):
    """Speed and memory of the index, from a report of `index.py`: a whole table."""
    milliseconds = ("search", "search_after_flat", "batch", "within", "flat")
    rows = [
        [
            cell["layout"],
            cell["bits"],
            f"{cell['items']:,}",
            *(f"{1e3 * cell[name]:.3g}" for name in milliseconds),
            f"{cell['times_flat']:.3g}",
            f"{cell['times_flat_in_turn']:.3g}",
            f"{1e3 * cell['reading']:.3g}",
            f"{cell['bytes']:.1f}",
            f"{1e3 * cell['load']:.2g}",
        ]
        for cell in sorted(report["cells"].values(), key=_by_length)
    ]
    return header(INDEX_COLUMNS) + "".join(map(row, rows))


def _by_length(cell):
    return cell["bits"], LAYOUTS.index(cell["layout"]), cell["items"]


def joins(report):
    """Joins within a radius, from a report of `duplicates.py`: a whole table."""
    return header(JOIN_COLUMNS) + "".join(row(joined(cell)) for cell in report["cells"].values())


def joined(cell):
    """A row under `JOIN_COLUMNS`."""
    seconds = cell["seconds"]
    return [
        cell["codes"],
        f"{cell['items']:,}",
        cell["bits"],
        cell["radius"],
        f"{cell['pairs']:,}",
        spread(seconds["pairs"]),
        spread(seconds["groups"]),
        f"{cell['pairs'] / statistics.median(seconds['pairs']):.2g}",
        round(cell["added_bytes"] / cell["items"]),
    ]


def beside_faiss(report, figure):
    """A figure of all indexes, where faiss's approximate ones were measured: a whole table.

    Args:
        report: Of `index.py`.
        figure: One of `COMPARED`.
    """
    suffix, unit, times, recall = COMPARED[figure]
    rows = []
    for cell in sorted(report["cells"].values(), key=_by_length):
        if "hash" not in cell:
            continue
        shown = [f"{times * cell[figure]:.3g}"]
        for name in FAISS:
            share = cell.get(f"{name}{recall}") if recall and name != "flat" else None
            of = "" if share is None else f" ({share:.2f})"
            value = cell.get(f"{name}{suffix}")
            shown.append("" if value is None else f"{times * value:.3g}{of}")
        rows.append([cell["layout"], cell["bits"], f"{cell['items']:,}", *shown])
    engines = [f"faiss {name}" for name in FAISS.values()]
    columns = ["codes", "bits", "number", f"tfhash, {unit}", *engines]
    return header(columns) + "".join(map(row, rows))


def single_query(reports):
    """Milliseconds of one query on each CPU, from reports of `hamming.py`: a whole table.

    Args:
        reports: Dictionary from the name of a CPU to its report.
    """
    reports = {cpu: report["single_query"] for cpu, report in reports.items()}
    rows = [
        [engine, *(spread([1000 * s for s in r["seconds"][engine]]) for r in reports.values())]
        for engine in next(iter(reports.values()))["seconds"]
    ]
    ratios = [spread(report["times_fastest_reading"]) for report in reports.values()]
    rows.append(["tfhash / fastest reading", *ratios])
    return header(["one query, ms", *reports]) + "".join(map(row, rows))
