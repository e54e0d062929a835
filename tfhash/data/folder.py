"""Images in folders."""

import dataclasses
import pathlib

import numpy as np

from tfhash.data.content import split_by_content
from tfhash.data.gradual import ImageFiles
from tfhash.data.layout import find_layout
from tfhash.data.scan import scan
from tfhash.data.sources import FileSource
from tfhash.data.split import Split
from tfhash.data.splits import Splits
from tfhash.data.summary import LeftOut
from tfhash.data.walk import walk
from tfhash.text import listing


def load_classes(path, image_shape, query_fraction, validation_fraction, skip_broken):
    """Splits of a folder that has one subfolder per class; see `tfhash.data.load`."""
    root = pathlib.Path(path)
    walked = walk(root)
    layout = find_layout(root, walked)
    classes = layout.classes
    where = root / layout.folders["train"]
    if len(classes) < 2:
        raise ValueError(
            f"{where} must have one subfolder per class, two or more. "
            f"Received: {listing(classes) or 'no subfolders'}"
        )
    names = [name for name in walked.files if layout.place(name)]
    is_broken_somewhere = any(item.is_broken for item in walked.left_out)
    if not is_broken_somewhere:
        _check_classes(
            f"each class folder of {where} must hold images. Received: none in", layout, names
        )
    loose = [LeftOut(name, _why_loose(layout)) for name in walked.files if not layout.place(name)]
    walked = dataclasses.replace(walked, left_out=walked.left_out + loose)
    examined, summary = scan(root, walked, names, skip_broken)
    places = [layout.place(file.name) for file in examined]
    _check_classes("no image can be read in the class folders", layout, [f.name for f in examined])
    label_of = {name: label for label, name in enumerate(classes)}
    labels = np.array([label_of[name] for _, name in places])
    digests = np.array([file.digest for file in examined])
    part_of = np.array([part for part, _ in places])
    drawn = _divide(layout, part_of, digests, labels, query_fraction, validation_fraction)
    notes = [*layout.notes, *_note_copies(examined, drawn), *summary.notes]
    source = FileSource(root, examined, labels)
    return Splits.create(
        source=str(root),
        classes=classes,
        draws_queries="queries" not in layout.folders,
        summary=dataclasses.replace(summary, notes=notes),
        **{part: Split(source, indices, image_shape) for part, indices in drawn.items()},
    )


def load_flat(path, image_shape, skip_broken):
    """All images below a folder in the order of their paths, with label -1, and a `Summary`."""
    images = ImageFiles.below(path)
    split = images.read(images.names, image_shape)
    images.check_readable(skip_broken)
    return split, images.summary()


def _divide(layout, part_of, digests, labels, query_fraction, validation_fraction):
    """Indices of each part: the official ones, and those missing drawn from training by content."""
    official = {part: np.flatnonzero(part_of == part) for part in layout.folders if part != "train"}
    train = np.flatnonzero(part_of == "train")
    queries, validation, rest = (
        train[indices]
        for indices in split_by_content(
            digests[train],
            labels[train],
            0 if "queries" in official else query_fraction,
            0 if "validation" in official else validation_fraction,
        )
    )
    return {"train": rest, "validation": validation, "queries": queries, **official}


def _note_copies(examined, drawn):
    """A note on queries whose contents are in the database as well."""
    known = {examined[i].digest for part in ("train", "validation") for i in drawn[part]}
    copies = [examined[i].name for i in drawn["queries"] if examined[i].digest in known]
    if not copies:
        return []
    return [
        f"{len(copies):,} queries are copies of files in the database, which makes retrieval look "
        f"better than it is: {listing(copies)}"
    ]


def _check_classes(problem, layout, names):
    """Raises `ValueError` naming the classes without a training file among `names`."""
    found = {name for part, name in map(layout.place, names) if part == "train"}
    if missing := [name for name in layout.classes if name not in found]:
        raise ValueError(f"{problem} {listing(missing)}")


def _why_loose(layout):
    if layout.folders == {"train": ""}:
        return "next to the class folders"
    return "outside the class folders of the official split"
