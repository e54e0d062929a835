"""What a report says, and how it is shown."""

import re
import textwrap

import keras

from tfhash.applications import FAMILY_OF
from tfhash.experiments.measurement import NDCG_AT, variant_in_words
from tfhash.text import listing, printable

# With a larger share of items that have the code of most of their class, the codes tell the class alone.
MOSTLY_ONE_CODE = 0.5

# See `tfhash.data`.
DECODING = (
    "Files are decoded as a viewer shows them: EXIF orientation is applied, transparent pixels show a "
    "white background, 16-bit values are scaled to 8 bits. A JPEG is decoded at a half, a quarter or an "
    "eighth of its size where each side keeps twice the pixels of the larger side that the model takes "
    "(tfhash.data.decode_and_resize)."
)

LINE_LENGTH = 88

# With fewer queries that have relevant items, a figure is rough.
FEW_QUERIES = 100

# From so large a share of the database on, the database is called the training images.
MOSTLY = 0.5

# What a search is called in the heading of its column, in two lines.
TRAINING_IMAGES = ("searching the", "training images")
SOME_TRAINING_IMAGES = ("searching a database", "with training images")
UNSEEN_IMAGES = ("searching images that", "training never saw")
UNKNOWN_IMAGES = ("searching the", "database")
OTHER_QUERIES = ("searching the", "other queries")


def codes_that_only_tell_the_class(figures):
    """A warning where most items of a class have one code; `None` elsewhere.

    Args:
        figures: The parts `codes` and `protocol` of a report.

    Example: 44 codes, but nine of ten items have the code of most of their class.

    >>> figures = {
    ...     "codes": {"distinct_codes": 44, "share_with_code_of_class": 0.9},
    ...     "protocol": {"database_classes": 10, "database_items": 193},
    ... }
    >>> codes_that_only_tell_the_class(figures)[:82]
    'The database has 44 distinct codes for 10 classes, and 90.0% of its items have the'
    >>> figures["codes"]["share_with_code_of_class"] = 0.5
    >>> codes_that_only_tell_the_class(figures)
    """
    codes = figures["codes"]["distinct_codes"]
    share = figures["codes"]["share_with_code_of_class"]
    classes = figures["protocol"]["database_classes"]
    if share <= MOSTLY_ONE_CODE:
        return None
    if figures["protocol"].get("labels_per_item", 1) != 1:
        return (
            f"The database has {codes:,} distinct codes for {classes:,} labels, of which items have "
            f"several, and {share:.1%} of its items have the code of more than half of the items with "
            "one of their labels: the codes tell hardly more than one label of each item. Nearly all "
            "items with it are at distance 0 from each other, in the order of the database. This is "
            "what the loss asks for, to which one shared label is as good as three, and more bits "
            "alone do not change it. Leave out labels that many items have and that say little, such "
            "as 'animals' beside 'birds'."
        )
    return (
        f"The database has {codes:,} distinct codes for {classes:,} classes, and {share:.1%} of its "
        "items have the code of more than half of their class: the codes tell the class and hardly "
        "more. These items are at distance 0 from a query of that class, in the order of the "
        "database. This is what the loss asks for, and more bits alone do not change it. To tell "
        "items of a class apart, train with finer labels or more classes, or rank equal distances by "
        "something else, such as the features of the backbone."
    )


def redundant_bits(figures):
    """A note on bits of the database that tell nothing beyond the others; `None` if there are none.

    Args:
        figures: The parts `codes` and `protocol` of a report.

    Example:

    >>> redundant_bits({"codes": {"redundant_bits": 3, "bit_balance": 12 * [0.5]}})[:60]
    '3 of 12 bits carry nothing new: each is constant, or equal o'
    """
    count, bits = figures["codes"]["redundant_bits"], len(figures["codes"]["bit_balance"])
    if not count:
        return None
    carry, each = ("carries", "it") if count == 1 else ("carry", "each")
    return (
        f"{count:,} of {bits:,} bits {carry} nothing new: {each} is constant, or equal or opposite to "
        f"another bit on all items of the database. {bits - count:,} bits would find the same."
    )


def warnings_of_figures(figures):
    """What a reader of the figures must know about them, as sentences.

    Args:
        figures: The parts `codes`, `protocol` and `unseen_items` of a report.
    """
    found = [
        codes_that_only_tell_the_class(figures),
        redundant_bits(figures),
        _few_queries(figures["unseen_items"]),
    ]
    return [warning for warning in found if warning]


def _few_queries(unseen):
    """A warning where few queries, or none, tell how well images are found that are unseen."""
    answered = unseen["queries_with_relevant_items"]
    if not answered:
        return (
            "No query has a relevant item among the other queries: how well the codes find images "
            "that training never saw could not be measured. It takes two or more queries of a class."
        )
    if answered >= FEW_QUERIES:
        return None
    one = "1 query has" if answered == 1 else f"{answered:,} queries have"
    return (
        f"Only {one} relevant items among the images that training never saw. These figures are "
        f"rough: a single query can move mAP by {1 / answered:.2g}."
    )


def warnings_of_recipe(recipe):
    """What a reader of the figures must know about the choices of a recipe, as sentences."""
    if not recipe.frozen_epochs() or recipe.is_pretrained():
        return []
    how_long = "" if recipe.freeze else f" for {recipe.unfreeze_after} epochs"
    return [
        f"The backbone has random weights and is frozen{how_long}: the heads learn from random "
        "features. Freezing is for pre-trained weights"
    ]


def tips_for_folder(recipe, are_in_color):
    """What would help a training on a folder of images, as sentences."""
    if not are_in_color:
        return []
    tips = []
    if recipe.flip:
        tips.append(
            "Tip: training flips images horizontally. If a mirrored image would be of another class, as "
            "with text or traffic signs, pass --noflip"
        )
    if recipe.is_pretrained():
        return tips
    with_weights = "--backbone=MobileNetV3Small (weights downloaded once)"
    if recipe.backbone in FAMILY_OF:
        with_weights = "--weights=imagenet (downloaded once)"
    return [
        *tips,
        "Tip: these photos alone teach the network what images look like. Weights that were trained on "
        "ImageNet know that already, which can help, above all where photos are few: compare with "
        f"{with_weights}",
    ]


def preprocessing_in_words(model, are_files):
    """What happens to an image before the backbone, as a list of sentences.

    Args:
        model: `HashingModel`.
        are_files: As in `tfhash.data.sources.Source`, of the training images.
    """
    height, width, channels = model.image_shape
    colors = "gray" if channels == 1 else "RGB"
    steps = [DECODING] if are_files else []
    steps += [
        f"Images of another size are resized until they cover {height}x{width} pixels (height x "
        "width), bilinear with antialiasing, and what stands out is cut off, the same on two sides.",
        f"The model takes uint8 [n, {height}, {width}, {channels}], {colors}, values 0 to 255.",
    ]
    layer = model.preprocessing
    if type(layer).__name__ == "ImageScaling":
        low, high = layer.value_range
        if (low, high) == (0, 255):
            steps.append("The backbone scales values from [0, 255] as it needs them.")
        else:
            steps.append(f"The model scales values from [0, 255] to [{low:g}, {high:g}].")
        if layer.channels == 3 and channels == 1:
            steps.append("Gray images are repeated over three channels.")
    elif not isinstance(layer, keras.layers.Identity):
        steps.append(f"The model applies its layer {layer.name!r} ({type(layer).__name__}).")
    if model.flip_tta:
        steps.append("The features are the mean of those of the image and of its mirror image.")
    return steps


def table(report):
    """The figures that people ask for first, as lines of text.

    The first column searches the database of the protocol, the second the other queries.

    Args:
        report: A report, see `tfhash.experiments.run_directory.REPORT_SCHEMA`; of its parts,
            `metrics`, `codes` and `protocol` are needed.
    """
    protocol, codes = report["protocol"], report["codes"]
    trained = protocol.get("database_trained_items")
    unseen = report.get("unseen_items", {})
    heading = [
        f"{printable(protocol['dataset'], 200)}, {protocol['name']}: {protocol['queries']:,} queries against "
        f"{protocol['database_items']:,} items, and against each other"
    ]
    if protocol.get("unlabeled_items"):
        heading.append(
            f"pre-trained also on {protocol['unlabeled_items']:,} of these items, with pseudo-labels"
        )
    if path := report.get("settings", {}).get("pretrained_from"):
        heading.append(f"fine-tuning only: pre-training is that of {printable(path, 200)}")
    heading += variant_in_words(protocol["average_precision"])
    if "asymmetric" in report:
        heading.append("asymmetric: relaxed queries, ranked by expected Hamming distance")
    if (labels := protocol.get("labels_per_item", 1)) != 1:
        heading.append(f"{labels:.2f} labels an item; relevant items share one with the query")
    rows: list[tuple[str, ...]] = [
        ("", first, second)
        for first, second in zip(
            _kind_of_database(protocol), OTHER_QUERIES if trained is None else UNSEEN_IMAGES
        )
    ]
    rows.append(("items", *_counts(protocol["database_items"], unseen.get("database_items"))))
    if trained is not None:
        rows.append(("of these trained on", *_counts(trained, 0)))
    answered = unseen.get("queries_with_relevant_items")
    rows.append(
        (
            "queries with relevant items",
            *_counts(protocol["queries_with_relevant_items"], answered),
        )
    )
    if (relevant := protocol.get("relevant_items_per_query")) is not None:
        of_unseen = unseen["relevant_items_per_query"]
        rows.append(("relevant items of a query", f"{relevant:,.1f}", f"{of_unseen:,.1f}"))
    of_unseen = unseen.get("metrics", {})
    for name, value in report["metrics"].items():
        rows.append((_words(name), *_figures(value, of_unseen.get(name))))
    relaxed_unseen = unseen.get("asymmetric", {})
    for name, value in report.get("asymmetric", {}).items():
        rows.append((f"{_words(name)}, asymmetric", *_figures(value, relaxed_unseen.get(name))))
    rows.append(("distinct codes", f"{codes['distinct_codes']:,}"))
    # Near 1, the codes tell the class and nothing else. Older reports lack these two.
    if (share := codes.get("share_with_code_of_class")) is not None:
        rows.append(("items with the code of their class", f"{share:.4f}"))
    if (redundant := codes.get("redundant_bits")) is not None:
        rows.append(("bits that carry nothing new", f"{redundant:,}"))
    # Near 0, a bit is the same for all items and tells nothing.
    balance = min(min(share, 1 - share) for share in codes["bit_balance"])
    rows.append(("lowest bit balance", f"{balance:.4f}"))
    # At 1, two bits always agree or always differ, and one of them tells nothing.
    rows.append(("largest correlation of two bits", f"{codes['largest_bit_correlation']:.4f}"))
    rows += _baselines(report)
    notes = [
        textwrap.fill(f"{name}: {baseline['what']}", LINE_LENGTH)
        for name, baseline in report.get("baselines", {}).items()
        if "what" in baseline
    ]
    return "\n".join([*heading, "", *align(rows), *([""] if notes else []), *notes])


def _baselines(report):
    """Rows of the baselines, for the figures that sum up a ranking."""
    cut_off = report["protocol"]["average_precision"]["map_k"]
    rows = []
    for name, baseline in report.get("baselines", {}).items():
        of_unseen = baseline.get("unseen_items", {}).get("metrics", {})
        for figure in ("map", f"map_at_{cut_off}", f"ndcg_at_{NDCG_AT}"):
            if figure in baseline["metrics"]:
                both = baseline["metrics"][figure], of_unseen.get(figure)
                what = f"{_words(figure)}, {name}, {baseline['bits']} bits"
                rows.append((what, *_figures(*both)))
        if (accuracy := baseline.get("accuracy")) is not None:
            rows.append((f"accuracy on the queries, {name}", *_figures(accuracy, accuracy)))
    return rows


def _kind_of_database(protocol):
    """What the database is to the model, in two lines."""
    trained = protocol.get("database_trained_items")
    if trained is None:
        return UNKNOWN_IMAGES
    if not trained:
        return UNSEEN_IMAGES
    is_mostly = trained >= MOSTLY * protocol["database_items"]
    return TRAINING_IMAGES if is_mostly else SOME_TRAINING_IMAGES


def _counts(*numbers):
    return ["-" if number is None else f"{number:,}" for number in numbers]


def _figures(*values):
    # A figure that could not be measured is `None`, or NaN before it is written.
    return ["-" if value is None or value != value else f"{value:.4f}" for value in values]


def summary(report):
    """The table of a report, and its warnings."""
    warnings = [
        textwrap.fill(f"Warning: {warning}", LINE_LENGTH) for warning in report.get("warnings", [])
    ]
    return "\n\n".join([table(report), *warnings])


def align(rows):
    """Columns as lines of text: names to the left, values to the right.

    Args:
        rows: Tuples of a name and one value or more, strings.

    Example:

    >>> align([("mAP", "0.9", "0.85"), ("bits", "12")])
    ['  mAP      0.9    0.85', '  bits      12']
    """
    width = max(len(name) for name, *_ in rows)
    cell = max(len(value) for _, *values in rows for value in values) + 4
    return [f"  {name:{width}}" + "".join(f"{v:>{cell}}" for v in values) for name, *values in rows]


def classes_in_words(class_names):
    """How many classes there are, and the first names."""
    return f"{len(class_names):,} classes: {listing(class_names, most=10)}"


def _words(name):
    for ties in ("best", "worst"):
        if name.endswith(f"_{ties}_ties"):
            return f"{_words(name.removesuffix(f'_{ties}_ties'))}, {ties} tie order"
    name = name.replace("_radius_", "_within_radius_").replace("_", " ")
    return re.sub(r"^(map|ndcg)\b", lambda found: {"map": "mAP", "ndcg": "nDCG"}[found[0]], name)
