"""How the benchmarks write their results. The tests hold the documentation against these rows."""

import functools
import math
import operator
import statistics

TRAINING_COLUMNS = (
    "data",
    "bits",
    "queries",
    "mAP",
    "worst to best order of ties",
    "precision, radius 2",
    "mAP of the predicted class",
    "mAP untrained",
    "training + evaluation, 2 cores",
    "command",
)

LOSSES_COLUMNS = (
    "arm",
    "bits",
    "mAP",
    "precision, radius 2",
    "validation mAP",
    "distinct codes",
    "seeds",
)

THROUGHPUT_COLUMNS = (
    "bits and batch",
    "plain classifier",
    "fine-tuning",
    "share of the plain classifier",
)

DTYPE_COLUMNS = ("stage", "float32", "mixed bfloat16", "times float32")

MEMORY_COLUMNS = ("batch", "bits", "as a classifier, MB", "by the hashing loss, MB", "added, MB")

EVALUATION_COLUMNS = (
    "bits",
    "histogram",
    "with all metrics",
    "added MB",
    "usual evaluator",
    "times the histogram",
)


def row(cells):
    """A row of a Markdown table."""
    return "| " + " | ".join(map(str, cells)) + " |\n"


def header(columns):
    return row(columns) + row(["---"] * len(columns))


def spread(values):
    """Median, least and most, as text."""
    digits = [
        f"{value:.3g}" if value < 999.5 else f"{value:.0f}"
        for value in (statistics.median(values), min(values), max(values))
    ]
    return "{} ({} to {})".format(*digits)


def deviation(values):
    """Standard deviation, NaN where there is one seed alone."""
    return statistics.stdev(values) if len(values) > 1 else math.nan


def mean_and_deviation(values):
    """Mean and standard deviation as text, or the one value there is."""
    mean = f"{statistics.mean(values):.4f}"
    return f"{mean} ± {deviation(values):.4f}" if len(values) > 1 else mean


def training(name, result):
    """What `seeds.py` found, as a row under `TRAINING_COLUMNS`."""
    reports = list(result["seeds"].values())
    protocol = reports[0]["protocol"]

    def values(*path):
        return [functools.reduce(operator.getitem, path, report) for report in reports]

    def mean(*path):
        return statistics.mean(values(*path))

    worst, best = mean("metrics", "map_worst_ties"), mean("metrics", "map_best_ties")
    cells = (
        f"[{result['title']}](benchmarks/results/{name}.json)",
        reports[0]["bits"],
        f"{protocol['queries']:,} against {protocol['database_items']:,}",
        mean_and_deviation(values("metrics", "map")),
        f"{worst:.4f} to {best:.4f}",
        f"{mean('metrics', 'precision_radius_2'):.4f}",
        mean_and_deviation(values("baselines", "predicted class", "metrics", "map")),
        f"{mean('baselines', 'untrained network', 'metrics', 'map'):.4f}",
        " + ".join(f"{mean('seconds', part) / 60:.1f}" for part in ("training", "evaluation"))
        + " min",
        f"`{' '.join(result['command'])}`",
    )
    return row(cells)


def throughput(name, cell):
    """What `throughput.py` found for one cell, as a row under `THROUGHPUT_COLUMNS`."""
    return row([name, *(spread(cell[figure]) for figure in ("plain", "finetune", "share"))])


def dtypes(stage, cell):
    """What `dtype_policies.py` found for one stage, as a row under `DTYPE_COLUMNS`."""
    return row(
        [stage, *(spread(cell[figure]) for figure in ("float32", "mixed_bfloat16", "times"))]
    )


def memory(cell):
    """What `loss_memory.py` found for one cell, as a row under `MEMORY_COLUMNS`."""
    figures = ("batch_size", "bits", "classifier_peak_mb", "hashing_peak_mb", "added_mb")
    return row([cell[figure] for figure in figures])


def evaluation(bits, cell):
    """What `evaluation.py` found for one length of code, as a row under `EVALUATION_COLUMNS`."""
    cells = (
        bits,
        spread(cell["histogram"]),
        spread(cell["all_metrics"]),
        cell["added_mb"],
        spread(cell["usual_evaluator"]),
        spread(cell["times"]),
    )
    return row(cells)


def finished(report, arm):
    """The cells of an arm in a report of `accuracy.py`, one a seed, without those that diverged."""
    return [cell for cell in report["cells"].get(arm, {}).values() if "metrics" in cell]


def over_seeds(report, arm, figure_of):
    """Mean and standard deviation of a figure of an arm, or how often training diverged."""
    cells, all_cells = finished(report, arm), report["cells"].get(arm, {})
    if len(cells) < len(all_cells):
        return f"diverged with {len(all_cells) - len(cells)} of {len(all_cells)} seeds"
    return mean_and_deviation([figure_of(cell) for cell in cells]) if cells else "-"


def mean_average_precision(cell):
    return cell["metrics"]["map"]


def precision_within_2(cell):
    return cell["metrics"]["precision_radius_2"]


def validation_map(cell):
    return cell["val_map"]


def losses(report):
    """What `accuracy.py` found, as rows under `LOSSES_COLUMNS`."""
    return "".join(row(_of_arm(report, arm)) for arm in report["cells"])


def _of_arm(report, arm):
    cells = finished(report, arm)
    bits = cells[0]["bits"] if cells else "-"
    figures = [
        over_seeds(report, arm, figure_of)
        for figure_of in (mean_average_precision, precision_within_2, validation_map)
    ]
    return [arm, bits, *figures, _distinct_codes(cells), len(report["cells"][arm])]


def _distinct_codes(cells):
    return f"{statistics.mean(c['distinct_codes'] for c in cells):,.0f}" if cells else "-"


def compared(reports):
    """The arms of `accuracy.py` that are losses at 12 bits, beside each other.

    Args:
        reports: Dictionary from the title of a dataset to its report.

    Returns:
        A whole table: an arm a row, mAP and precision of each dataset.
    """
    measures = {"mAP": mean_average_precision, "precision, radius 2": precision_within_2}
    columns = [f"{title}, {measure}" for title in reports for measure in measures]
    rows = [
        [arm, *(over_seeds(r, arm, f) for r in reports.values() for f in measures.values())]
        for arm in next(iter(reports.values()))["cells"]
        if "," not in arm  # what stands behind a comma is another length or way of the same loss
    ]
    return header(["loss", *columns]) + "".join(map(row, rows))
