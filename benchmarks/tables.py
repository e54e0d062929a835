"""Formats benchmark results as Markdown tables, for the benchmarks and for `write_tables.py`."""

import functools
import math
import operator
import re
import statistics

SUMMARY_COLUMNS = (
    "data",
    "bits",
    "mAP",
    "mAP, images never seen",
    "precision within radius 2",
    "accuracy of the classifier",
    "training, minutes on 2 cores",
)

TRAINING_COLUMNS = (
    "data",
    "bits",
    "queries",
    "database",
    "mAP",
    "mAP, images never seen",
    "mAP, worst to best tie order",
    "precision within radius 2",
    "accuracy of the classifier",
    "mAP of the predicted class",
    "mAP of the untrained network",
    "training + evaluation, minutes on 2 cores",
)

# What is compared with the codes, by the name of the baseline.
RIVALS = ("predicted class, whole training", "softmax code, whole training")
UNSEEN_COLUMNS = (
    "data",
    "bits",
    "mAP",
    "mAP, images never seen",
    *(f"{name}{of}" for name in RIVALS for of in (", mAP", ", images never seen")),
    "mAP at 5,000",
    "mAP at 5,000, images never seen",
)

COMMAND_COLUMNS = ("data", "seeds", "command")

THROUGHPUT_COLUMNS = (
    "bits and batch",
    "classifier, images/s",
    "fine-tuning, images/s",
    "fine-tuning / classifier",
)

DTYPE_COLUMNS = ("stage", "float32, s", "mixed bfloat16, s", "mixed bfloat16 / float32")

PHOTO_COLUMNS = (
    "photos",
    "images/s",
    "times decoded in full",
    "memory, MB",
    "without mapped files, MB",
)
AUGMENTATION_COLUMNS = (
    "augmentation",
    "tfhash, images/s",
    "Keras layers, images/s",
    "tfhash / Keras",
)

RECIPE_COLUMNS = (
    "recipe",
    "side",
    "epochs",
    "steps",
    "images trained on",
    "validation mAP",
    "mAP, images never seen",
    "seeds",
)

COLD_START_COLUMNS = ("command", "seconds")

MEMORY_COLUMNS = ("batch", "bits", "classifier, MB", "hashing loss, MB", "difference, MB")

EVALUATION_COLUMNS = (
    "bits",
    "histogram, s",
    "with all metrics, s",
    "added memory, MB",
    "usual evaluator, s",
    "usual evaluator / histogram",
)

# What a table says in place of a figure that its result does not have.
NOT_MEASURED = "not measured"


def row(cells):
    """A row of a Markdown table."""
    return "| " + " | ".join(map(str, cells)) + " |\n"


def header(columns):
    return row(columns) + row(["---"] * len(columns))


def spread(values):
    """Formats values as "median (min to max)"."""
    digits = [
        f"{value:.3g}" if value < 999.5 else f"{value:.0f}"
        for value in (statistics.median(values), min(values), max(values))
    ]
    return "{} ({} to {})".format(*digits)


def deviation(values):
    """Sample standard deviation; NaN for a single seed."""
    return statistics.stdev(values) if len(values) > 1 else math.nan


def mean_and_deviation(values):
    """Formats values as "mean ± standard deviation"; a single value stands alone."""
    mean = f"{statistics.mean(values):.4f}"
    return f"{mean} ± {deviation(values):.4f}" if len(values) > 1 else mean


class Training:
    """What `seeds.py` measured, as table cells.

    Args:
        name: Name of the result file, as `mnist-12`.
        result: Its content.
        root: Path from the document to the root of the repository, as `../`.
    """

    def __init__(self, name, result, root=""):
        self.reports = list(result["seeds"].values())
        self.bits = self.reports[0]["bits"]
        self.data = f"[{result['title']}]({root}benchmarks/results/{name}.json)"
        self.command = f"`{' '.join(result['command'])}`"
        self.seeds = ", ".join(result["seeds"])

    def values(self, *path):
        return [functools.reduce(operator.getitem, path, report) for report in self.reports]

    def mean(self, *path):
        return statistics.mean(self.values(*path))

    def mean_and_deviation(self, *path):
        return mean_and_deviation(self.values(*path))

    def both(self, figure, *path):
        """Two cells: a figure of the database, and of images never seen; "-" if not measured."""
        paths = (*path, "metrics", figure), (*path, "unseen_items", "metrics", figure)
        return [self.if_measured(*each) for each in paths]

    def if_measured(self, *path):
        try:
            return self.mean_and_deviation(*path)
        except KeyError:
            return "-"

    def accuracy(self):
        return self.if_measured("baselines", "predicted class", "accuracy")

    def minutes(self, part):
        return f"{self.mean('seconds', part) / 60:.1f}"

    def summary(self):
        """A row under `SUMMARY_COLUMNS`."""
        precision = f"{self.mean('metrics', 'precision_radius_2'):.4f}"
        figures = *self.both("map"), precision, self.accuracy(), self.minutes("training")
        return row((self.data, self.bits, *figures))

    def full(self):
        """A row under `TRAINING_COLUMNS`."""
        protocol = self.reports[0]["protocol"]
        worst, best = (self.mean("metrics", f"map_{ties}_ties") for ties in ("worst", "best"))
        cells = (
            self.data,
            self.bits,
            f"{protocol['queries']:,}",
            f"{protocol['database_items']:,}",
            *self.both("map"),
            f"{worst:.4f} to {best:.4f}",
            f"{self.mean('metrics', 'precision_radius_2'):.4f}",
            self.accuracy(),
            self.mean_and_deviation("baselines", "predicted class", "metrics", "map"),
            f"{self.mean('baselines', 'untrained network', 'metrics', 'map'):.4f}",
            f"{self.minutes('training')} + {self.minutes('evaluation')}",
        )
        return row(cells)

    def unseen(self):
        """A row under `UNSEEN_COLUMNS`."""
        rivals = [cell for name in RIVALS for cell in self.both("map", "baselines", name)]
        return row((self.data, self.bits, *self.both("map"), *rivals, *self.both("map_at_5000")))

    def how(self):
        """A row under `COMMAND_COLUMNS`."""
        return row((self.data, self.seeds, self.command))


def throughput(name, cell):
    """One cell of `throughput.py`, a row under `THROUGHPUT_COLUMNS`."""
    return row([name, *(spread(cell[figure]) for figure in ("plain", "finetune", "share"))])


def dtypes(stage, cell):
    """One stage of `dtype_policies.py`, a row under `DTYPE_COLUMNS`."""
    return row(
        [stage, *(spread(cell[figure]) for figure in ("float32", "mixed_bfloat16", "times"))]
    )


def cold_start(command, cell):
    """One command of `cold_start.py`, a row under `COLD_START_COLUMNS`."""
    return row([f"`{command}`" if command.endswith("--help") else command, spread(cell["seconds"])])


def memory(cell):
    """One cell of `loss_memory.py`, a row under `MEMORY_COLUMNS`."""
    figures = ("batch_size", "bits", "classifier_peak_mb", "hashing_peak_mb", "added_mb")
    return row([cell[figure] for figure in figures])


def photos(way, cell):
    """One way of reading of `photos.py`, a row under `PHOTO_COLUMNS`."""
    figures = ("images_per_second", "times_full", "peak_mb", "own_mb")
    return row([way, *(spread(cell[figure]) for figure in figures)])


def augmentation(name, cell):
    """One augmentation of `augmentation.py`, a row under `AUGMENTATION_COLUMNS`."""
    figures = ("tfhash", "keras", "times_keras")
    return row([name, *(spread(cell[key]) for key in figures)])


def differences(found):
    """The differences of `photos.py`, a table with a row for each margin."""
    keys = [key.split(", ") for key in found]
    margins, sides = (list(dict.fromkeys(part)) for part in zip(*keys))
    rows = [
        row(
            [
                margin,
                *("{mean:.2g} ({largest})".format(**found[f"{margin}, {side}"]) for side in sides),
            ]
        )
        for margin in margins
    ]
    return header(["", *sides]) + "".join(rows)


def evaluation(bits, cell):
    """One code length of `evaluation.py`, a row under `EVALUATION_COLUMNS`."""
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
    """The cells of an arm in a report of `accuracy.py`, one per seed, without diverged ones."""
    return [cell for cell in report["cells"].get(arm, {}).values() if "metrics" in cell]


def recipes(report, of_set):
    """The arms of a set in a report of `recipes.py`: a whole table."""
    rows = []
    for name, cells in report["cells"].items():
        found = list(cells.values())
        if found[0]["set"] != of_set:
            continue
        recipe = found[0]["recipe"]
        steps = found[0]["images"] // min(recipe["batch_size"], found[0]["train_items"])
        figures = [
            mean_and_deviation([c[f"{part}_map"] for c in found]) for part in ("val", "test")
        ]
        rows.append(
            [
                name.removeprefix(f"{of_set}: "),
                found[0]["side"],
                f"{recipe['pretrain_epochs']} + {recipe['finetune_epochs']}",
                f"{steps:,}",
                f"{found[0]['images']:,}",
                *figures,
                len(found),
            ]
        )
    return header(RECIPE_COLUMNS) + "".join(map(row, rows))


def over_seeds(report, arm, figure_of):
    """Mean and standard deviation over the seeds of an arm, or how many of them diverged."""
    cells, all_cells = finished(report, arm), report["cells"].get(arm, {})
    if len(cells) < len(all_cells):
        return f"diverged with {len(all_cells) - len(cells)} of {len(all_cells)} seeds"
    return mean_and_deviation([figure_of(cell) for cell in cells]) if cells else "-"


def mean_average_precision(cell):
    return cell["metrics"]["map"]


def precision_within_2(cell):
    return cell["metrics"]["precision_radius_2"]


def unseen_map(cell):
    return cell["unseen_items"]["metrics"]["map"]


def validation_map(cell):
    return cell["val_map"]


def losses(report):
    """The arms of a report of `accuracy.py`: a whole table."""
    figures = {"mAP": mean_average_precision, "precision within radius 2": precision_within_2}
    if report["settings"].get("validation"):
        figures |= {"mAP, images never seen": unseen_map, "validation mAP": validation_map}
    else:  # measured before validation was among images that are not trained on
        figures["validation mAP, searching training images"] = validation_map
    rows = []
    for arm, of_seeds in report["cells"].items():
        cells = finished(report, arm)
        bits = cells[0]["bits"] if cells else "-"
        found = [over_seeds(report, arm, figure_of) for figure_of in figures.values()]
        rows.append([arm, bits, *found, _distinct_codes(cells), len(of_seeds)])
    return header(["arm", "bits", *figures, "distinct codes", "seeds"]) + "".join(map(row, rows))


def _distinct_codes(cells):
    return f"{statistics.mean(c['distinct_codes'] for c in cells):,.0f}" if cells else "-"


def compared(reports):
    """Compares the losses and baselines at 12 bits on several datasets: a whole table.

    Args:
        reports: Dictionary from the title of a dataset to its report of `accuracy.py`.
    """
    measures = {"mAP": mean_average_precision, "precision within radius 2": precision_within_2}
    columns = [f"{title}, {measure}" for title in reports for measure in measures]
    rows = [
        [arm, *(over_seeds(r, arm, f) for r in reports.values() for f in measures.values())]
        for arm in next(iter(reports.values()))["cells"]
        if "," not in arm  # a comma marks a variant of a loss
    ]
    return header(["loss", *columns]) + "".join(map(row, rows))


def lengths(reports):
    """Compares the code lengths of the exponentiated loss on several datasets: a whole table.

    Args:
        reports: As in `compared`.
    """
    measures = {
        "mAP": mean_average_precision,
        "precision within radius 2": precision_within_2,
        "distinct codes": None,
    }
    rows = []
    for arm in next(iter(reports.values()))["cells"]:
        if not re.fullmatch(r"exponentiated(, \d+ bits)?", arm):
            continue
        (bits,) = {c["bits"] for report in reports.values() for c in finished(report, arm)}
        found = [
            over_seeds(report, arm, figure_of)
            if figure_of
            else _distinct_codes(finished(report, arm))
            for report in reports.values()
            for figure_of in measures.values()
        ]
        rows.append([bits, (bits + 7) // 8, *found])
    columns = [f"{title}, {measure}" for title in reports for measure in measures]
    return header(["bits", "bytes", *columns]) + "".join(map(row, rows))
