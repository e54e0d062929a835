"""What was taken from a folder, what was left out, and why."""

import collections
import dataclasses

from tfhash.text import escaped, listing

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

    Example:

    >>> LeftOut("notes.txt", "not an image (.txt)").is_broken
    False
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
            files = "file" if len(broken) == 1 else "files"
            lines.append(f"left out {len(broken):,} broken {files}:")
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
        if lines and self.taken:
            formats = ", ".join(f"{count:,} {name}" for name, count in self.taken.items())
            taken = f"took {sum(self.taken.values()):,} images"
            lines.insert(0, f"{taken}: {formats}" if formats else taken)
        return escaped("\n".join(lines))
