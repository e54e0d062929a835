"""Writes the tables and figures of the documentation from `benchmarks/results/*.json` and the code.

A document marks where they go, and this program fills them in:

    <!-- table: results -->
    <!-- end table -->

    search is <!-- figure: search-times-faiss --><!-- end figure --> times as fast as faiss

    make tables                              # or: python3 benchmarks/write_tables.py
    python3 benchmarks/write_tables.py --list  # the names of tables and figures
"""

import json
import pathlib
import re
import statistics
import sys
import urllib.parse

import api_index
import scale_tables
import search_tables
import serving_tables
import tables

from tfhash.experiments import run_directory

BENCHMARKS = pathlib.Path(__file__).parent
ROOT = BENCHMARKS.parent

# Result files of `seeds.py`, in the order of the tables; those that do not exist have no row.
TRAINED = (
    "mnist-12",
    "cifar10-12",
    "cifar10-24",
    "cifar10-32",
    "cifar10-48",
    "cifar10-64",
    "cifar10-cnnh-48",
    "cifar10-cnnh-48-unlabeled",
    "cifar10-cnnh54k-48",
    "digits-12",
)
# Result files of `accuracy.py`, and the titles of their datasets.
COMPARED = {"accuracy-mnist": "MNIST", "accuracy-cifar10": "CIFAR-10 (JPEG copy)"}
# Result files of `hamming.py`, and the names of their CPUs.
CPUS = {
    "hamming-zen3": "Zen 3",
    "hamming-emerald-rapids": "Emerald Rapids",
    "hamming-zen5": "Zen 5",
}
# Result files of `index.py`: the one that compares with all indexes of faiss, and another CPU.
INDEX, INDEX_ELSEWHERE = "index-zen2", "index-zen4"
# Result file of `duplicates.py`.
JOINS = "duplicates-zen4"

_MARKED = re.compile(
    r"(<!-- (?P<kind>table|figure): (?P<name>[\w-]+) -->)(?P<old>.*?)(<!-- end (?P=kind) -->)",
    re.DOTALL,
)


def documents():
    """The documents that may hold tables."""
    return [ROOT / "README.md", BENCHMARKS / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def read_result(name):
    return json.loads((BENCHMARKS / "results" / f"{name}.json").read_text(encoding="utf-8"))


def result_if_measured(name):
    """A result, or None where it is not measured yet."""
    return read_result(name) if (BENCHMARKS / "results" / f"{name}.json").exists() else None


def update(text, root=""):
    """Fills in every marked table and figure of a document.

    Args:
        text: Content of the document.
        root: Path from the document to the root of the repository, as `../`; for links.

    Raises:
        ValueError: If a marker is unknown or is not closed.
    """
    opened = len(re.findall(r"<!-- (?:table|figure): ", text))
    if opened != len(_MARKED.findall(text)) or opened != len(re.findall("<!-- end ", text)):
        raise ValueError("every `<!-- table: NAME -->` needs a `<!-- end table -->`, figures alike")

    def fill(match):
        known = TABLES if match["kind"] == "table" else FIGURES
        if match["name"] not in known:
            raise ValueError(
                f"unknown {match['kind']}: expected one of {', '.join(known)}. "
                f"Received: {match['name']}"
            )
        value = known[match["name"]](root)
        new = f"\n{value}" if match["kind"] == "table" else value
        return f"{match[1]}{new}{match[5]}"

    return _MARKED.sub(fill, text)


def measured():
    """Those of `TRAINED` that have been measured."""
    return [name for name in TRAINED if (BENCHMARKS / "results" / f"{name}.json").exists()]


def _trained(columns, to_row):
    def table(root):
        trained = (tables.Training(name, read_result(name), root) for name in measured())
        return tables.header(columns) + "".join(map(to_row, trained))

    return table


def _rows(name, columns, to_row):
    """A table with one row for each cell of a result."""

    def table(root):
        rows = (to_row(*cell) for cell in read_result(name)["cells"].items())
        return tables.header(columns) + "".join(rows)

    return table


def _memory(root):
    cells = read_result("loss_memory")["cells"]
    return tables.header(tables.MEMORY_COLUMNS) + "".join(map(tables.memory, cells))


def _losses(name):
    return lambda root: tables.losses(read_result(name))


def _over_datasets(table_of):
    return lambda root: table_of({title: read_result(name) for name, title in COMPARED.items()})


def _search(name):
    return lambda root: (
        tables.header(search_tables.SEARCH_COLUMNS) + search_tables.search(read_result(name))
    )


def _on_cpus(table_of):
    return lambda root: table_of({cpu: read_result(name) for name, cpu in CPUS.items()})


def _badges(root):
    """Badges of the versions that all tests passed with."""
    rows = read_result("tested_versions")
    images = []
    for name in ("Python", "TensorFlow", "Keras"):
        # By their numbers, so that 3.9 comes before 3.10.
        numbers = sorted({tuple(map(int, row[name].split("."))) for row in rows})
        versions = " | ".join(".".join(map(str, number)) for number in numbers)
        address = f"https://img.shields.io/badge/{name}-{urllib.parse.quote(versions)}-blue"
        images.append(f"![tested with {name} {versions}]({address})")
    return " ".join(images)


def _schema(schema):
    rows = [tables.row([f"`{name}`", meaning]) for name, meaning in schema.items()]
    return lambda root: tables.header(["key", "value"]) + "".join(rows)


def _api(root):
    rows = (
        tables.row([f"`{module}`", f"`{name}`", sentence])
        for module in api_index.MODULES
        for name, sentence in api_index.public_names(module)
    )
    return tables.header(["module", "name", "what it is"]) + "".join(rows)


def _median_range(values_of, digits=3, factor=1):
    """The smallest and the largest of several medians, as "10.9 to 17.6"."""

    def figure(root):
        medians = [factor * statistics.median(values) for values in values_of()]
        return f"{min(medians):.{digits}g} to {max(medians):.{digits}g}"

    return figure


def _at_64_bits(values_of_cell):
    return lambda: [values_of_cell(read_result(name)["search"]["64"]) for name in CPUS]


# From the name in a marker to a function of `root`.
TABLES = {
    "results": _trained(tables.SUMMARY_COLUMNS, tables.Training.summary),
    "results-full": _trained(tables.TRAINING_COLUMNS, tables.Training.full),
    "results-unseen": _trained(tables.UNSEEN_COLUMNS, tables.Training.unseen),
    "results-commands": _trained(tables.COMMAND_COLUMNS, tables.Training.how),
    "losses": _over_datasets(tables.compared),
    "lengths": _over_datasets(tables.lengths),
    "losses-mnist": _losses("accuracy-mnist"),
    "losses-cifar10": _losses("accuracy-cifar10"),
    "throughput": _rows("throughput", tables.THROUGHPUT_COLUMNS, tables.throughput),
    "dtypes": _rows("dtype_policies", tables.DTYPE_COLUMNS, tables.dtypes),
    "dtypes-amx": _rows("dtype_policies-amx", tables.DTYPE_COLUMNS, tables.dtypes),
    "augmentation": _rows("augmentation", tables.AUGMENTATION_COLUMNS, tables.augmentation),
    "loss-memory": _memory,
    "photos": _rows("photos", tables.PHOTO_COLUMNS, tables.photos),
    "photos-differences": lambda root: tables.differences(read_result("photos")["differences"]),
    **{
        f"recipes-{name}": lambda root, name=name: tables.recipes(read_result("recipes"), name)
        for name in ("few", "digits", "many")
    },
    "cold-start": _rows("cold_start", tables.COLD_START_COLUMNS, tables.cold_start),
    "evaluation": _rows("evaluation", tables.EVALUATION_COLUMNS, tables.evaluation),
    "search": _on_cpus(search_tables.search_on_cpus),
    "search-zen3": _search("hamming-zen3"),
    "search-emerald-rapids": _search("hamming-emerald-rapids"),
    "search-zen5": _search("hamming-zen5"),
    "single-query": _on_cpus(search_tables.single_query),
    "index": lambda root: search_tables.index(read_result(INDEX)),
    "index-elsewhere": lambda root: search_tables.index(read_result(INDEX_ELSEWHERE)),
    "joins": lambda root: search_tables.joins(read_result(JOINS)),
    **{
        f"index-{figure}": lambda root, figure=figure: search_tables.beside_faiss(
            read_result(INDEX), figure
        )
        for figure in search_tables.COMPARED
    },
    "serving-networks": lambda root: serving_tables.networks(read_result("serving")),
    "serving-searches": lambda root: serving_tables.searches(read_result("serving")),
    "serving-requests": lambda root: serving_tables.requests(read_result("serving")),
    "scale": lambda root: scale_tables.scale(result_if_measured("scale")),
    "scale-plan": lambda root: scale_tables.plans(result_if_measured("scale")),
    "beam": lambda root: scale_tables.beam(result_if_measured("beam")),
    "run-schema": _schema(run_directory.RUN_SCHEMA),
    "report-schema": _schema(run_directory.REPORT_SCHEMA),
    "api": _api,
}

FIGURES = {
    "badges": _badges,
    "scale-machine": lambda root: scale_tables.machine(result_if_measured("scale")),
    "beam-machine": lambda root: scale_tables.machine(result_if_measured("beam")),
    # 10^9 pairs a second at 64 bits, over the CPUs.
    "search-rate": _median_range(_at_64_bits(lambda cell: cell["rates"]["tfhash"])),
    "search-times-faiss": _median_range(_at_64_bits(lambda cell: cell["times_faiss"])),
    # Time of one query, as a multiple of the time to read the codes.
    "single-query-times-reading": _median_range(
        lambda: [read_result(name)["single_query"]["times_fastest_reading"] for name in CPUS]
    ),
    # Time of one query in a file, as a multiple of that in memory.
    "index-mapped": _median_range(
        lambda: [[c["search_mapped"] / c["search"]] for c in read_result(INDEX)["cells"].values()]
    ),
    # Fine-tuning, in percent of the images per second of a classifier.
    "finetuning-percent": _median_range(
        lambda: [cell["share"] for cell in read_result("throughput")["cells"].values()], factor=100
    ),
}


def main(arguments):
    if arguments == ["--list"]:
        print("tables:", *TABLES)
        print("figures:", *FIGURES)
        return
    if arguments:
        raise SystemExit(f"usage: write_tables.py [--list]. Received: {' '.join(arguments)}")
    for path in documents():
        text = path.read_text(encoding="utf-8")
        updated = update_document(path)
        if updated != text:
            path.write_text(updated, encoding="utf-8")
            print(f"updated {path.relative_to(ROOT)}")


def update_document(path):
    """The content that a document should have."""
    root = "../" * (len(path.relative_to(ROOT).parts) - 1)
    try:
        return update(path.read_text(encoding="utf-8"), root)
    except ValueError as error:
        raise ValueError(f"{path.relative_to(ROOT)}: {error}") from error


if __name__ == "__main__":
    main(sys.argv[1:])
