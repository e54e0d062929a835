"""Pictures of what a model learned, as matplotlib figures.

Names are drawn as they are: `$`, a leading `_` or a newline in them has no meaning.
"""

import math
import textwrap
import warnings

import numpy as np
from matplotlib.figure import Figure

from tfhash import files
from tfhash.text import printable

RIGHT, WRONG = "#1a9850", "#d73027"
STAGE_COLORS = {1: "#fee8c8", 2: "#deebf7"}
STAGE_NAMES = {1: "pretrain", 2: "finetune"}

# Logs that are drawn as losses, or not at all.
NOT_SCORES = {"loss", "pretrain_loss", "finetune_loss", "stage"}


def plot_neighbors(
    query_images,
    neighbor_images,
    relevant,
    distances,
    names=None,
    *,
    shared=None,
    query_labels=None,
):
    """Draws queries, each with its nearest items: relevant ones framed green, others red.

    Args:
        query_images: `[q, height, width, channels]`, values 0 to 255.
        neighbor_images: `[q, k, height, width, channels]`, nearest first. Or lists of images, as many
            as a query has items; `None` is drawn as a gray field for an image that is not there.
        relevant: Booleans `[q, k]`, True where an item shares a label with its query. `None` where
            that is not known; then frames are gray.
        distances: Hamming distances `[q, k]`, or lists of numbers or of strings to write.
        names: `(names of the queries, names of their items)`, to be drawn below the images.
        shared: Number of labels that an item shares with its query, integers `[q, k]`, to write
            beside the distance; by default none is written.
        query_labels: Labels of each query in words, to write below it; by default none are.

    Returns:
        `matplotlib.figure.Figure`.

    Example: one query with its two nearest items.

    >>> images = np.zeros((3, 8, 8, 1), "uint8")
    >>> figure = plot_neighbors(images[:1], images[None, 1:], [[True, False]], [[0, 2]])
    >>> len(figure.axes)
    4
    """
    rows, columns = len(distances), max(1, max(map(len, distances)))
    height = 1.3 if query_labels is not None else 1.05 if names is None else 1.15
    size = 0.9 * (columns + 1.4), height * rows + 0.6
    figure = Figure(figsize=size, layout="constrained")
    ratios = [1, 0.2] + [1] * columns
    axes = figure.subplots(rows, columns + 2, squeeze=False, width_ratios=ratios)
    for row in range(rows):
        _show(axes[row, 0], query_images[row], "black")
        _caption(axes[row, 0], "", names and names[0][row])
        if query_labels is not None:
            _name(axes[row, 0], query_labels[row])
        for axis in (axes[row, 1], *axes[row, len(distances[row]) + 2 :]):
            axis.axis("off")
        for column, distance in enumerate(distances[row]):
            axis, color, mark = axes[row, column + 2], "gray", ""
            if relevant is not None:
                right = relevant[row][column]
                color, mark = (RIGHT, "") if right else (WRONG, " ✗")
                if shared is not None and right:
                    mark = f" ({shared[row][column]})"
            _show(axis, neighbor_images[row][column], color)
            _caption(axis, f"{distance}{mark}", names and names[1][row][column])
    axes[0, 0].set_title("query", fontsize=9)
    first = axes[0, 2]
    words = "nearest items, with distance in bits"
    if shared is not None:
        words += " (and number of shared labels)"
    title = first.text(0, 1.08, words, fontsize=9, transform=first.transAxes)
    title.set_in_layout(False)  # it is wider than its column
    return figure


def plot_precision_recall(curves):
    """Draws precision against recall within Hamming radii 0, 1, 2, ...

    Args:
        curves: Dictionary from a name to `(precision, recall)`, as
            `tfhash.metrics.precision_recall_curve` returns them.

    Returns:
        `matplotlib.figure.Figure`.

    Example:

    >>> figure = plot_precision_recall({"codes": ([1.0, 0.5], [0.4, 1.0])})
    >>> figure.axes[0].get_xlabel()
    'recall'
    """
    figure = Figure(figsize=(5.5, 4), layout="constrained")
    axis = figure.subplots()
    lines = []
    for precision, recall in curves.values():
        lines += axis.plot(recall, precision, marker="o", markersize=4)
        _mark_radii(axis, precision, recall)
    axis.set(
        xlabel="recall", ylabel="precision", xlim=(0, 1.05), ylim=(0, 1.05),
        title="Precision and recall within Hamming radius r",
    )  # fmt: skip
    axis.grid(alpha=0.3)
    _legend(axis, lines, curves, loc="lower left")
    return figure


def plot_training(epoch_logs):
    """Draws losses and scores by epoch, and shades the stages.

    Args:
        epoch_logs: One dictionary of logs for each epoch, as
            `tfhash.callbacks.TwoStageTraining.epoch_logs`.

    Returns:
        `matplotlib.figure.Figure`.

    Example:

    >>> figure = plot_training([{"stage": 1, "loss": 2.0}, {"stage": 2, "loss": 1.0, "val_map": 0.9}])
    >>> [axis.get_ylabel() for axis in figure.axes]
    ['loss', 'score']
    """
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    loss_axis, score_axis = figure.subplots(2, 1, sharex=True)
    epochs = np.arange(1, len(epoch_logs) + 1)
    shades = {}
    for stage, color in STAGE_COLORS.items():
        inside = epochs[[logs.get("stage") == stage for logs in epoch_logs]]
        for axis in (score_axis, loss_axis) if len(inside) else ():
            shades[STAGE_NAMES[stage]] = axis.axvspan(
                inside[0] - 0.5, inside[-1] + 0.5, color=color, zorder=0
            )
        # The stages minimize different losses: one line would suggest a jump.
        losses = [logs["loss"] for logs in epoch_logs if logs.get("stage") == stage]
        loss_axis.plot(inside, losses, marker="o", markersize=3, color="black")
    names = sorted({name for logs in epoch_logs for name in logs} - NOT_SCORES)
    scores = []
    for name in names:
        points = [(e, logs[name]) for e, logs in zip(epochs, epoch_logs) if name in logs]
        scores += score_axis.plot(*zip(*points), marker="o", markersize=3)
    loss_axis.set(ylabel="loss", yscale="log")
    score_axis.set(xlabel="epoch", ylabel="score")
    _legend(loss_axis, shades.values(), shades, fontsize=8, loc="upper right")
    _legend(score_axis, scores, names, fontsize=8, loc="lower right")
    score_axis.xaxis.get_major_locator().set_params(integer=True)
    return figure


def plot_bit_balance(balance):
    """Draws how often each bit is +1. A bit at 0 or 1 carries no information.

    Args:
        balance: Float `[bits]`, as `tfhash.metrics.bit_balance` returns it.

    Returns:
        `matplotlib.figure.Figure`.

    Example:

    >>> plot_bit_balance([0.5, 0.25]).axes[0].get_title()
    'Bit balance'
    """
    figure = Figure(figsize=(max(4.0, 0.15 * len(balance) + 2), 3), layout="constrained")
    axis = figure.subplots()
    axis.bar(np.arange(len(balance)), balance, color="#4575b4")
    axis.axhline(0.5, color="black", linewidth=0.8, linestyle="--")
    axis.set(xlabel="bit", ylabel="share of items with +1", ylim=(0, 1), title="Bit balance")
    axis.set_xticks(range(0, len(balance), math.ceil(len(balance) / 16)))
    return figure


def save_figure(figure, path):
    """Writes a figure as an image file, atomically.

    Args:
        figure: `matplotlib.figure.Figure`.
        path: File, whose ending says the format: `.png`, `.pdf`, `.svg` and others of matplotlib.

    Raises:
        OSError: If writing fails; the file is unchanged.
        ValueError: If matplotlib does not know the format.

    Example:

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "balance.png"
    >>> save_figure(plot_bit_balance([0.5, 0.25]), path)
    >>> path.exists()
    True
    """
    with files.atomic_write(path) as temporary, warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure.savefig(temporary, dpi=130)


def _legend(axis, handles, names, **arguments):
    """A legend that shows names as they are: `$` is no formula, and a leading `_` hides nothing."""
    handles = list(handles)
    if not handles:
        return
    legend = axis.legend(handles, ["name"] * len(handles), **arguments)
    for text, name in zip(legend.get_texts(), names):
        text.set_parse_math(False)
        text.set_text(printable(name, longest=40))


def _name(axis, name):
    """Writes a name below an image, on two lines at most."""
    lines = textwrap.wrap(printable(name, longest=34), 17)[:2]
    label = axis.set_xlabel("\n".join(lines), fontsize=6, labelpad=2)
    label.set_parse_math(False)
    label.set_in_layout(False)  # it may be wider than its column


def _mark_radii(axis, precision, recall, apart=0.06):
    """Labels points with their radius, except those close to a labeled one."""
    last = None
    for radius, point in enumerate(zip(recall, precision)):
        if last is None or math.dist(point, last) > apart:
            axis.annotate(
                f"r={radius}", point, (-6, -3), textcoords="offset points", fontsize=8, ha="right"
            )
            last = point


def _caption(axis, text, name):
    axis.set_xlabel(text, fontsize=8, labelpad=2)
    if name is not None:
        # Below the label, and short: names that begin alike end in what tells them apart.
        shown = printable(name, longest=18)
        below = {"xytext": (0, -12), "textcoords": "offset points", "parse_math": False}
        axis.annotate(shown, (0.5, 0), xycoords="axes fraction", ha="center", va="top",
                      fontsize=5, **below)  # fmt: skip


def _show(axis, image, color):
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set(color=color, linewidth=2)
    if image is None:
        axis.set(facecolor="lightgray", box_aspect=1)
        return
    image = np.asarray(image)
    image = image[..., 0] if image.shape[-1] == 1 else image
    axis.imshow(image, cmap="gray", vmin=0, vmax=255)
