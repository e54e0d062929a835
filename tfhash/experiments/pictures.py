"""The pictures of a run. A picture that fails is reported and loses nothing."""

import numpy as np

import tfhash_ops
from tfhash import metrics, plots
from tfhash.errors import in_words

QUERIES_SHOWN, NEIGHBORS_SHOWN = 10, 10


def draw(directory, splits, evaluation, bits, epoch_logs=None):
    """Draws the pictures of an evaluation, each by itself.

    Args:
        directory: `pathlib.Path` to write into.
        splits: `tfhash.data.Splits`.
        evaluation: `tfhash.experiments.measurement.Evaluation`.
        bits: Length of the codes.
        epoch_logs: Logs of the epochs, for the curves of training; by default none are drawn.

    Returns:
        Dictionary from the name of each picture that failed to the reason.
    """
    pictures = {
        "neighbors.png": lambda: _neighbors(splits, evaluation),
        "precision_recall.png": lambda: plots.plot_precision_recall(
            {splits.source: metrics.precision_recall_curve(evaluation.histograms)}
        ),
        "bit_balance.png": lambda: plots.plot_bit_balance(
            metrics.bit_balance(evaluation.database, bits)
        ),
    }
    if epoch_logs is not None:
        pictures["training.png"] = lambda: plots.plot_training(epoch_logs)
    failed = {}
    for name, make in pictures.items():
        try:
            plots.save_figure(make(), directory / name)
        except Exception as error:  # whatever it is, the run is worth more
            failed[name] = f"{type(error).__name__}: {in_words(error)}"[:200]
    return failed


def _neighbors(splits, evaluation):
    # The first query of each class: a fixed choice that no result can sway.
    _, first = np.unique(splits.queries.labels, return_index=True)
    chosen = first[np.linspace(0, len(first) - 1, min(QUERIES_SHOWN, len(first))).astype(int)]
    shown = min(NEIGHBORS_SHOWN, len(evaluation.database))
    distances, nearest = tfhash_ops.hamming_top_k(
        evaluation.queries[chosen], evaluation.database, shown
    )
    nearest = nearest.numpy()
    return plots.plot_neighbors(
        splits.queries.images(chosen),
        splits.database.images(nearest),
        splits.queries.labels[chosen, None] == splits.database.labels[nearest],
        distances.numpy(),
    )
