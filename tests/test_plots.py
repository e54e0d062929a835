import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import to_hex

from tfhash import plots
from tfhash.text import printable

EPOCH_LOGS = [
    {"stage": 1.0, "loss": 2.0, "pretrain_accuracy": 0.5},
    {"stage": 2.0, "loss": 1.5, "finetune_saturation": 0.6},
    {"stage": 2.0, "loss": 1.2, "finetune_saturation": 0.7, "val_map": 0.9},
]


@pytest.mark.parametrize("channels", [1, 3])
def test_neighbors_are_framed_green_if_right_and_red_if_wrong(rng, channels):
    queries = rng.integers(0, 256, (2, 8, 8, channels), "uint8")
    neighbors = rng.integers(0, 256, (2, 3, 8, 8, channels), "uint8")
    relevant = np.array([[True, True, False], [False, True, True]])
    figure = plots.plot_neighbors(queries, neighbors, relevant, [[0, 1, 2], [3, 4, 5]])
    axes = np.array(figure.axes).reshape(2, 5)[:, 2:]
    for axis, right in zip(axes.ravel(), relevant.ravel()):
        frame = to_hex(axis.spines["left"].get_edgecolor())
        assert frame == (plots.RIGHT if right else plots.WRONG)
    assert [axis.get_xlabel() for axis in axes[0]] == ["0", "1", "2 ✗"]


def test_neighbors_of_unknown_relevance_are_gray_named_and_as_many_as_there_are(rng, tmp_path):
    image = rng.integers(0, 256, (8, 8, 3), "uint8")
    names = ["q $x$.png", "none.png"], [["_a.png", "gone.png"], []]
    figure = plots.plot_neighbors([image] * 2, [[image, None], []], None, [[0, 12], []], names)
    plots.save_figure(figure, tmp_path / "found.png")
    axes = np.array(figure.axes).reshape(2, 4)
    found = axes[0, 2:]
    assert [axis.get_xlabel() for axis in found] == ["0", "12"]
    assert [axis.texts[0].get_text() for axis in found] == names[1][0]
    assert [axis.texts[0].get_text() for axis in axes[:, 0]] == names[0]
    assert {to_hex(axis.spines["left"].get_edgecolor()) for axis in found} == {to_hex("gray")}
    assert [len(axis.images) for axis in found] == [1, 0]
    assert not any(axis.axison for axis in axes[1, 1:])


def test_shared_labels_stand_beside_distances_and_labels_below_queries(rng):
    images = rng.integers(0, 256, (3, 8, 8, 3), "uint8")
    shared = np.array([[2, 0]])
    figure = plots.plot_neighbors(
        images[:1],
        images[None, 1:],
        shared > 0,
        [[0, 13]],
        shared=shared,
        query_labels=["a$b_, a very long name indeed"],
    )
    query, _, *neighbors = figure.axes
    assert [axis.get_xlabel() for axis in neighbors] == ["0 (2)", "13 ✗"]
    assert query.get_xlabel() == "a$b_, a very long\nname indeed"
    assert not query.xaxis.label.get_parse_math()


def test_training_curves_shade_the_stages():
    loss_axis, score_axis = plots.plot_training(EPOCH_LOGS).axes
    labels = [text.get_text() for text in loss_axis.get_legend().get_texts()]
    assert labels == ["pretrain", "finetune"]
    names = [text.get_text() for text in score_axis.get_legend().get_texts()]
    epochs = [line.get_xdata().tolist() for line in score_axis.get_lines()]
    assert dict(zip(names, epochs)) == {
        "pretrain_accuracy": [1],
        "finetune_saturation": [2, 3],
        "val_map": [3],
    }


def test_precision_recall_marks_radii_that_are_apart():
    precision, recall = np.array([1.0, 1.0, 0.5, 0.1]), np.array([0.5, 0.51, 0.9, 1.0])
    figure = plots.plot_precision_recall({"codes": (precision, recall)})
    assert [text.get_text() for text in figure.axes[0].texts] == ["r=0", "r=2", "r=3"]


@pytest.mark.parametrize("name", ["p$^$q", "_photos", "$", "{x}", "two\nlines", "猫", "x" * 300])
def test_names_are_drawn_as_they_are(name, tmp_path, recwarn):
    precision, recall = np.ones(2), np.ones(2)
    curves = plots.plot_precision_recall({name: (precision, recall), "_": (precision, recall)})
    training = plots.plot_training([{"stage": 1, "loss": 1.0, name: 0.5, "_hidden": 0.1}])
    for figure, others in ((curves, ["_"]), (training, ["_hidden"])):
        plots.save_figure(figure, tmp_path / "figure.png")
        texts = [text.get_text() for text in figure.axes[-1].get_legend().get_texts()]
        assert sorted(texts) == sorted([printable(name, 40), *others])
    assert not recwarn.list


@pytest.mark.parametrize("bits", [1, 12, 64])
def test_bit_balance_has_a_bar_for_each_bit(bits):
    (axis,) = plots.plot_bit_balance(np.full(bits, 0.5)).axes
    assert len(axis.patches) == bits


@pytest.mark.parametrize(
    "figure",
    [
        plots.plot_training(EPOCH_LOGS[:1]),
        plots.plot_training([]),
        plots.plot_precision_recall({"codes": (np.ones(2), np.ones(2))}),
        plots.plot_bit_balance(np.ones(3)),
    ],
)
def test_a_figure_is_saved_as_a_picture(figure, tmp_path):
    plots.save_figure(figure, tmp_path / "new" / "figure.png")
    assert matplotlib.image.imread(tmp_path / "new" / "figure.png").std() > 0
