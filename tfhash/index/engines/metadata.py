"""What an engine keeps beside the codes of an index, and which tables are refused."""

import dataclasses
import json
import re

from tfhash.codes import check_bits
from tfhash.index.storage import DamagedFileError, IndexFileError, OtherModelError

FORMAT = "tfhash.index.engine"
VERSION = 1

# Engines cut longer names, and tfhash adds suffixes.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")


@dataclasses.dataclass(frozen=True)
class State:
    """An index at one time.

    Attributes:
        bits: Number of bits of a code.
        model: What made the codes.
        count: Number of items.
        next_id: The id after the largest one the index ever had; -1 if there is none.
        cluster: ClickHouse's cluster that holds the codes; "" for one server.
        removed: Number of items that were removed and are still in the table, for engines that do
            not delete.
        batches: First and last number of each run of batches that were added or removed whole,
            ascending, for engines without transactions.
    """

    bits: int
    model: str = ""
    count: int = 0
    next_id: int = 0
    cluster: str = ""
    removed: int = 0
    batches: tuple = ()

    def as_json(self):
        """The state as text in ASCII."""
        settings = {"format": FORMAT, "version": VERSION, **dataclasses.asdict(self)}
        return json.dumps(settings)

    @property
    def last_batch(self):
        """The largest number of a batch; 0 if there is none."""
        return self.batches[-1][1] if self.batches else 0

    def has_batch(self, batch):
        """Whether a batch belongs to the index."""
        return any(first <= batch <= last for first, last in self.batches)

    def with_batch(self, batch):
        """The state after a batch with a larger number than all others."""
        runs = list(self.batches)
        if runs and runs[-1][1] == batch - 1:
            runs[-1] = (runs[-1][0], batch)
        else:
            runs.append((batch, batch))
        return dataclasses.replace(self, batches=tuple(runs))


def check_name(argument, name):
    """Returns the name of a table or cluster, or raises `ValueError` unless it is a plain one.

    Example:

    >>> check_name("table", "photos_64")
    'photos_64'
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"`{argument}` must be a name of at most 40 letters of ASCII, digits and underscores "
            f"that begins with no digit. Received: {argument}={name!r}"
        )
    return name


def foreign(where):
    """The error for a table that is not an index."""
    return IndexFileError(
        f"{where} is not an index of tfhash, but another table. Give another name; tfhash changes "
        "no tables but its own"
    )


def damaged(where, problem):
    """The error for an index that was changed by others."""
    return DamagedFileError(f"{where} is damaged: {problem}. Restore or build it again")


def check_rows(where, count, expected):
    """Raises `DamagedFileError` unless an engine gave as many rows as the metadata expect."""
    if count != expected:
        raise damaged(where, f"it gave {count:,} rows where its metadata expect {expected:,}")


def read(text, where):
    """Reads what `State.as_json` wrote.

    Raises:
        IndexFileError: If it is something else, or of a newer version.
        DamagedFileError: If it has been changed.
    """
    try:
        settings = json.loads(text)
    except ValueError:
        raise foreign(where) from None
    if not isinstance(settings, dict) or settings.pop("format", None) != FORMAT:
        raise foreign(where)
    version = settings.pop("version", None)
    if isinstance(version, int) and version > VERSION:
        raise IndexFileError(
            f"{where} has version {version} of the format, and this tfhash reads up to {VERSION}. "
            "Update tfhash"
        )
    try:
        state = State(**settings)
        state = dataclasses.replace(state, batches=tuple(map(tuple, state.batches)))
        check_bits(state.bits)
        is_whole = version == VERSION and state.count >= 0 and -1 <= state.next_id < 2**63
        is_whole &= isinstance(state.model, str) and all(len(run) == 2 for run in state.batches)
    except (TypeError, ValueError):
        is_whole = False
    if not is_whole:
        raise damaged(where, "its metadata have been changed")
    return state


def check(state, where, bits, model, cluster):
    """Raises unless an index is the one that was asked for; `None` asks for any.

    Raises:
        ValueError: If its codes are of another length, or in another cluster.
        OtherModelError: If its codes come from another model.
    """
    if bits not in (None, state.bits):
        raise ValueError(
            f"`bits` must be that of the index. Received: bits={bits}, but {where} holds codes of "
            f"{state.bits} bits. Give bits={state.bits}, or another table"
        )
    if cluster not in (None, state.cluster):
        raise ValueError(
            f"`cluster` must be that of the index. Received: cluster={cluster!r}, but the codes of "
            f"{where} are in {state.cluster!r}. Give another table for another cluster"
        )
    if model not in (None, state.model):
        raise OtherModelError(
            f"the codes of {where} come from the model {state.model!r}. Expected: {model!r}. "
            "Encode the images with the model of the index, or connect with model=None"
        )
