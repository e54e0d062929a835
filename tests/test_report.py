"""The printed table of a report, and what it warns of."""

import commands
import numpy as np
import pytest

from tfhash import metrics
from tfhash.experiments import make_recipe, report


@pytest.mark.parametrize(("alike", "is_warned_of"), [(5, False), (6, True), (10, True)])
@pytest.mark.parametrize(
    "labels", [np.repeat([0, 1], 10), np.repeat(np.eye(2, dtype=int), 10, axis=0)]
)
def test_a_code_that_most_of_a_class_have_is_warned_of(labels, alike, is_warned_of):
    """The first ones of each class have one code, the others each its own."""
    codes = np.arange(20, dtype="uint8")[:, None]
    codes[:alike], codes[10 : 10 + alike] = 0, 10
    share = metrics.share_with_code_of_class(codes, labels)
    assert share == (alike / 10 if is_warned_of else 0)
    figures = {
        "codes": {
            "distinct_codes": metrics.count_distinct_codes(codes),
            "share_with_code_of_class": share,
        },
        "protocol": {"database_classes": 2, "labels_per_item": 1},
    }
    warning = report.codes_that_only_tell_the_class(figures)
    assert bool(warning) == is_warned_of
    assert not warning or f"and {alike}0.0% of its items have the code" in warning


@pytest.mark.parametrize(("count", "words"), [(0, None), (1, "1 of 4 bits carries"), (2, "2 of 4")])
def test_bits_that_carry_nothing_new_are_counted_in_a_note(count, words):
    note = report.redundant_bits({"codes": {"redundant_bits": count, "bit_balance": 4 * [0.5]}})
    assert note.startswith(words) if words else note is None


@pytest.mark.parametrize(
    ("answered", "warning"),
    [(0, "No query has a relevant item"), (1, "Only 1 query has"), (99, "Only 99 q"), (100, None)],
)
def test_figures_of_few_unseen_images_are_warned_of(answered, warning):
    figures = {
        "codes": {
            "distinct_codes": 400,
            "share_with_code_of_class": 0.1,
            "redundant_bits": 0,
            "bit_balance": 12 * [0.5],
        },
        "protocol": {"database_classes": 10, "database_items": 5_000},
        "unseen_items": {"queries_with_relevant_items": answered},
    }
    found = report.warnings_of_figures(figures)
    assert found[0].startswith(warning) if warning else not found


@pytest.mark.parametrize(
    ("trained", "heading"),
    [
        (95, report.TRAINING_IMAGES),
        (8, report.SOME_TRAINING_IMAGES),
        (0, report.UNSEEN_IMAGES),
        (None, report.UNKNOWN_IMAGES),
    ],
)
def test_the_column_of_the_database_says_what_training_has_seen_of_it(trained, heading):
    figures = {
        "metrics": {"map": 0.5, "ndcg_at_100": None},
        "codes": {"distinct_codes": 2, "bit_balance": [0.5], "largest_bit_correlation": 0.0},
        "protocol": {
            "dataset": "photos",
            "name": "official",
            "queries": 4,
            "queries_with_relevant_items": 4,
            "database_items": 100,
            "database_trained_items": trained,
            "average_precision": {"map_k": "all"},
        },
    }
    lines = report.table(figures).splitlines()
    for part in heading:
        assert any(part in line for line in lines)
    # A report of before there were two figures.
    assert commands.row_of("\n".join(lines), "mAP") == ["0.5000", "-"]
    assert commands.row_of("\n".join(lines), "nDCG at 100") == ["-", "-"]


@pytest.mark.parametrize(
    ("backbone", "flag"),
    [("whitenet", "--backbone=MobileNetV3Small"), ("ConvNeXtTiny", "--weights=imagenet")],
)
def test_the_tip_to_start_from_trained_weights_names_the_flag_that_is_missing(backbone, flag):
    recipe = make_recipe("photographs", (32, 32, 3), items=100, backbone=backbone, weights="none")
    assert flag in report.tips_for_folder(recipe, are_in_color=True)[-1]
    trained = make_recipe("pretrained", (32, 32, 3), items=100, backbone="ConvNeXtTiny")
    assert not any("trained on" in tip for tip in report.tips_for_folder(trained, True))
