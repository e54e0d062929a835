"""Groups of look-alikes in a folder, and the files that list them."""

import csv
import dataclasses
import functools
import pathlib

import numpy as np

from tfhash import data, files
from tfhash.experiments import contact_sheet
from tfhash.experiments.datasets import say_summary
from tfhash.experiments.perceptual import PerceptualHash
from tfhash.experiments.progress import Progress
from tfhash.index import duplicates
from tfhash.text import listing

# Names of the files in a directory, by what `write` makes of a path.
FILES = {".csv": "duplicates.csv", ".json": "duplicates.json", ".html": "duplicates.html"}

# Where a larger share of the images is in groups, equal codes say little.
FEW = 0.5

COLUMNS = ("group", "name", "distance", "bytes", "width", "height")


@dataclasses.dataclass(frozen=True)
class Member:
    """An image of a group.

    Attributes:
        name: Path below the folder, with `/`.
        distance: Bits between its code and that of the group's first member.
        index: Its place among the images of the folder.
    """

    name: str
    distance: int
    index: int


@dataclasses.dataclass(frozen=True)
class LookAlikes:
    """Groups of look-alikes in a folder.

    Attributes:
        folder: Path of the folder.
        images: `tfhash.data.Split` of all its images.
        summary: What was taken and left out, `tfhash.data.Summary`.
        method: What made the codes.
        bits: Length of the codes.
        radius: Largest distance of a pair in bits.
        groups: List of lists of `Member`, in the order of names.
        ranges: Smallest and largest distance of the pairs within the radius, for each group.
        by_model: Whether a trained model made the codes.
        unread: Why members could not be read again when they were listed, by name.
    """

    folder: str
    images: data.Split
    summary: data.Summary
    method: str
    bits: int
    radius: int
    groups: list[list[Member]]
    ranges: list[tuple[int, int]]
    by_model: bool = False
    unread: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def grouped(self):
        """Number of images in groups."""
        return sum(map(len, self.groups))

    @functools.cached_property
    def rows(self):
        """A dictionary of `COLUMNS` for each member of a group; reads each picture once.

        Sizes are `None` for a picture that cannot be read any more.
        """
        return [
            dict(zip(COLUMNS, (number, member.name, member.distance, *self._size_of(member))))
            for number, group in enumerate(self.groups, 1)
            for member in group
        ]

    def _size_of(self, member):
        """Bytes of the file, width and height."""
        looked = contact_sheet.look_at(self, member)
        if looked is None:
            return None, None, None
        image, size = looked
        return size, image.shape[1], image.shape[0]

    def same_file(self, member, group):
        """The first member of a group whose file has the same bytes, which may be `member` itself."""
        digests = self.images.source.digests
        return next(each for each in group if digests[each.index] == digests[member.index])

    def range_in_words(self, group):
        """Distances of the pairs in group number `group`, from 0: "2 bits" or "1 to 3 bits"."""
        nearest, farthest = self.ranges[group]
        return count(nearest, "bit") if nearest == farthest else f"{nearest} to {farthest} bits"

    def headline(self):
        """What was found, in a sentence."""
        if not self.groups:
            return (
                f"no look-alikes among {count(len(self.images), 'image')} "
                f"({self.method}, within {count(self.radius, 'bit')})"
            )
        return (
            f"{count(len(self.groups), 'group')} of look-alikes, {self.grouped:,} of "
            f"{count(len(self.images), 'image')} ({self.method}, within {count(self.radius, 'bit')})"
        )

    def note(self):
        """What groups of this size mean, or an empty string where there is nothing to say."""
        return note_on_codes(self.grouped, len(self.images)) if self.by_model else ""


def note_on_codes(grouped, images):
    """What it means that so many of the images are in groups by the codes of a model."""
    if grouped <= FEW * images:
        return ""
    return (
        "More than half of the images are in groups: the codes of a model tell what images show, so "
        "many of these may not be copies. Run `tfhash dedupe` without --model to find copies"
    )


def count(number, what):
    """A number and what is counted.

    >>> count(1, "group"), count(2_000, "group")
    ('1 group', '2,000 groups')
    """
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def find(folder, encoder, progress=None, radius=None, method="the model", batch_size=256):
    """Finds the look-alikes in a folder.

    Images that cannot be read are left out; the summary names them.

    Args:
        folder: Path of the folder, searched at any depth.
        encoder: `HashingModel`, or `PerceptualHash`.
        progress: `Progress`; by default nothing is printed.
        radius: Largest distance of a pair in bits, >= 0; the encoder's default if it has one, and 0
            otherwise.
        method: What made the codes, in words.
        batch_size: Images encoded at a time.

    Returns:
        `LookAlikes`.

    Raises:
        ValueError: If there is no image that can be read.
        FileNotFoundError: If the folder does not exist.
    """
    if radius is None:
        radius = getattr(encoder, "default_radius", 0)
    progress = progress or Progress(0)
    images, summary = data.load_images(
        pathlib.Path(folder),
        encoder.image_shape,
        skip_broken=True,
        keep_aspect=getattr(encoder, "keep_aspect", True),
    )
    say_summary(summary, progress)
    batches = images.batches(batch_size)
    codes = progress.encode_with(encoder.encode, batches, len(images), str(folder))
    groups = duplicates.groups(codes, encoder.bits, radius)
    return LookAlikes(
        str(folder),
        images,
        summary,
        method,
        encoder.bits,
        radius,
        [_members(group.members, codes, images.names) for group in groups],
        [(group.nearest, group.farthest) for group in groups],
        by_model=not isinstance(encoder, PerceptualHash),
    )


def write(found, path):
    """Writes look-alikes to a file by its suffix (.csv, .json, .html), or all three to a directory.

    Each file is written whole or not at all. Nothing else changes on disk. Images that cannot be read
    any more are listed without sizes and pictures; `found.unread` names them.

    Args:
        found: `LookAlikes`.
        path: File or directory.

    Returns:
        Paths of the files written.
    """
    path = pathlib.Path(path)
    writers = {".csv": _write_csv, ".json": _write_json, ".html": contact_sheet.write}
    suffix = path.suffix.lower()
    targets = {suffix: path} if suffix in FILES else {s: path / n for s, n in FILES.items()}
    for suffix, target in targets.items():
        writers[suffix](found, target)
    return list(targets.values())


def _members(indices, codes, names):
    distances = np.unpackbits(codes[indices] ^ codes[indices[0]], axis=1).sum(axis=1)
    return [
        Member(names[index], int(distance), index)
        for index, distance in zip(indices.tolist(), distances.tolist())
    ]


def _write_csv(found, path):
    # Names that are no valid UTF-8 keep their bytes.
    with (
        files.atomic_write(path) as temporary,
        open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(found.rows)


def _write_json(found, path):
    members: list[list[dict]] = [[] for _ in found.groups]
    for row in found.rows:
        member = {name: value for name, value in row.items() if name != "group"}
        members[row["group"] - 1].append(member)
    files.write_json(
        path,
        {
            "folder": found.folder,
            "images": len(found.images),
            "method": found.method,
            "bits": found.bits,
            "radius": found.radius,
            "note": found.note(),
            "left_out": [dataclasses.asdict(item) for item in found.summary.left_out],
            "groups": [
                {"nearest": nearest, "farthest": farthest, "members": of_group}
                for (nearest, farthest), of_group in zip(found.ranges, members)
            ],
        },
    )


def lines_of(found, most=20):
    """The first groups, a line each, for a terminal."""
    lines = [
        f"  {found.range_in_words(i)}: {listing([member.name for member in group])}"
        for i, group in enumerate(found.groups[:most])
    ]
    if len(found.groups) > most:
        lines.append(f"  and {len(found.groups) - most:,} more groups")
    return lines
