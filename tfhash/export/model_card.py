"""The model card of a version: what it is, how good it is, and how to ask it."""

import dataclasses

from tfhash.export import examples
from tfhash.models import fingerprint
from tfhash.text import listing, printable

_MAX_MESSAGE_BYTES = 4 * 2**20

_MEANINGS = {
    "images": "what the model takes; `uint8` are images, values 0 to 255",
    "image_bytes": "files, each a JPEG, PNG, GIF, BMP or WebP",
    "k": "items to find for each query, at least 1",
    "codes": "packed codes: bit j is in byte j // 8 at position j % 8, lowest first; padding is 0",
    "relaxed_codes": "relaxed codes, in [-1, 1]; a bit of the code is 1 where they are >= 0",
    "class_ids": "numbers of the classes in `assets/class_names.txt`, from 0",
    "valid": "whether the file could be read",
    "ids": "ids of the nearest items, by distance and id",
    "distances": "their distances in bits",
    "names": "their names, empty where an item has none",
}


@dataclasses.dataclass(frozen=True)
class Facts:
    """What a model card tells of a model besides its signatures.

    Attributes:
        bits: Length of the codes.
        backbone: Name of the backbone.
        parameters: Number of weights.
        fingerprint: See `tfhash.models.fingerprint`; "" for a model that Keras cannot describe.
        image_shape: `(height, width, channels)` that images are brought to; `None` if the model takes
            something else.
        class_names: Names of the classes.
        items: Number of items that a search compares; `None` without a database.
        report: The `report.json` of the training, a dictionary; `None` where there is none.
    """

    bits: int
    backbone: str
    parameters: int
    fingerprint: str
    image_shape: tuple[int, int, int] | None = None
    class_names: tuple[str, ...] = ()
    items: int | None = None
    report: dict | None = None

    @classmethod
    def of(cls, model, bits, image_shape=None, items=None, report=None):
        """The facts of a built Keras model; see the attributes for the arguments."""
        return cls(
            bits=bits,
            backbone=getattr(model, "backbone", model).name,
            parameters=model.count_params(),
            fingerprint=_fingerprint(model),
            image_shape=image_shape,
            class_names=tuple(getattr(model, "class_names", None) or ()),
            items=items,
            report=report or None,
        )


def model_card(model_name, version, signatures, facts):
    """The text of `README.md` of a version.

    Args:
        model_name: What the server calls the model.
        version: The number of the version.
        signatures: Dictionary from a name to a `tfhash.export.signature_defs.Signature`.
        facts: `Facts`.

    Returns:
        Markdown.
    """
    parts = [
        f"# {printable(model_name, 200)}, version {version}",
        f"Turns images into binary codes of {facts.bits} bits. Made by tfhash.",
        "## Model",
        _table(("", ""), _of_model(facts)),
        "## Data and quality",
        *_quality(facts.report),
        "## Signatures",
        "`n` is any number.",
        *[part for name in signatures for part in _signature(name, signatures[name])],
        "## Asking it",
        "Start a server, here with this model alone:",
        "```sh\n"
        f"tensorflow_model_server --rest_api_port={examples.REST_PORT} "
        f"--port={examples.GRPC_PORT} \\\n"
        "  --model_config_file=model.config\n```",
        "`model.config` is beside the versions, and holds the absolute path of their directory: "
        "change it there when the directory moves or a container mounts it elsewhere.",
        *_tfhash_serve(model_name, signatures),
        "REST:",
        f"```sh\n{examples.rest_example(model_name, signatures)}```",
        "gRPC, with `pip install tensorflow-serving-api`:",
        f"```python\n{examples.grpc_example(model_name, signatures)}```",
        "## What to know",
        "\n".join(f"- {note}" for note in _notes(signatures, facts)),
    ]
    return "\n\n".join(parts) + "\n"


def _tfhash_serve(model_name, signatures):
    command = examples.serve_example(model_name, signatures)
    if not command:
        return []
    files = "`RUN` is the run or the `.keras` file that the model was exported from"
    if "--index" in command:
        files += ", and `INDEX` the index"
    return [
        "Or, without TensorFlow Serving and gRPC, under the same name:",
        f"```sh\n{command}\n```",
        f"{files}.",
    ]


def _of_model(facts):
    rows = [("bits", f"{facts.bits:,}")]
    if facts.image_shape:
        rows.append(("images (height, width, channels)", " x ".join(map(str, facts.image_shape))))
    rows += [("backbone", facts.backbone), ("weights", f"{facts.parameters:,}")]
    if facts.class_names:
        names = listing(facts.class_names, most=10)
        rows.append(("classes", f"{len(facts.class_names):,}: {names}"))
    if facts.items is not None:
        rows.append(("items to search", f"{facts.items:,}"))
    if facts.fingerprint:
        rows.append(("fingerprint", f"`{facts.fingerprint}`"))
    return rows


def _quality(report):
    protocol = (report or {}).get("protocol")
    if not protocol:
        return ["Not known: the model was exported without the report of a training."]
    unseen = report.get("unseen_items", {})
    rows = [
        (f"`{name}`", _figure(value), _figure(unseen.get("metrics", {}).get(name)))
        for name, value in report.get("metrics", {}).items()
    ]
    text = (
        f"{printable(protocol['dataset'], 200)}, protocol {protocol['name']}: "
        f"{protocol['queries']:,} queries against {protocol['database_items']:,} items"
    )
    trained = protocol.get("database_trained_items")
    if trained is not None:
        text += f", {trained:,} of which the model was trained on"
    return [
        text + "; and against each other, which training never saw.",
        _table(("figure", "against the items", "against each other"), rows),
        *[f"Warning: {warning}" for warning in report.get("warnings", [])],
    ]


def _signature(name, signature):
    rows = [
        (kind, f"`{key}`", spec.dtype.name, _shape(spec), _MEANINGS.get(key, ""))
        for kind, specs in (("input", signature.inputs), ("output", signature.outputs))
        for key, spec in specs.items()
    ]
    return f"### `{name}`", _table(("", "name", "type", "shape", ""), rows)


def _shape(spec):
    if spec.shape.rank is None:
        return "scalar or [n]"
    sides = ["any" if side is None else str(side) for side in spec.shape]
    if sides and spec.shape[0] is None:
        sides[0] = "n"
    return f"[{', '.join(sides)}]" if sides else "scalar"


def _notes(signatures, facts):
    inputs = {key: spec for of in signatures.values() for key, spec in of.inputs.items()}
    outputs = {key for signature in signatures.values() for key in signature.outputs}
    if facts.image_shape:
        yield from _notes_on_images(facts.image_shape, inputs)
    if "class_ids" in outputs:
        yield (
            "`class_ids` come from the classifier, which learns in pre-training alone. Fine-tuning "
            "changes the backbone under it, so they may be wrong more often than after pre-training. "
            "Codes are not made of them."
        )
    if "valid" in outputs:
        yield _note_on_masked(outputs)
    if facts.items is not None:
        yield (
            f"The {facts.items:,} items are part of this version. To search others, export another."
        )
        yield (
            "Where requests of different `k` run as one batch, each finds as many items as the largest "
            "`k`: take the first of them."
        )
    yield (
        "Codes of other models mean something else: compare codes of one fingerprint only. A distance "
        "says how alike the model finds two images, not whether they show the same thing."
    )


def _note_on_masked(outputs):
    below = [f"`{name}`" for name in ("class_ids", "ids", "distances") if name in outputs]
    parts = ["`codes` and `relaxed_codes` are 0"]
    if below:
        parts.append(f"{', '.join(below)} are -1")
    if "names" in outputs:
        parts.append("`names` are empty")
    return (
        "A file that cannot be read does not fail its request. Its `valid` is false, its "
        f"{'; '.join(parts)}. An image may have the code 0, too: look at `valid`."
    )


def _notes_on_images(image_shape, inputs):
    height, width, channels = image_shape
    images = inputs.get("images")
    resized = []
    if "image_bytes" in inputs:
        resized.append("files")
        yield (
            "Files are decoded as in training: turned upright by EXIF, transparent pixels on white, "
            f"{'gray' if channels == 1 else 'RGB'}, the first frame of an animation. Send files rather "
            "than pixels, so that a file has one code everywhere."
        )
    if images is not None and images.shape[1] is None:
        resized.append("`images`")
    if resized:
        yield (
            f"Of {' and '.join(resized)}, those of another size are resized until they cover {height} x "
            f"{width} pixels (height x width), bilinear with antialiasing, and what stands out is cut "
            "off, the same on two sides."
        )
    if images is not None and images.dtype.name == "uint8":
        yield (
            "In JSON, TensorFlow Serving takes values above 255 for `images` and keeps their lowest 8 "
            "bits, without an error."
        )
        fit = _MAX_MESSAGE_BYTES // (height * width * channels)
        yield (
            "Messages of gRPC hold 4 MiB by default: 32 images of 224 x 224 pixels as tensors are more, "
            f"and {fit:,} of {height} x {width} fit. Files take a fraction of it."
        )


def _fingerprint(model):
    try:
        return fingerprint(model)
    except NotImplementedError:  # a class of layers without `get_config`
        return ""


def _table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(_cell(str(value)) for value in line) + " |" for line in lines
    )


def _cell(value):
    return printable(value, longest=1000).replace("|", "\\|")


def _figure(value):
    return "-" if value is None else f"{value:.4f}"
