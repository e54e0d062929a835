"""Searches an index of images, by images or by packed codes.

    from tfhash.experiments import ImageIndex, searching

    index = ImageIndex.load("photos.index")
    queries = searching.queries_of_images(["query.jpg"], index)
    found = searching.search(index, queries, k=10)

Neither Keras nor TensorFlow is imported until images are encoded.
"""

import csv
import dataclasses
import itertools
import os
import sys

import numpy as np

from tfhash import files
from tfhash.experiments.code_files import read_codes
from tfhash.experiments.run_directory import RunDirectory
from tfhash.index import OtherModelError
from tfhash.text import printable

# So many are encoded with a bar or a line that says how long it took.
MANY_QUERIES = 256

COLUMNS = ("query", "rank", "distance", "name", "id")


@dataclasses.dataclass(frozen=True)
class Queries:
    """What is looked for.

    Attributes:
        codes: Packed codes, `uint8 [q, ceil(bits / 8)]`.
        names: A name for each: the path of an image.
        images: The images, `tfhash.data.ImageFiles`; `None` where codes were given.
        notes: What the user must know about them, a line each.
    """

    codes: np.ndarray
    names: list[str]
    images: object = None
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Item:
    """An image that was found.

    Attributes:
        distance: Bits between its code and that of the query.
        name: Its path below the indexed folder.
        id: Its id in the index.
    """

    distance: int
    name: str
    id: int


@dataclasses.dataclass(frozen=True)
class Answer:
    """What was found for a query.

    Attributes:
        query: Name of the query.
        items: List of `Item` in the order of (distance, id).
        note: What the list does not show, in words; "" if it shows all.
    """

    query: str
    items: list[Item]
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Found:
    """Answers to all queries.

    Attributes:
        answers: List of `Answer`.
        images: Number of images in the index.
        bits: Length of the codes.
        k: Number of images asked for; `None` where all within a radius were.
        radius: The radius in bits, or `None`.
    """

    answers: list[Answer]
    images: int
    bits: int
    k: int | None
    radius: int | None

    def headline(self):
        """What was asked for, in words."""
        images = f"{self.images:,} image{'' if self.images == 1 else 's'}"
        if self.k is None:
            asked = f"all within {_bits(self.radius)} among {images}"
        elif self.k > self.images:
            asked = f"{images}, which is all there are ({self.k:,} were asked for)"
        else:
            asked = f"the {self.k:,} nearest of {images}"
        return f"{asked}, codes of {_bits(self.bits)}"

    @property
    def rows(self):
        """A dictionary of `COLUMNS` for each image found."""
        return [
            dict(zip(COLUMNS, (answer.query, rank, item.distance, item.name, item.id)))
            for answer in self.answers
            for rank, item in enumerate(answer.items, 1)
        ]


def queries_of_codes(path, index):
    """Reads queries from a file of packed codes.

    Args:
        path: See `tfhash.experiments.code_files.read_codes`.
        index: `ImageIndex`.

    Returns:
        `Queries`.

    Raises:
        ValueError: If the codes do not fit the index.
        tfhash.index.OtherModelError: If the file names another model than the index.
    """
    found = read_codes(path)
    bits = index.index.bits
    if found.bits not in (None, bits):
        raise ValueError(
            f"the codes must have {bits} bits, as those of the index. Received: {found.bits} bits "
            f"in {path}"
        )
    known = found.origin.model, index.index.model
    if all(known) and known[0] != known[1]:
        raise OtherModelError(
            f"the codes in {path} come from another model than those of the index. Encode the "
            f"queries with the model of the index{_where(index)}"
        )
    notes = []
    if known[1] and not known[0]:
        notes.append(
            f"{path} does not say which model made its codes: that it is the model of the index is "
            "taken on trust"
        )
    return Queries(found.codes, found.names, notes=tuple(notes))


def queries_of_images(paths, index, model=None, skip_broken=False, progress=None):
    """Encodes images to search for.

    Args:
        paths: Paths of image files, and of folders that are searched at any depth.
        index: `ImageIndex`.
        model: Run or `.keras` file of the model; by default the one that the index remembers.
        skip_broken: Leave out image files that cannot be read.
        progress: `Progress`; by default nothing is printed.

    Returns:
        `Queries`.

    Raises:
        ValueError: If there is no image, or one that cannot be read.
        FileNotFoundError: If an image or the model does not exist.
        tfhash.index.OtherModelError: If it is not the model of the index.
    """
    from tfhash import data
    from tfhash.experiments.progress import Progress

    check_images(paths)
    found, left_out = [], []
    for path in paths:
        if not os.path.isdir(path):
            found.append(path)
            continue
        below = data.ImageFiles.below(path)
        found += [os.path.join(path, name) for name in below.names]
        left_out += [
            dataclasses.replace(item, name=os.path.join(path, item.name)) for item in below.left_out
        ]
    encoder = model_of(index, model)
    images = data.ImageFiles("", found, left_out)
    split = images.read(images.names, encoder.image_shape)
    images.check_readable(skip_broken)
    # A few take no time worth a line.
    progress = Progress(0) if progress is None or len(split) < MANY_QUERIES else progress
    codes = progress.encode_with(encoder.encode, split.batches(), len(split), "queries")
    notes = str(images.summary()).splitlines() if images.left_out else []
    notes += notes_on_model(index)
    return Queries(codes, split.names, images, tuple(notes))


def path_of_model(index, path=None):
    """Where the model of an index is; nothing is loaded.

    Args:
        index, path: As in `model_of`.

    Raises:
        ValueError: If the index does not say where its model is.
        FileNotFoundError: If the model does not exist.
    """
    path = path or index.origin.model_path
    if not path:
        raise ValueError("the index does not say where its model is. Give `model`")
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is no model {path}. Give `model`, where it is now")
    RunDirectory.of_model(path).check_model()
    return path


def check_images(paths):
    """Raises `FileNotFoundError` if a path of an image or folder does not exist."""
    for path in paths:
        if not os.path.exists(path):
            raise FileNotFoundError(f"there is no image {path}")


def model_of(index, path=None):
    """The model of an index, loaded.

    Args:
        index: `ImageIndex`.
        path: Run or `.keras` file of the model; by default the one that the index remembers.

    Raises:
        ValueError: If the index does not say where its model is.
        FileNotFoundError: If the model does not exist.
        tfhash.index.OtherModelError: If it is not the model of the index.
    """
    from tfhash.models import fingerprint

    path = path_of_model(index, path)
    model = RunDirectory.of_model(path).load_model()
    if index.index.model and fingerprint(model) != index.index.model:
        raise OtherModelError(
            f"{path} is another model than that of the index, or was trained further since the index "
            "was made. Give the model of the index, or make the index again"
        )
    if not index.index.model and model.bits != index.index.bits:
        raise OtherModelError(
            f"the model must make codes of {_bits(index.index.bits)}, as those of the index. "
            f"Received: {_bits(model.bits)} by {path}"
        )
    return model


def notes_on_model(index):
    """What the user must know about the model of an index, a line each."""
    if index.index.model:
        return []
    return ["the index does not say which model made its codes: `model` is taken on trust"]


def search(index, queries, k=10, radius=None):
    """Finds the images nearest to queries.

    Args:
        index: `ImageIndex`.
        queries: `Queries`.
        k: Number of images wanted for each query, >= 1.
        radius: Find all within so many bits, >= 0, in place of the k nearest.

    Returns:
        `Found`.

    Raises:
        ValueError: If the codes do not fit the index, or `k` or `radius` is out of range.
    """
    if radius is not None:
        within = index.index.within(queries.codes, radius)
        splits = within.row_splits.tolist()
        rows = [
            (within.distances[begin:end], within.ids[begin:end])
            for begin, end in itertools.pairwise(splits)
        ]
        k, notes = None, [""] * len(rows)
    else:
        # One more shows whether equal distances are cut.
        nearest = index.index.search(queries.codes, k + 1)
        rows = [(distances[:k], ids[:k]) for distances, ids in zip(*nearest)]
        notes = [
            _note_on_ties(index.index, code, distances, k)
            for code, distances in zip(queries.codes, nearest.distances)
        ]
    answers = [
        Answer(query, _items(index, *row), note)
        for query, row, note in zip(queries.names, rows, notes)
    ]
    return Found(answers, len(index.index), index.index.bits, k, radius)


def table(found):
    """Lines of a table for a terminal, a part for each query."""
    lines = [found.headline()]
    for answer in found.answers:
        lines += ["", printable(answer.query, 200)]
        if answer.items:
            lines.append("  distance  name")
        lines += [f"  {item.distance:8,}  {printable(item.name, 200)}" for item in answer.items]
        if note := answer.note or ("" if answer.items else "no images"):
            lines.append(f"  {note}")
    return lines


def write(found, format, path=None):
    """Writes what was found.

    Args:
        found: `Found`.
        format: `"csv"` or `"json"`.
        path: File to write, whole or not at all; standard output by default.
    """
    if format == "json":
        value = _as_json(found)
        if path is None:
            print(files.as_json(value), end="")
        else:
            files.write_json(path, value)
    elif path is None:
        _write_csv(found, sys.stdout)
    else:
        # Names that are no valid UTF-8 keep their bytes.
        with (
            files.atomic_write(path) as temporary,
            open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="") as file,
        ):
            _write_csv(found, file)


def notes_of(found, most=5):
    """Notes on the answers, a line each, for a terminal beside a file."""
    noted = [answer for answer in found.answers if answer.note]
    lines = [f"{printable(answer.query, 200)}: {answer.note}" for answer in noted[:most]]
    if len(noted) > most:
        lines.append(f"and {len(noted) - most:,} more queries with cut ties")
    return lines


def _where(index):
    return f", {index.origin.model_path}" if index.origin.model_path else ""


def _bits(number):
    return "1 bit" if number == 1 else f"{number:,} bits"


def _items(index, distances, ids):
    return [
        Item(distance, name, item)
        for distance, name, item in zip(distances.tolist(), index.names_of(ids), ids.tolist())
    ]


def _note_on_ties(index, code, distances, k):
    """Says what a list of k leaves out that is as near as its last item."""
    if len(distances) <= k or distances[k] != distances[k - 1]:
        return ""
    distance = int(distances[k])
    if distance:
        return (
            f"more images are at distance {distance:,}, as the last one here; of equal distances, "
            "smaller ids come first"
        )
    count = len(index.within(code[None], 0).ids)
    return f"{count:,} images are at distance 0; {k:,} shown, in the order of ids"


def _as_json(found):
    return {
        "images": found.images,
        "bits": found.bits,
        "k": found.k,
        "radius": found.radius,
        "queries": [
            {
                "query": answer.query,
                "note": answer.note,
                "items": [dataclasses.asdict(item) for item in answer.items],
            }
            for answer in found.answers
        ],
    }


def _write_csv(found, file):
    writer = csv.DictWriter(file, COLUMNS)
    writer.writeheader()
    writer.writerows(found.rows)
