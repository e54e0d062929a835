"""What a report says, and how it is shown."""

import textwrap

import keras

from tfhash.experiments.measurement import NDCG_AT, variant_in_words
from tfhash.text import listing, printable

# With at most so many codes for each class, the codes tell the class and nothing more.
FEW_CODES_PER_CLASS = 2

# See `tfhash.data`.
DECODING = (
    "Files are decoded as a viewer shows them: EXIF orientation is applied, transparent pixels show a "
    "white background, 16-bit values are scaled to 8 bits. A JPEG is decoded at a half, a quarter or an "
    "eighth of its size where each side keeps twice the pixels of the larger side that the model takes "
    "(tfhash.data.decode_and_resize)."
)

LINE_LENGTH = 88

WORDS = {
    "map": "mAP",
    "map_best_ties": "mAP, best tie order",
    "map_worst_ties": "mAP, worst tie order",
    f"ndcg_at_{NDCG_AT}": f"nDCG at {NDCG_AT}",
}


def codes_that_only_tell_the_class(figures):
    """A warning where distinct codes are hardly more than classes; `None` elsewhere.

    Args:
        figures: The parts `codes` and `protocol` of a report.

    Example: ten codes for the 5,000 items of ten classes.

    >>> figures = {
    ...     "codes": {"distinct_codes": 10},
    ...     "protocol": {"database_classes": 10, "database_items": 5_000},
    ... }
    >>> codes_that_only_tell_the_class(figures)[:50]
    'The database has 10 distinct codes for 10 classes:'
    >>> figures["codes"]["distinct_codes"] = 400
    >>> codes_that_only_tell_the_class(figures)
    """
    codes = figures["codes"]["distinct_codes"]
    classes, items = (figures["protocol"][f"database_{what}"] for what in ("classes", "items"))
    # Where each item has a code to itself, there is nothing to warn of.
    if codes > FEW_CODES_PER_CLASS * classes or 2 * codes > items:
        return None
    if figures["protocol"].get("labels_per_item", 1) != 1:
        return (
            f"The database has {codes:,} distinct codes for {classes:,} labels, of which items have "
            "several: the codes tell hardly more than one label of each item. Nearly all items with "
            "it are at distance 0 from each other, in the order of the database. This is what the "
            "loss asks for, to which one shared label is as good as three, and more bits alone do "
            "not change it. Leave out labels that many items have and that say little, such as "
            "'animals' beside 'birds'."
        )
    return (
        f"The database has {codes:,} distinct codes for {classes:,} classes: the codes tell the "
        "class and nothing more. Nearly all items of a class are at distance 0 from a query of that "
        "class, in the order of the database. This is what the loss asks for, and more bits alone "
        "do not change it. To tell items of a class apart, train with finer labels or more classes, "
        "or rank equal distances by something else, such as the features of the backbone."
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


def tips_for_folder(recipe, image_shape):
    """What would help a training on a folder of images, as sentences."""
    if recipe.is_pretrained() or image_shape[-1] == 1:
        return []
    return [
        "Tip: these photos alone teach the network what images look like. Weights that were trained on "
        "ImageNet know that already, which can help, above all where photos are few: compare with "
        "--backbone=MobileNetV3Small"
    ]


def preprocessing_in_words(model, is_from_files):
    """What happens to an image before the backbone, as a list of sentences.

    Args:
        model: `HashingModel`.
        is_from_files: Whether the training images were image files in a folder.
    """
    height, width, channels = model.image_shape
    colors = "gray" if channels == 1 else "RGB"
    steps = [DECODING] if is_from_files else []
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

    Args:
        report: A report, see `tfhash.experiments.run_directory.REPORT_SCHEMA`; of its parts,
            `metrics`, `codes` and `protocol` are needed.
    """
    protocol, codes = report["protocol"], report["codes"]
    heading = [
        f"{printable(protocol['dataset'], 200)}, {protocol['name']}: {protocol['queries']:,} queries against "
        f"{protocol['database_items']:,} items"
    ]
    if protocol.get("unlabeled_items"):
        heading.append(
            f"pre-trained also on {protocol['unlabeled_items']:,} of these, with pseudo-labels"
        )
    heading.append(variant_in_words(protocol["average_precision"]))
    if (labels := protocol.get("labels_per_item", 1)) != 1:
        heading.append(f"{labels:.2f} labels an item; relevant items share one with the query")
    rows = [(_words(name), f"{value:.4f}") for name, value in report["metrics"].items()]
    rows.append(("queries with relevant items", f"{protocol['queries_with_relevant_items']:,}"))
    rows.append(("distinct codes", f"{codes['distinct_codes']:,}"))
    # Near 0, a bit is the same for all items and tells nothing.
    balance = min(min(share, 1 - share) for share in codes["bit_balance"])
    rows.append(("lowest bit balance", f"{balance:.4f}"))
    # At 1, two bits always agree or always differ, and one of them tells nothing.
    rows.append(("largest correlation of two bits", f"{codes['largest_bit_correlation']:.4f}"))
    for name, baseline in report.get("baselines", {}).items():
        value = baseline["metrics"]["map"]
        rows.append((f"mAP, {name}, {baseline['bits']} bits", f"{value:.4f}"))
        if (value := baseline["metrics"].get(f"ndcg_at_{NDCG_AT}")) is not None:
            what = f"nDCG at {NDCG_AT}, {name}, {baseline['bits']} bits"
            rows.append((what, f"{value:.4f}"))
    return "\n".join([*heading, *align(rows)])


def summary(report):
    """The table of a report, and its warnings."""
    warnings = [
        textwrap.fill(f"Warning: {warning}", LINE_LENGTH) for warning in report.get("warnings", [])
    ]
    return "\n\n".join([table(report), *warnings])


def align(rows):
    """Two columns as lines of text: names to the left, values to the right.

    Example:

    >>> align([("mAP", "0.9"), ("bits", "12")])
    ['  mAP          0.9', '  bits          12']
    """
    width = max(len(name) for name, _ in rows) + 2
    return [f"  {name:{width}}{value:>10}" for name, value in rows]


def classes_in_words(class_names):
    """How many classes there are, and the first names."""
    return f"{len(class_names):,} classes: {listing(class_names, most=10)}"


def _words(name):
    if name in WORDS:
        return WORDS[name]
    name = name.replace("_radius_", "_within_radius_").replace("_", " ")
    return name.replace("map at", "mAP at")
