"""What a search of an index of images found, and how it is written."""

import csv
import dataclasses
import sys

from tfhash import files
from tfhash.text import printable

COLUMNS = ("query", "rank", "distance", "name", "id")


@dataclasses.dataclass(frozen=True)
class Item:
    """An image that was found.

    Attributes:
        distance: Bits between its code and that of the query, an `int`; a `float` if they are expected
            ones.
        name: Its path below the indexed folder.
        id: Its id in the index.
    """

    distance: int | float
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
        asymmetric: Whether distances are those of relaxed queries.
    """

    answers: list[Answer]
    images: int
    bits: int
    k: int | None
    radius: int | None
    asymmetric: bool = False

    def headline(self):
        """What was asked for, in words."""
        images = f"{self.images:,} image{'' if self.images == 1 else 's'}"
        if self.k is None:
            asked = f"all within {bits_in_words(self.radius)} among {images}"
        elif self.k > self.images:
            asked = f"{images}, which is all there are ({self.k:,} were asked for)"
        else:
            asked = f"the {self.k:,} nearest of {images}"
        ranked = ", by expected Hamming distance" if self.asymmetric else ""
        return f"{asked}, codes of {bits_in_words(self.bits)}{ranked}"

    @property
    def rows(self):
        """A dictionary of `COLUMNS` for each image found."""
        return [
            dict(zip(COLUMNS, (answer.query, rank, _in_csv(item.distance), item.name, item.id)))
            for answer in self.answers
            for rank, item in enumerate(answer.items, 1)
        ]


def table(found):
    """Lines of a table for a terminal, a part for each query."""
    lines = [found.headline()]
    for answer in found.answers:
        lines += ["", printable(answer.query, 200)]
        if answer.items:
            lines.append("  distance  name")
        lines += [
            f"  {distance_in_words(item.distance):>8}  {printable(item.name, 200)}"
            for item in answer.items
        ]
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


def distance_in_words(distance):
    """A distance as it is shown: whole bits, or expected ones with two decimals.

    Example:

    >>> distance_in_words(1000), distance_in_words(0.125), distance_in_words(2.0)
    ('1,000', '0.12', '2.00')
    """
    return f"{distance:,}" if isinstance(distance, int) else f"{distance:,.2f}"


def bits_in_words(number):
    """A number of bits with its unit."""
    return "1 bit" if number == 1 else f"{number:,} bits"


def _as_json(found):
    return {
        "images": found.images,
        "bits": found.bits,
        "k": found.k,
        "radius": found.radius,
        "asymmetric": found.asymmetric,
        "queries": [
            {
                "query": answer.query,
                "note": answer.note,
                "items": [
                    {**dataclasses.asdict(item), "distance": round(item.distance, 2)}
                    for item in answer.items
                ],
            }
            for answer in found.answers
        ],
    }


def _in_csv(distance):
    return distance if isinstance(distance, int) else f"{distance:.2f}"


def _write_csv(found, file):
    writer = csv.DictWriter(file, COLUMNS)
    writer.writeheader()
    writer.writerows(found.rows)
