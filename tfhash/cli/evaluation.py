"""Measures a model on the queries and database of a dataset, and draws what it found."""

import keras
import numpy as np
from absl import flags

import tfhash_ops
from tfhash import codes, metrics, plots

QUERIES_SHOWN, NEIGHBORS_SHOWN = 10, 10

DENOMINATORS_IN_WORDS = {
    "possible": "divided by the hits that were possible",
    "relevant": "divided by all relevant items",
    "retrieved": "divided by the hits retrieved",
}
WITHOUT_HITS_IN_WORDS = {
    "zero": "queries without hits count as 0",
    "drop": "queries without hits are dropped",
}


def define_flags(values):
    flags.DEFINE_integer(
        "map_at", None, "Items of each ranking that count for mAP; by default all.",
        lower_bound=1, flag_values=values,
    )  # fmt: skip
    flags.DEFINE_enum(
        "map_denominator", "possible", metrics.DENOMINATORS,
        "What the precisions at the hits are divided by, with --map_at: the hits that were "
        "possible, all relevant items, or the hits retrieved.",
        flag_values=values,
    )  # fmt: skip
    flags.DEFINE_enum(
        "map_without_hits", "zero", metrics.WITHOUT_HITS,
        "With --map_at: whether a query without hits counts as 0 or is dropped.",
        flag_values=values,
    )  # fmt: skip


def check_flags(values):
    """Raises `flags.Error` if a flag of the variant of mAP would do nothing."""
    for name in ("map_denominator", "map_without_hits"):
        if values.map_at is None and values[name].value != values[name].default:
            raise flags.Error(
                f"--{name}={values[name].value} needs --map_at: over whole rankings, every query "
                "that can be answered has hits, and all variants are the same"
            )


def variant(values):
    """The variant of mAP that the flags ask for, as arguments of `metrics.summarize`."""
    return {
        "map_k": values.map_at,
        "denominator": values.map_denominator,
        "without_hits": values.map_without_hits,
    }


def evaluate(model, splits, variant):
    """Encodes queries and database once and computes every figure of the report.

    Args:
        model: `HashingModel`.
        splits: `Splits`.
        variant: That of mAP, arguments of `metrics.summarize`.

    Returns:
        `(figures, encoded)`: a dictionary for the report, and the packed codes and histograms
        that `draw` needs.
    """
    print("Encoding the database and the queries")
    database = model.encode(splits.database.batches(), verbose=1)
    queries = model.encode(splits.queries.batches(), verbose=1)
    histograms = metrics.distance_histograms(
        queries, database, splits.queries.labels, splits.database.labels, model.bits
    )
    correlation = metrics.bit_correlation(database, model.bits)
    np.fill_diagonal(correlation, 0)
    figures = {
        "metrics": metrics.summarize(histograms, **variant),
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
            "train_items": len(splits.train),
            "validation_items": len(splits.validation),
            "skipped_files": len(splits.summary.broken),
            "relevant": "items that share a label with the query",
            "average_precision": {**variant, "map_k": variant["map_k"] or "all"},
            "ties": "expectation over random orders",
        },
    }
    return figures, (queries, database, histograms)


def with_batch_statistics(model, images):
    """A copy of a model whose batch normalizations have the statistics of these images.

    Those of a model that was never trained are of no images at all, and its codes nearly all alike.

    Args:
        model: Built `HashingModel`; it stays as it is.
        images: A batch of some hundreds.
    """
    network = model.uncompiled_copy()
    layers = [
        layer
        for layer in network._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0  # one batch in place of a moving average
    network(images, training=True)
    for layer, momentum in zip(layers, momenta):
        layer.momentum = momentum
    return network


def baselines(splits, variant, untrained, classifier=None):
    """Retrieval by codes that any useful ones must beat.

    Args:
        splits, variant: As in `evaluate`.
        untrained: The network as it was before training; its codes.
        classifier: The network after pre-training, or `None` if there was none; the class that it
            predicts, as a number of as many bits as the classes need.

    Returns:
        Dictionary from the baseline's name to its bits and metrics.
    """
    print("Evaluating the baselines")
    encoders = {"untrained network": (untrained.bits, untrained.encode)}
    if classifier is not None:
        encoders["predicted class"] = class_encoder(classifier)
    found = {}
    for name, (bits, encode) in encoders.items():
        queries, database = (encode(split.batches()) for split in (splits.queries, splits.database))
        histograms = metrics.distance_histograms(
            queries, database, splits.queries.labels, splits.database.labels, bits
        )
        found[name] = {"bits": bits, "metrics": metrics.summarize(histograms, **variant)}
    return found


def class_encoder(classifier):
    """How to encode images by the class that a model predicts.

    Returns:
        `(bits, encode)`: as few bits as the classes need, and a function from images to the packed
        numbers of their classes.
    """
    bits = (classifier.num_classes - 1).bit_length()
    return bits, lambda images: _as_codes(classifier.classify(images), bits)


def _as_codes(numbers, bits):
    """Numbers below 2^bits as packed codes."""
    as_bytes = numbers.astype("<u4").view("uint8").reshape(-1, 4)
    return as_bytes[:, : codes.packed_length(bits)]


def draw(splits, encoded, bits, directory):
    """Writes the pictures of the retrieval into `directory`."""
    queries, database, histograms = encoded
    plots.save_figure(
        plots.plot_precision_recall({splits.source: metrics.precision_recall_curve(histograms)}),
        directory / "precision_recall.png",
    )
    plots.save_figure(
        plots.plot_bit_balance(metrics.bit_balance(database, bits)), directory / "bit_balance.png"
    )
    plots.save_figure(_neighbors(splits, queries, database), directory / "neighbors.png")


def table(figures):
    """The figures that people ask for first, as lines of text."""
    values, protocol = figures["metrics"], figures["protocol"]
    rows = [(name.replace("_", " "), f"{value:.4f}") for name, value in values.items()]
    rows.append(("distinct codes", f"{figures['codes']['distinct_codes']:,}"))
    # Near 0, a bit is the same for all items and tells nothing.
    rarer = min(min(share, 1 - share) for share in figures["codes"]["bit_balance"])
    rows.append(("rarer sign of the least balanced bit", f"{rarer:.4f}"))
    # At 1, two bits always agree or always differ, and one of them tells nothing.
    correlation = figures["codes"]["largest_bit_correlation"]
    rows.append(("largest correlation of two bits", f"{correlation:.4f}"))
    for name, baseline in figures.get("baselines", {}).items():
        value = baseline["metrics"]["map"]
        rows.append((f"map, {name}, {baseline['bits']} bits", f"{value:.4f}"))
    width = max(len(name) for name, _ in rows) + 2
    lines = [f"  {name:{width}}{value:>10}" for name, value in rows]
    heading = (
        f"{protocol['dataset']}, {protocol['name']}: {protocol['queries']:,} queries against "
        f"{protocol['database_items']:,} items"
    )
    if protocol.get("unlabeled_items"):
        heading += (
            f"\npre-trained on {protocol['unlabeled_items']:,} of these without their labels, too"
        )
    return "\n".join([heading, _in_words(protocol["average_precision"]), *lines])


def _in_words(variant):
    if variant["map_k"] == "all":
        return "map: of whole rankings, ties in random order"
    return (
        f"map: of the {variant['map_k']} nearest, ties in random order; "
        f"{DENOMINATORS_IN_WORDS[variant['denominator']]}; "
        f"{WITHOUT_HITS_IN_WORDS[variant['without_hits']]}"
    )


def _neighbors(splits, queries, database):
    # The first query of each class: a fixed choice that no result can sway.
    _, first = np.unique(splits.queries.labels, return_index=True)
    chosen = first[np.linspace(0, len(first) - 1, min(QUERIES_SHOWN, len(first))).astype(int)]
    shown = min(NEIGHBORS_SHOWN, len(database))
    distances, nearest = tfhash_ops.hamming_top_k(queries[chosen], database, shown)
    nearest = nearest.numpy()
    return plots.plot_neighbors(
        splits.queries.images(chosen),
        splits.database.images(nearest),
        splits.queries.labels[chosen, None] == splits.database.labels[nearest],
        distances.numpy(),
    )
