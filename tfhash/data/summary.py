"""What was taken from a folder, what was left out, and why."""

import collections
import dataclasses

# Files that a summary names for each reason.
NAMED = 5
# Broken files that a summary names.
NAMED_BROKEN = 20


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """A file or folder that was not taken.

    Attributes:
        name: Path below the folder that was read, with `/`; folders end in `/`.
        reason: Why, in words.
        is_broken: Whether it should have been readable. Broken files are an error unless
            `skip_broken` is set.
    """

    name: str
    reason: str
    is_broken: bool = False


@dataclasses.dataclass(frozen=True)
class Summary:
    """What was taken and what was left out.

    Its string is what a command prints, empty if there is nothing to say.

    Attributes:
        taken: Number of files of each format.
        left_out: Files and folders left out.
        notes: What else people should know, in words.

    Example:

    >>> print(Summary({"JPEG": 2}, [LeftOut("a.txt", "not an image (.txt)")], ["val/ is drawn"]))
    took 2 images: 2 JPEG
    left out 1, not an image (.txt): a.txt
    note: val/ is drawn
    >>> str(Summary({"JPEG": 2}))
    ''
    """

    taken: dict[str, int] = dataclasses.field(default_factory=dict)
    left_out: list[LeftOut] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)

    @property
    def broken(self):
        """The broken files and folders, as `NAME: REASON`."""
        return [f"{item.name}: {item.reason}" for item in self.left_out if item.is_broken]

    def __str__(self):
        lines = []
        if broken := self.broken:
            lines.append(f"left out {len(broken):,} broken files:")
            lines += [f"  {line}" for line in broken[:NAMED_BROKEN]]
            if len(broken) > NAMED_BROKEN:
                lines.append(f"  and {len(broken) - NAMED_BROKEN:,} more")
        names_of = collections.defaultdict(list)
        for item in self.left_out:
            if not item.is_broken:
                names_of[item.reason].append(item.name)
        lines += [
            f"left out {len(names):,}, {reason}: {listing(names)}"
            for reason, names in sorted(names_of.items(), key=lambda item: -len(item[1]))
        ]
        lines += [f"note: {note}" for note in self.notes]
        if lines:
            formats = ", ".join(f"{count:,} {name}" for name, count in self.taken.items())
            lines.insert(0, f"took {sum(self.taken.values()):,} images: {formats}")
        return printable("\n".join(lines))


def listing(names, most=NAMED):
    """The first names, and how many more there are.

    >>> listing(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"


def printable(text):
    r"""Text whose undecodable bytes of file names are escaped, so that it can be printed.

    >>> import os
    >>> printable(os.fsdecode(b"caf\xe9.jpg"))
    'caf\\xe9.jpg'
    """
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
