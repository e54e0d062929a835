"""Searches an index of images, by images or by packed codes.

    from tfhash.experiments import ImageIndex, searching

    index = ImageIndex.load("photos.index")
    queries = searching.queries_of_images(["query.jpg"], index)
    found = searching.search(index, queries, k=10)

Neither Keras nor TensorFlow is imported until images are encoded.
"""

import dataclasses
import functools
import itertools
import os

import numpy as np

from tfhash.codes import pack_signs
from tfhash.experiments.code_files import read_codes
from tfhash.experiments.run_directory import RunDirectory
from tfhash.experiments.search_results import (
    Answer,
    Found,
    Item,
    bits_in_words,
    distance_in_words,
)
from tfhash.index import OtherModelError

# So many are encoded with a bar or a line that says how long it took.
MANY_QUERIES = 256


@dataclasses.dataclass(frozen=True)
class Queries:
    """What is looked for.

    Attributes:
        codes: Packed codes, `uint8 [q, ceil(bits / 8)]`.
        names: A name for each: the path of an image.
        images: The images, `tfhash.data.ImageFiles`; `None` where codes were given.
        relaxed: Relaxed codes, float32 `[q, bits]`; `None` where codes were given.
        notes: What the user must know about them, a line each.
    """

    codes: np.ndarray
    names: list[str]
    images: object = None
    relaxed: np.ndarray | None = None
    notes: tuple[str, ...] = ()


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
    from tfhash.encoding import encode_relaxed
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
    encode = functools.partial(encode_relaxed, encoder)
    relaxed = progress.encode_with(encode, split.batches(), len(split), "queries")
    notes = str(images.summary()).splitlines() if images.left_out else []
    notes += notes_on_model(index)
    return Queries(pack_signs(relaxed), split.names, images, relaxed, tuple(notes))


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
            f"the model must make codes of {bits_in_words(index.index.bits)}, as those of the index. "
            f"Received: {bits_in_words(model.bits)} by {path}"
        )
    return model


def notes_on_model(index):
    """What the user must know about the model of an index, a line each."""
    if index.index.model:
        return []
    return ["the index does not say which model made its codes: `model` is taken on trust"]


def search(index, queries, k=10, radius=None, asymmetric=False):
    """Finds the images nearest to queries.

    Args:
        index: `ImageIndex`.
        queries: `Queries`.
        k: Number of images wanted for each query, >= 1.
        radius: Find all within so many bits, >= 0, in place of the k nearest.
        asymmetric: Rank by the expected Hamming distance of the relaxed codes of the queries, which
            must be images.

    Returns:
        `Found`.

    Raises:
        ValueError: If the codes do not fit the index, `k` or `radius` is out of range, or what is
            asked for cannot be searched by relaxed codes.
    """
    if asymmetric and queries.relaxed is None:
        raise ValueError("`asymmetric` needs queries that are images: packed codes are not relaxed")
    if asymmetric and radius is not None:
        raise ValueError("`asymmetric` finds the `k` nearest. Leave out `radius`")
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
        if asymmetric:
            nearest = index.index.search_asymmetric(queries.relaxed, k + 1)
        else:
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
    return Found(answers, len(index.index), index.index.bits, k, radius, asymmetric)


def _where(index):
    return f", {index.origin.model_path}" if index.origin.model_path else ""


def _items(index, distances, ids):
    return [
        Item(distance, name, item)
        for distance, name, item in zip(distances.tolist(), index.names_of(ids), ids.tolist())
    ]


def _note_on_ties(index, code, distances, k):
    """Says what a list of k leaves out that is as near as its last item."""
    if len(distances) <= k or distances[k] != distances[k - 1]:
        return ""
    distance = distances[k].item()
    if distance:
        return (
            f"more images are at distance {distance_in_words(distance)}, as the last one here; of "
            "equal distances, smaller ids come first"
        )
    count = len(index.within(code[None], 0).ids)
    return f"{count:,} images are at distance 0; {k:,} shown, in the order of ids"
