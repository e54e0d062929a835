"""The pictures of a run. A picture that fails is reported and loses nothing."""

import numpy as np

import tfhash_ops
from tfhash import metrics, plots
from tfhash.errors import in_words
from tfhash.labels import count_shared, each_label, lists

QUERIES_SHOWN, NEIGHBORS_SHOWN = 10, 10


def draw(directory, splits, evaluation, bits, progress, epoch_logs=None):
    """Draws the pictures of an evaluation, each by itself, and says which ones failed.

    Args:
        directory: `pathlib.Path` to write into.
        splits: `tfhash.data.Splits`.
        evaluation: `tfhash.experiments.measurement.Evaluation`.
        bits: Length of the codes.
        progress: `tfhash.experiments.progress.Progress`.
        epoch_logs: Logs of the epochs, for the curves of training; by default none are drawn.
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
    for name, make in pictures.items():
        try:
            plots.save_figure(make(), directory / name)
        except Exception as error:  # whatever it is, the run is worth more
            reason = f"{type(error).__name__}: {in_words(error)}"[:200]
            progress.say(f"could not draw pictures/{name}: {reason}")


def _neighbors(splits, evaluation):
    labels = splits.queries.labels
    chosen = first_of_each_class(labels)
    chosen = chosen[np.linspace(0, len(chosen) - 1, min(QUERIES_SHOWN, len(chosen))).astype(int)]
    shown = min(NEIGHBORS_SHOWN, len(evaluation.database))
    distances, nearest = tfhash_ops.hamming_top_k(
        evaluation.queries[chosen], evaluation.database, shown
    )
    nearest = nearest.numpy()
    of_items = splits.database.labels[nearest]
    shared = np.array(
        [count_shared(labels[[i]], items)[0] for i, items in zip(chosen, of_items, strict=True)]
    )
    several = {}
    if splits.has_several_labels:
        names = [[splits.classes[c] for c in of_query] for of_query in lists(labels[chosen])]
        several = {"shared": shared, "query_labels": [", ".join(of_query) for of_query in names]}
    return plots.plot_neighbors(
        splits.queries.images(chosen),
        splits.database.images(nearest),
        shared > 0,
        distances.numpy(),
        **several,
    )


def first_of_each_class(labels):
    """The first item of each class, each item once: a fixed choice that no result can sway.

    Args:
        labels: Integers `[n]` or multi-hot `[n, C]`, NumPy.

    Returns:
        NumPy `int64 [at most C]`, in the order of the classes. An item that is the first of several
        classes stands for the first of these.

    Example:

    >>> first_of_each_class(np.array([2, 0, 2])).tolist()
    [1, 0]
    >>> first_of_each_class(np.array([[0, 1, 1], [1, 1, 0]])).tolist()
    [1, 0]
    """
    items, classes = each_label(labels)
    _, first = np.unique(classes, return_index=True)
    found = items[first]
    return found[np.sort(np.unique(found, return_index=True)[1])]
