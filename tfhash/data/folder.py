"""Images in folders."""

import dataclasses
import os
import pathlib

import numpy as np

from tfhash.data import label_file
from tfhash.data.content import count_contents, split_by_content
from tfhash.data.gradual import ImageFiles
from tfhash.data.layout import find_layout, find_parts
from tfhash.data.scan import scan
from tfhash.data.sources import FileSource
from tfhash.data.split import Split
from tfhash.data.splits import Splits
from tfhash.data.summary import LeftOut
from tfhash.data.walk import walk
from tfhash.labels import each_label
from tfhash.text import listing


@dataclasses.dataclass(frozen=True)
class Shares:
    """What is drawn where a folder has no official parts; see `tfhash.data.load`."""

    query: float
    validation: float


def load_classes(path, image_shape, shares, skip_broken, cache=None):
    """Splits of a folder that has one subfolder per class; see `tfhash.data.load`."""
    root = pathlib.Path(path)
    walked = walk(root)
    layout = find_layout(root, walked)
    classes = layout.classes
    where = root / layout.folders["train"]
    if len(classes) < 2:
        raise ValueError(
            f"{where} must have one subfolder per class, two or more. "
            f"Received: {listing(classes) or 'no subfolders'}. Where classes are not folders, list "
            "the labels of each image in a file, and pass it as `labels`"
        )
    names = [name for name in walked.files if layout.place(name)]
    is_broken_somewhere = any(item.is_broken for item in walked.left_out)
    if not is_broken_somewhere:
        _check_classes(
            f"each class folder of {where} must hold images. Received: none in", layout, names
        )
    walked = _leave_out(walked, names, _why_loose(layout))
    examined, summary = scan(root, walked, names, skip_broken, cache)
    places = [layout.place(file.name) for file in examined]
    _check_classes("no image can be read in the class folders", layout, [f.name for f in examined])
    label_of = {name: label for label, name in enumerate(classes)}
    labels = np.array([label_of[name] for _, name in places])
    parts = np.array([part for part, _ in places])
    source = FileSource(root, examined, labels, cache=cache)
    summary = dataclasses.replace(summary, notes=[*layout.notes, *summary.notes])
    return _split(
        source, examined, classes, parts, set(layout.folders), image_shape, shares, summary
    )


def load_labeled(path, labels, image_shape, shares, skip_broken, cache=None):
    """Splits of a folder whose labels are in a file; see `tfhash.data.load`."""
    root = pathlib.Path(path)
    rows = label_file.read(labels)
    walked = _without(walk(root), root, labels)
    labels_of = label_file.match(labels, rows, walked, root)
    names = [name for name in walked.files if name in labels_of]
    walked = _leave_out(walked, names, f"without a line in {pathlib.Path(labels).name}")
    examined, summary = scan(root, walked, names, skip_broken, cache)
    classes, numbers = label_file.to_numbers([labels_of[file.name] for file in examined])
    parts, notes = find_parts([file.name for file in examined])
    notes += label_file.notes(classes, {label for row in rows for label in row.labels})
    source = FileSource(root, examined, numbers, cache=cache)
    summary = dataclasses.replace(summary, notes=[*notes, *summary.notes])
    given = set(parts.tolist())
    return _split(source, examined, classes, parts, given, image_shape, shares, summary)


def load_flat(path, image_shape, skip_broken, keep_aspect=True):
    """All images below a folder in the order of their paths, with label -1, and a `Summary`."""
    images = ImageFiles.below(path)
    split = images.read(images.names, image_shape, keep_aspect)
    images.check_readable(skip_broken)
    return split, images.summary()


def _split(source, examined, classes, part_of, given, image_shape, shares, summary):
    """Splits of the files of a source.

    Args:
        source: `FileSource`.
        examined: `tfhash.data.scan.Examined` of each file.
        classes: Name of each class.
        part_of: Official part of each file, NumPy; `"train"` where there are no such parts.
        given: Names of the official parts that there are. The others are drawn from training.
        image_shape: As in `Split`.
        shares: `Shares`.
        summary: `Summary`, to which notes are added.
    """
    digests, labels = np.array([file.digest for file in examined]), source.labels
    drawn = {part: np.flatnonzero(part_of == part) for part in given}
    train = drawn["train"]
    queries, validation, rest = (
        train[indices]
        for indices in split_by_content(
            digests[train],
            labels[train],
            0 if "queries" in given else shares.query,
            0 if "validation" in given else shares.validation,
        )
    )
    drawn = {"validation": validation, "queries": queries, **drawn, "train": rest}
    notes = [*summary.notes, *_note_copies(examined, drawn)]
    if "queries" not in given:
        notes += _note_classes_without_queries(classes, digests, labels, queries)
    return Splits.create(
        source=os.fspath(source.root),
        classes=classes,
        draws_queries="queries" not in given,
        summary=dataclasses.replace(summary, notes=notes),
        **{part: Split(source, indices, image_shape) for part, indices in drawn.items()},
    )


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


def _note_classes_without_queries(classes, digests, labels, queries):
    """Notes on the classes that are searched, but never asked for."""
    if not len(queries):
        return []
    contents = count_contents(digests, labels)
    asked = set(each_label(labels[queries])[1].tolist())
    single = [name for label, name in enumerate(classes) if contents.get(label) == 1]
    others = [
        name for label, name in enumerate(classes) if label not in asked and contents[label] > 1
    ]
    notes = []
    if single:
        notes.append(
            f"{len(single):,} classes have a single image, copies aside, which is in the database "
            f"and no query: {listing(single)}"
        )
    if others:
        notes.append(
            f"{len(others):,} classes have no query, because their images have other labels too: "
            f"{listing(others)}"
        )
    return notes


def _leave_out(walked, names, reason):
    """A walk in which all files but those of these names are left out."""
    taken = set(names)
    more = [LeftOut(name, reason) for name in walked.files if name not in taken]
    return dataclasses.replace(walked, left_out=walked.left_out + more)


def _without(walked, root, path):
    """A walk that does not tell of one file, wherever it is."""
    left_out = [
        item
        for item in walked.left_out
        if item.is_broken or os.path.realpath(root / item.name) != os.path.realpath(path)
    ]
    return dataclasses.replace(walked, left_out=left_out)


def _check_classes(problem, layout, names):
    """Raises `ValueError` naming the classes without a training file among `names`."""
    found = {name for part, name in map(layout.place, names) if part == "train"}
    if missing := [name for name in layout.classes if name not in found]:
        raise ValueError(f"{problem} {listing(missing)}")


def _why_loose(layout):
    if layout.folders == {"train": ""}:
        return "next to the class folders"
    return "outside the class folders of the official split"
