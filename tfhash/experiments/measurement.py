"""Measures the codes of a model on the queries and the database of a dataset."""

import dataclasses

import numpy as np

from tfhash import metrics
from tfhash.experiments.settings import DENOMINATORS, WITHOUT_HITS
from tfhash.labels import each_label

# Items of each ranking that count for nDCG.
NDCG_AT = 100


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What `measure` found.

    Attributes:
        figures: The parts `metrics`, `codes` and `protocol` of a report.
        queries, database: Packed codes, `uint8 [n, ceil(bits / 8)]`.
        histograms: `tfhash.metrics.DistanceHistograms`.
    """

    figures: dict
    queries: np.ndarray
    database: np.ndarray
    histograms: metrics.DistanceHistograms


def measure(model, splits, variant, progress):
    """Encodes queries and database once and computes every figure of the report.

    Args:
        model: `HashingModel`.
        splits: `tfhash.data.Splits`.
        variant: Variant of mAP, see `tfhash.experiments.settings.Measure.variant`.
        progress: `Progress`.

    Returns:
        `Evaluation`.
    """
    database = progress.encode(model, splits.database, "the database")
    queries = progress.encode(model, splits.queries, "the queries")
    histograms, found = measure_codes(queries, database, splits, model.bits, variant)
    correlation = metrics.bit_correlation(database, model.bits)
    np.fill_diagonal(correlation, 0)
    figures = {
        "metrics": found,
        "codes": {
            "distinct_codes": metrics.count_distinct_codes(database),
            "bit_balance": metrics.bit_balance(database, model.bits).round(4).tolist(),
            "largest_bit_correlation": float(np.abs(correlation).max()),
        },
        "protocol": {
            "dataset": splits.source,
            "name": splits.protocol,
            "fingerprint": splits.fingerprint(),
            "queries": len(splits.queries),
            "queries_with_relevant_items": metrics.count_queries_with_relevant_items(histograms),
            "database_items": len(splits.database),
            "database_classes": count_classes(splits.database.labels),
            "labels_per_item": labels_per_item(splits.database.labels),
            "train_items": len(splits.train),
            "validation_items": len(splits.validation),
            "relevant": "items that share a label with the query",
            "average_precision": {**variant, "map_k": variant["map_k"] or "all"},
            "ties": "expectation over random orders",
        },
    }
    return Evaluation(figures, queries, database, histograms)


def measure_codes(queries, database, splits, bits, variant):
    """Histograms and metrics of codes, with nDCG where items have several labels.

    Args:
        queries, database: Packed codes, `uint8 [n, ceil(bits / 8)]`.
        splits: `tfhash.data.Splits`, whose queries and database they are of.
        bits: Length of the codes.
        variant: As in `measure`.

    Returns:
        `(histograms, found)`: `tfhash.metrics.DistanceHistograms`, and a dictionary from a name to a
        float.
    """
    sides = queries, database, splits.queries.labels, splits.database.labels
    histograms = metrics.distance_histograms(*sides, bits)
    found = metrics.summarize(histograms, **variant)
    if splits.has_several_labels:
        shared = metrics.shared_label_histograms(*sides, bits)
        found[f"ndcg_at_{NDCG_AT}"] = metrics.mean_ndcg(shared, NDCG_AT)
    return histograms, found


def count_classes(labels):
    """Number of classes that some items have; labels are integers `[n]` or multi-hot `[n, C]`."""
    return len(np.unique(each_label(labels)[1]))


def labels_per_item(labels):
    """Mean number of labels of an item; labels are integers `[n]` or multi-hot `[n, C]`."""
    return len(each_label(labels)[1]) / len(labels)


def variant_in_words(average_precision):
    """What mAP of a report means, as a sentence."""
    if average_precision["map_k"] == "all":
        return "mAP over whole rankings, ties in random order"
    return (
        f"mAP over the {average_precision['map_k']} nearest, ties in random order; divided by "
        f"{DENOMINATORS[average_precision['denominator']]}; "
        f"{WITHOUT_HITS[average_precision['without_hits']]}"
    )
