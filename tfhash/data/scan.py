"""Reads every image file once, so that a broken one shows before training does."""

import collections
import dataclasses
import functools
import os

import tensorflow as tf

from tfhash.data import decoding, formats
from tfhash.data.content import digest
from tfhash.data.kept import in_threads
from tfhash.data.summary import LeftOut, Summary
from tfhash.errors import in_words
from tfhash.text import escaped, listing

# A 16-bit image whose largest value is below this uses the lower 12 bits alone.
TWELVE_BITS = 2**12

# Why a file without contents is broken.
EMPTY = "the file is empty"


@dataclasses.dataclass(frozen=True)
class Examined:
    """What is known of a readable file.

    Attributes:
        name: Path below the folder, with `/`.
        digest: SHA-256 of its contents.
        checksum: Fast hash of its contents, which is compared whenever it is read again.
        format: As `"JPEG"`.
        is_for_pillow: Whether Pillow decodes it.
        is_dim: Whether it has 16 bits a channel and uses 12 or less, and is not black.
        shorter_side: Of the image, in pixels.
    """

    name: str
    digest: str
    checksum: int
    format: str
    is_for_pillow: bool
    is_dim: bool
    shorter_side: int


def scan(root, walked, names, skip_broken, cache=None):
    """Reads and decodes files.

    Args:
        root: Path of the folder.
        walked: `Walk` through it.
        names: Which of its files to read.
        skip_broken: Leave broken files out instead of raising.
        cache: `tfhash.data.disk_cache.DiskCache` that knows files which have not changed.

    Returns:
        `(examined, summary)`: the readable files in the order of `names`, and a `Summary`.

    Raises:
        ValueError: If a file is broken, or none can be read.
    """
    examined, broken = (cache.examine if cache else examine)(root, names)
    left_out = walked.left_out + broken
    total = len(names) + sum(item.is_broken for item in walked.left_out)
    check_readable(root, total, left_out, skip_broken)
    return examined, summarize(examined, left_out)


def examine(root, names):
    """Reads and decodes files.

    Returns:
        `Examined` of the readable files, and `LeftOut` of the others, both in the order of `names`.
    """
    if names:
        decoding.trace()  # before several threads would
    results = list(in_threads(functools.partial(_examine, root), names))
    examined = [result for result in results if isinstance(result, Examined)]
    return examined, [result for result in results if isinstance(result, LeftOut)]


def check_readable(root, total, left_out, skip_broken):
    """Raises `ValueError` if files are broken that must not be, or none can be read.

    Args:
        root: Path of the folder; "" if the files are in several.
        total: Number of image files, broken ones included.
        left_out: `LeftOut` of all that was left out.
        skip_broken: Whether files may be broken.
    """
    broken = Summary(left_out=left_out).broken
    where = f" in {root}" if root else ""
    if broken and not skip_broken:
        raise ValueError(
            escaped(
                f"{len(broken)} of {total} image files{where} cannot be read: "
                f"{listing(broken)}. Remove them, or pass `skip_broken` to leave them out"
            )
        )
    if len(broken) == total:
        raise ValueError(f"none of the {total} image files{where} can be read")


def summarize(examined, left_out):
    """A `Summary` of files that were examined and what was left out."""
    taken = collections.Counter(file.format for file in examined)
    return Summary(dict(taken.most_common()), left_out, _notes(examined))


def _notes(examined):
    through_pillow = collections.Counter(file.format for file in examined if file.is_for_pillow)
    notes = [
        f"{count:,} {name} files are read through Pillow, which the exported model does not have"
        for name, count in through_pillow.items()
    ]
    if dim := [file.name for file in examined if file.is_dim]:
        notes.append(
            f"{len(dim):,} 16-bit images use 12 bits or less and are nearly black, as in a viewer: "
            f"{listing(dim)}"
        )
    return notes


def _examine(root, name):
    """`Examined`, or `LeftOut` with what is wrong."""
    try:
        with open(os.path.join(root, name), "rb") as file:
            contents = file.read()
    except OSError as error:
        return LeftOut(name, error.strerror or str(error), True)
    if not contents:
        return LeftOut(name, EMPTY, True)
    found = formats.format_of(contents)
    is_for_pillow = formats.is_for_pillow(name, contents)
    try:
        decoded = formats.to_png(contents) if is_for_pillow else contents
        checksum, shorter_side = _check(contents, decoded)
        is_dim = _is_16_bit_png(decoded) and 0 < _largest_value(decoded) < TWELVE_BITS
    except (tf.errors.OpError, ValueError) as error:
        return LeftOut(name, reason_of(error, contents, name), True)
    return Examined(
        name,
        digest(contents),
        checksum,
        found or "other",
        is_for_pillow,
        bool(is_dim),
        shorter_side,
    )


def reason_of(error, contents, name):
    """Why a file cannot be read, in words.

    Args:
        error: What decoding it raised.
        contents: Bytes of the file.
        name: Its name.
    """
    reason, found = in_words(error), formats.format_of(contents)
    if "nimation" in reason:
        return f"{reason}: an animated file; save one picture of it"
    extension = os.path.splitext(name)[1].lower()
    if found and extension in formats.TENSORFLOW_EXTENSIONS and "One of" in reason:
        return f"{reason}. It holds {found}, whatever its name says"
    return reason


def checksum_of(contents):
    """Fast hash of a string tensor, `int64`."""
    return tf.strings.to_hash_bucket_fast(contents, 2**63 - 1)


def _check(contents, decoded):
    """Checksum of a file, and the shorter side of its image in pixels; fails where it cannot be decoded."""
    with tf.device("CPU"):
        # At the smallest size, for which the whole file is read, too.
        plan = decoding.plan_decoding(tf.constant(decoded), side=1)
        pixels = decoding.decode(plan)
        shorter_side = tf.reduce_min(decoding.stored_size(plan, pixels))
        return int(checksum_of(tf.constant(contents))), int(shorter_side)


def _is_16_bit_png(contents):
    return formats.format_of(contents) == "PNG" and contents[24:25] == b"\x10"


def _largest_value(contents):
    """Largest value of a 16-bit PNG, alpha aside."""
    with tf.device("CPU"):
        return int(tf.reduce_max(tf.io.decode_png(contents, channels=3, dtype=tf.uint16)))
