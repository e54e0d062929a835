"""Requests and answers of the predict API, in the row and column formats of TensorFlow Serving.

| format | request | answer |
| --- | --- | --- |
| row | `{"instances": [...]}`, a value or an object of named values for each image | `{"predictions": [...]}` |
| column | `{"inputs": ...}`, a list or an object of named lists | `{"outputs": {...}}` |
"""

import base64
import binascii
import dataclasses
import json
import reprlib

from tfhash.experiments.serving.request_error import RequestError

BYTES, PIXELS, COUNT = "image_bytes", "images", "k"

# The inputs of each signature.
ENCODE = {"encode": (PIXELS,), "encode_bytes": (BYTES,), "serving_default": (BYTES,)}
SEARCH = {"search": (PIXELS, COUNT), "search_bytes": (BYTES, COUNT)}

# Images in a request, and lists of pixels: one for each pixel, row and image.
MOST_IMAGES = 1024
MOST_LISTS = 10_000_000

# The most that a request needs of each character. As bytes, an object or a list of Python takes 25
# times its text. An image is at most {"image_bytes": {"b64": "..."}, "k": 1}; the rest is the frame.
_MOST_OF = {
    "{": 2 * MOST_IMAGES + 8,
    '"': 8 * MOST_IMAGES + 32,
    "[": MOST_LISTS + 8,
}

_KEYS = ("signature_name", "instances", "inputs")
_LARGEST_K = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Request:
    """A request.

    Attributes:
        signature: Name of the signature.
        is_row: Whether it is in the row format, as the answer will be.
        is_files: Whether the images are contents of image files, and not pixels.
        images: Bytes for each image, or nested lists of pixels that are not checked yet.
        k: Number of items to find; `None` where codes are asked for.
    """

    signature: str
    is_row: bool
    is_files: bool
    images: list
    k: int | None

    def __len__(self):
        return len(self.images)


def read(body, signatures):
    """Reads a request.

    Args:
        body: Bytes of JSON.
        signatures: Dictionary from the name of a signature to the names of its inputs.

    Returns:
        `Request`.

    Raises:
        RequestError: If it is malformed, or would take much more memory than its bytes.
    """
    _check_memory(body)
    value = _parse(body)
    if not isinstance(value, dict):
        raise RequestError(f"the body must be a JSON object. Received: {_kind(value)}")
    for key in value:
        if key not in _KEYS:
            raise RequestError(
                f"the keys of a request are {', '.join(_KEYS)}. Received: {_short(key)}"
            )
    signature = value.get("signature_name") or "serving_default"
    if not isinstance(signature, str) or signature not in signatures:
        hint = ". To search, start `tfhash serve` with --index" if signature in [*SEARCH] else ""
        raise RequestError(
            f"`signature_name` must be one of {', '.join(signatures)}. Received: "
            f"{_short(signature)}{hint}"
        )
    if ("instances" in value) == ("inputs" in value):
        received = "both" if "inputs" in value else "neither"
        raise RequestError(
            "a request must have one of `instances` (row format) and `inputs` (column format). "
            f"Received: {received}"
        )
    names = signatures[signature]
    is_row = "instances" in value
    columns = _of_rows(value["instances"], names) if is_row else _of_columns(value["inputs"], names)
    images = columns[names[0]]
    if not isinstance(images, list):
        raise RequestError(
            f"`{names[0]}` must be a list with an element for each image. Received: "
            f"{_kind(images)}. For one image send a list of one"
        )
    is_files = names[0] == BYTES
    return Request(
        signature,
        is_row,
        is_files,
        [_contents(image, i) for i, image in enumerate(images)] if is_files else images,
        _count(columns[COUNT], len(images)) if COUNT in names else None,
    )


def write(request, outputs):
    """The answer to a request, bytes of JSON.

    Args:
        request: `Request`.
        outputs: Dictionary from a name to an array with a row for each image.
    """
    columns = {name: array.tolist() for name, array in outputs.items()}
    answer: dict[str, object] = {"outputs": columns}
    if request.is_row:
        answer = {"predictions": [dict(zip(columns, row)) for row in zip(*columns.values())]}
    # Names that are no valid UTF-8 hold surrogates, which are written as escapes.
    return json.dumps(answer, allow_nan=False).encode("ascii")


def _check_memory(body):
    for character, most in _MOST_OF.items():
        if (count := body.count(character.encode())) > most:
            raise RequestError(
                f"a request has at most {MOST_IMAGES:,} images, and {MOST_LISTS:,} lists of pixels. "
                f"Received: {count:,} times {character}, of which a request needs {most:,} at most. "
                "Send fewer images in a request, or send files",
                413,
            )


def _parse(body):
    def refuse(constant):
        raise ValueError(f"{constant} is no JSON")

    try:
        return json.loads(body, parse_constant=refuse)
    except RecursionError:
        raise RequestError("the body must be JSON. Received: lists too deep to be read") from None
    except ValueError as error:
        raise RequestError(
            f"the body must be JSON. Received: {len(body):,} bytes, {error}"
        ) from None


def _of_rows(rows, names):
    if not isinstance(rows, list) or not rows:
        raise RequestError(
            "`instances` must be a list with an element for each image. Received: "
            f"{'an empty list' if rows == [] else _kind(rows)}"
        )
    columns: dict[str, list] = {name: [] for name in names}
    is_named = _is_named(rows[0])
    for i, row in enumerate(rows):
        if _is_named(row) != is_named:
            raise RequestError(
                "the elements of `instances` must be all objects of named inputs, or all values. "
                f"Received: {_kind(row)} as element {i}"
            )
        if not is_named:
            if len(names) > 1:
                raise RequestError(
                    f"each element of `instances` must be an object with {_listed(names)}. "
                    f"Received: {_kind(row)} as element {i}"
                )
            row = {names[0]: row}
        _check_names(row, names, f"element {i} of `instances`")
        for name in names:
            columns[name].append(row[name])
    return columns


def _of_columns(inputs, names):
    if not _is_named(inputs):
        if len(names) > 1:
            raise RequestError(
                f"`inputs` must be an object with {_listed(names)}. Received: {_kind(inputs)}"
            )
        inputs = {names[0]: inputs}
    _check_names(inputs, names, "`inputs`")
    return inputs


def _is_named(value):
    return isinstance(value, dict) and set(value) != {"b64"}


def _check_names(given, names, where):
    if set(given) != set(names):
        received = ", ".join(map(_short, given)) or "none"
        raise RequestError(f"{where} must have {_listed(names)}. Received: {received}")


def _contents(value, i):
    if not isinstance(value, dict) or set(value) != {"b64"} or not isinstance(value["b64"], str):
        raise RequestError(
            'an image file must be written as {"b64": "..."}, in base64. Received: '
            f"{_kind(value)} as image {i}"
        )
    text = value["b64"]
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(f"image {i} is no valid base64: {error}") from None


def _count(value, images):
    counts = value if isinstance(value, list) else [value]
    if not all(type(count) is int and 1 <= count <= _LARGEST_K for count in counts):
        raise RequestError(
            f"`k` must be an integer from 1 to {_LARGEST_K}. Received: {_short(value)}"
        )
    if isinstance(value, list) and len(value) != images:
        raise RequestError(
            f"`k` must be one integer, or one for each of {images} images. Received: {len(value)}"
        )
    if len(set(counts)) > 1:
        raise RequestError(
            f"`k` must be the same for all images of a request. Received: {_short(value)}"
        )
    return counts[0] if counts else 1


def _listed(names):
    return " and ".join(f"`{name}`" for name in names)


def _short(value):
    return reprlib.repr(value)


def _kind(value):
    kinds = {dict: "an object", list: "a list", str: "a string", type(None): "null"}
    return kinds.get(type(value)) or f"{_short(value)}"
