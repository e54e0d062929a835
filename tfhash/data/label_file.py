"""Labels in a CSV file: which image has which."""

import csv
import dataclasses
import io
import ntpath
import os
import pathlib
import posixpath
import unicodedata

import numpy as np

from tfhash.text import escaped, listing, printable

HEADERS = (["file", "label"], ["file", "labels"])
SEPARATOR = "|"

# Wrong lines that an error tells of.
NAMED_LINES = 10


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of a label file.

    Attributes:
        line: Its number, counted from 1; the first of them where a quoted field has several lines.
        file: The file as it is written there.
        labels: Its labels.
    """

    line: int
    file: str
    labels: tuple[str, ...]


def read(path):
    """Reads the lines of a label file.

    The file is CSV in UTF-8, with or without a byte order mark. It starts with the header
    `file,label` or `file,labels`; every other line holds the path of a file and its labels, separated
    by `|`. Fields may be quoted; spaces around a field or a label, and empty lines, mean nothing.

    Args:
        path: Path of the file.

    Returns:
        List of `Row`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not UTF-8 or not CSV, the header is another, or lines are wrong; the
            message gives their numbers.
    """
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True, skipinitialspace=True)
    rows, problems, line = [], [], 1
    try:
        _check_header(path, next(reader, []))
        line = reader.line_num + 1
        for fields in reader:
            if any(field.strip() for field in fields):
                problem = _problem(fields)
                if problem:
                    problems.append((line, problem))
                else:
                    rows.append(Row(line, fields[0], _labels(fields[1])))
            line = reader.line_num + 1
    except csv.Error as error:
        # An open quote swallows the lines up to the end of the file.
        at = line if "end of data" in str(error) else reader.line_num
        raise ValueError(f"{path} must be CSV. Received: line {at}, {_in_words(error)}") from error
    _raise_problems(path, problems)
    if not rows:
        raise ValueError(f"{path} must hold a line for each image. Received: none but the header")
    return rows


def match(path, rows, walked, root):
    """Finds the files that a label file names.

    A name is the path below the folder with `/`; a leading `./`, `\\` in place of `/`, and how
    accents are composed make no difference.

    Args:
        path: Path of the label file, for messages.
        rows: List of `Row`.
        walked: `tfhash.data.walk.Walk` through the folder.
        root: Path of the folder.

    Returns:
        Dictionary from the name of each file to its labels, in the order of the lines.

    Raises:
        ValueError: If there is no such image, or a file has two lines.
    """
    left_out = {item.name: item for item in walked.left_out}
    names = set(walked.files) | set(left_out)
    of_spelling, of_base = _group(names, _normal), _group(walked.files, _base)
    found: dict[str, tuple[str, ...]] = {}
    line_of: dict[str, int] = {}
    problems = []
    for row in rows:
        alike = [row.file] if row.file in names else of_spelling.get(_normal(row.file), [])
        if len(alike) != 1:
            problems.append((row.line, _unknown(row.file, alike, of_base, root)))
            continue
        (name,) = alike
        if name in line_of:
            problems.append(
                (
                    row.line,
                    f"{printable(name, 200)} is on line {line_of[name]} already. Write all of its "
                    f"labels on one line, as cat{SEPARATOR}dog",
                )
            )
            continue
        line_of[name] = row.line
        if name not in left_out:
            found[name] = row.labels
        elif not left_out[name].is_broken:  # whether broken files are an error is said elsewhere
            reason = left_out[name].reason
            problems.append(
                (row.line, f"{printable(name, 200)} is not read: {reason}. Remove the line")
            )
    _raise_problems(path, problems)
    return found


def to_numbers(labels):
    """Numbers the labels of items.

    Args:
        labels: A tuple of labels for each item.

    Returns:
        `(classes, numbers)`: the distinct labels, sorted, and NumPy labels: integers `[n]` where each
        item has one label, otherwise multi-hot `uint8 [n, C]`.

    Example:

    >>> classes, numbers = to_numbers([("cat",), ("cat", "ant")])
    >>> classes, numbers.tolist()
    (['ant', 'cat'], [[0, 1], [1, 1]])
    >>> to_numbers([("cat",), ("ant",)])[1].tolist()
    [1, 0]
    """
    classes = sorted({label for of_item in labels for label in of_item})
    number_of = {label: number for number, label in enumerate(classes)}
    if all(len(of_item) == 1 for of_item in labels):
        return classes, np.array([number_of[label] for (label,) in labels], "int64")
    marks = np.zeros((len(labels), len(classes)), "uint8")
    for row, of_item in zip(marks, labels):
        row[[number_of[label] for label in of_item]] = 1
    return classes, marks


def notes(classes, written):
    """Notes on labels.

    Args:
        classes: Labels of the images that were read.
        written: All labels in the file.

    Example:

    >>> notes(["Cat", "cat"], {"Cat", "cat"})
    ['labels that differ in case alone are different classes: Cat, cat']
    """
    found = []
    folded = _group(classes, str.casefold)
    alike = [name for group in folded.values() if len(group) > 1 for name in group]
    if alike:
        found.append(f"labels that differ in case alone are different classes: {listing(alike)}")
    if missing := sorted(set(written) - set(classes)):
        found.append(f"no image of {len(missing):,} labels can be read: {listing(missing)}")
    return found


def check_exists(path):
    """Raises `FileNotFoundError` unless the path is that of a file."""
    if not pathlib.Path(path).is_file():
        raise FileNotFoundError(f"`labels` must be a CSV file. There is no file {path}")


def _text(path):
    check_exists(path)
    path = pathlib.Path(path)
    contents = path.read_bytes()
    if contents.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError(
            f"{path} must be UTF-8. Received: UTF-16, as its first bytes say. Save it as UTF-8: "
            "spreadsheets call it CSV UTF-8"
        )
    contents = contents.removeprefix(b"\xef\xbb\xbf")
    try:
        return contents.decode("utf-8")
    except UnicodeDecodeError as error:
        line = contents[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path} must be UTF-8. Received: the byte 0x{contents[error.start]:02x} on line {line}. "
            "Save it as UTF-8: spreadsheets call it CSV UTF-8"
        ) from error


def _check_header(path, header):
    if [field.strip().lower() for field in header] in HEADERS:
        return
    line = ",".join(header)
    hint = "Write it above the first image"
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and separator in line:
            hint = f"Separate the fields by commas, not {name}"
    raise ValueError(
        f"{path} must start with the header file,label or file,labels on line 1. Received: "
        f"{printable(line, 200) or 'an empty line'!r}. {hint}"
    )


def _problem(fields):
    """What is wrong with the fields of a line, or `None`."""
    if len(fields) != 2:
        shown = printable(",".join(fields), 200)
        remedy = (
            f"Put a field that holds a comma in double quotes, and separate labels by {SEPARATOR}"
            if len(fields) > 2
            else "Write FILE,LABEL, or remove the line to leave the file out"
        )
        return f"expected two fields, a file and its labels. Received: {len(fields)}, {shown}. {remedy}"
    if not fields[0].strip():
        return f"expected a file. Received: none with the labels {printable(fields[1], 200)}"
    file, labels = printable(fields[0], 200), _labels(fields[1])
    if not all(labels):
        what = "an empty one" if any(labels) else "none"
        return (
            f"expected labels of {file}. Received: {what} in {printable(fields[1], 200)!r}. Write "
            "them, or remove the line to leave the file out"
        )
    if len(set(labels)) < len(labels):
        return f"expected each label of {file} once. Received: {printable(fields[1], 200)!r}"
    if unfit := [label for label in labels if printable(label, len(label)) != label]:
        return (
            f"expected labels of {file} on one line, without control characters. Received: "
            f"{unfit[0]!r}"
        )
    return None


def _labels(field):
    return tuple(label.strip() for label in field.split(SEPARATOR))


def _normal(name):
    """One of the many spellings of a path below a folder."""
    path = unicodedata.normalize("NFC", name.strip()).replace("\\", "/")
    return posixpath.normpath(path)


def _base(name):
    return _normal(name).rpartition("/")[2]


def _group(names, key):
    groups: dict[str, list[str]] = {}
    for name in sorted(names):
        groups.setdefault(key(name), []).append(name)
    return groups


def _unknown(file, alike, of_base, root):
    shown = printable(file, 200)
    if alike:
        return f"{shown} may be {listing(alike)}. Write the one that is meant"
    if os.path.isabs(file) or ntpath.isabs(file):
        hint = "Write the path below the folder"
    else:
        close = of_base.get(_base(file), [])
        hint = f"Did you mean {listing(close, most=3)}?" if close else "Correct or remove the line"
    return f"{escaped(str(root))} has no file {shown}. {hint}"


def _in_words(error):
    reason = str(error)
    if "end of data" in reason:
        return 'where a quote (") opens and is never closed'
    if "expected after" in reason:
        return 'where text follows a closing quote ("). Write a quote within a field twice'
    return reason


def _raise_problems(path, problems):
    if not problems:
        return
    problems.sort()
    lines = [f"  line {line}: {problem}" for line, problem in problems[:NAMED_LINES]]
    if len(problems) > NAMED_LINES:
        lines.append(f"  and {len(problems) - NAMED_LINES:,} more")
    are = "1 line is" if len(problems) == 1 else f"{len(problems):,} lines are"
    raise ValueError("\n".join([f"{path}: {are} wrong", *lines]))
