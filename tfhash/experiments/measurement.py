"""Measures the codes of a model on the queries and the database of a dataset."""

import dataclasses
import functools

import numpy as np

from tfhash import metrics
from tfhash.codes import pack_signs
from tfhash.encoding import encode_relaxed
from tfhash.experiments.settings import DENOMINATORS, WITHOUT_HITS
from tfhash.labels import each_label

# Items of each ranking that count for nDCG.
NDCG_AT = 100


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What `measure` found.

    Attributes:
        figures: The parts `metrics`, `unseen_items`, `codes` and `protocol` of a report, and
            `asymmetric` where it was asked for.
        queries, database: Packed codes, `uint8 [n, ceil(bits / 8)]`.
        histograms: `tfhash.metrics.DistanceHistograms`.
    """

    figures: dict
    queries: np.ndarray
    database: np.ndarray
    histograms: metrics.DistanceHistograms


def measure(model, splits, variant, progress, trained_items=None, asymmetric=False):
    """Encodes queries and database once and computes every figure of the report.

    Args:
        model: `HashingModel`.
        splits: `tfhash.data.Splits`.
        variant: Variant of mAP at a cut-off, see `tfhash.experiments.settings.Measure.variant`.
        progress: `Progress`.
        trained_items: How many items of the database training has seen, with or without their
            labels; `None` where that is not known.
        asymmetric: Whether to measure relaxed queries, too, as the parts `asymmetric`.

    Returns:
        `Evaluation`.
    """
    database = progress.encode(model, splits.database, "the database")
    encode = functools.partial(encode_relaxed, model)
    relaxed = progress.encode_with(
        encode, splits.queries.batches(), len(splits.queries), "the queries"
    )
    queries = pack_signs(relaxed)
    histograms, found = measure_codes(queries, database, splits, model.bits, variant)
    among_queries, of_unseen = measure_among_queries(queries, splits, model.bits, variant)
    correlation = metrics.bit_correlation(database, model.bits)
    np.fill_diagonal(correlation, 0)
    figures = {
        "metrics": found,
        "unseen_items": {
            "metrics": of_unseen,
            "database_items": len(splits.queries) - 1,
            **_count_relevant(among_queries),
        },
        "codes": {
            "distinct_codes": metrics.count_distinct_codes(database),
            "share_with_code_of_class": metrics.share_with_code_of_class(
                database, splits.database.labels
            ),
            "redundant_bits": metrics.count_redundant_bits(database, model.bits),
            "bit_balance": metrics.bit_balance(database, model.bits).round(4).tolist(),
            "largest_bit_correlation": float(np.abs(correlation).max()),
        },
        "protocol": {
            "dataset": splits.source,
            "name": splits.protocol,
            "fingerprint": splits.fingerprint(),
            "queries": len(splits.queries),
            **_count_relevant(histograms),
            "database_items": len(splits.database),
            "database_trained_items": trained_items,
            "database_classes": count_classes(splits.database.labels),
            "labels_per_item": labels_per_item(splits.database.labels),
            "train_items": len(splits.train),
            "validation_items": len(splits.validation),
            "relevant": "items that share a label with the query",
            "average_precision": {**variant, "map_k": variant["map_k"] or "all"},
            "ties": "expectation over random orders",
        },
    }
    if asymmetric:
        figures["asymmetric"], figures["unseen_items"]["asymmetric"] = measure_asymmetric(
            relaxed, database, splits, variant
        )
    return Evaluation(figures, queries, database, histograms)


def measure_asymmetric(relaxed, database, splits, variant):
    """Metrics of relaxed queries that search binary codes by the expected Hamming distance.

    Args:
        relaxed: Relaxed codes of the queries, float `[q, bits]`.
        database: Packed codes, `uint8 [n, ceil(bits / 8)]`.
        splits, variant: As in `measure_codes`.

    Returns:
        Two dictionaries from a name to a float: of the queries that search the database, and among each
        other; empty where no query has a relevant item.
    """
    labels = splits.queries.labels
    sides = (
        metrics.asymmetric_histograms(relaxed, database, labels, splits.database.labels),
        metrics.leave_one_out_asymmetric_histograms(relaxed, labels),
    )
    return tuple(metrics.summarize_asymmetric(side, **variant) for side in sides)


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


def measure_among_queries(queries, splits, bits, variant):
    """Metrics of the queries among each other: each searches all others, which are as unseen as it is.

    Args:
        queries: Packed codes of the queries, `uint8 [q, ceil(bits / 8)]`.
        splits, bits, variant: As in `measure_codes`.

    Returns:
        `(histograms, found)`, as `measure_codes`; nothing is found if no query has a relevant item
        among the others.
    """
    sides = queries, splits.queries.labels
    histograms = metrics.leave_one_out_histograms(*sides, bits)
    if not metrics.count_queries_with_relevant_items(histograms):
        return histograms, {}
    found = metrics.summarize(histograms, **variant)
    if splits.has_several_labels:
        shared = metrics.leave_one_out_shared_label_histograms(*sides, bits)
        found[f"ndcg_at_{NDCG_AT}"] = metrics.mean_ndcg(shared, NDCG_AT)
    return histograms, found


def _count_relevant(histograms):
    return {
        "queries_with_relevant_items": metrics.count_queries_with_relevant_items(histograms),
        "relevant_items_per_query": round(float(histograms.relevant.sum(axis=1).mean()), 2),
    }


def count_classes(labels):
    """Number of classes that some items have; labels are integers `[n]` or multi-hot `[n, C]`."""
    return len(np.unique(each_label(labels)[1]))


def labels_per_item(labels):
    """Mean number of labels of an item; labels are integers `[n]` or multi-hot `[n, C]`."""
    return len(each_label(labels)[1]) / len(labels)


def variant_in_words(average_precision):
    """What mAP of a report means, a sentence for each variant."""
    words = ["mAP over whole rankings, ties in random order"]
    if (k := average_precision["map_k"]) != "all":
        words.append(
            f"mAP at {k} over the {k} nearest, ties in random order; divided by "
            f"{DENOMINATORS[average_precision['denominator']]}; "
            f"{WITHOUT_HITS[average_precision['without_hits']]}"
        )
    return words
