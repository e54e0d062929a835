"""What a version holds besides the SavedModel itself."""

import pathlib

from tfhash.export.configs import BATCH_SIZES
from tfhash.export.model_card import model_card
from tfhash.export.signature_defs import read_signatures
from tfhash.export.warmup import write_warmup

CLASS_NAMES, ITEM_NAMES, MODEL_CARD = "class_names.txt", "item_names.txt", "README.md"


def write_companions(directory, model_name, version, facts, database=None):
    """Writes names, warm-up requests and the model card of a version.

    Args:
        directory: The directory of the version, with its SavedModel.
        model_name: What a server calls the model.
        version: The number of the version.
        facts: `tfhash.export.model_card.Facts`.
        database: `tfhash.export.database.Database` that the model searches, if any.
    """
    directory = pathlib.Path(directory)
    assets = directory / "assets"
    assets.mkdir(exist_ok=True)
    if facts.class_names:
        text = "".join(f"{name}\n" for name in facts.class_names)
        (assets / CLASS_NAMES).write_text(text, encoding="utf-8")
    if database is not None:
        (assets / ITEM_NAMES).write_text(database.names_as_lines(), encoding="utf-8")
    signatures = read_signatures(directory)
    sizes = (BATCH_SIZES[0], BATCH_SIZES[-1])
    shape = {} if facts.image_shape is None else {"image_shape": facts.image_shape}
    write_warmup(directory, signatures, model_name, sizes, **shape)
    card = model_card(model_name, version, signatures, facts)
    (directory / MODEL_CARD).write_text(card, encoding="utf-8")
