"""Names of items by id, some of which may be in a mapped file."""

import contextlib

import numpy as np

# File names may hold bytes that are not UTF-8. They round-trip unchanged.
_ERRORS = "surrogateescape"

_UNCHANGED = object()


class Names:
    """Names by id. Those of a file are read when asked for.

    Args:
        ids: Ids with names in the file, `int64 [m]`, ascending.
        offsets: Name i is `text[offsets[i]:offsets[i + 1]]`, `int64 [m + 1]`.
        text: UTF-8, `uint8`.
    """

    def __init__(self, ids=None, offsets=None, text=None):
        self._ids = np.empty(0, np.int64) if ids is None else ids
        self._offsets = np.zeros(1, np.int64) if offsets is None else offsets
        self._text = np.empty(0, np.uint8) if text is None else text
        self._changed = {}  # None for a name that was removed

    def __bool__(self):
        return len(self._ids) > 0 or bool(self._changed)

    def get(self, item):
        """The name of an id, or None."""
        # In one step, because other threads change names meanwhile.
        name = self._changed.get(item, _UNCHANGED)
        if name is not _UNCHANGED:
            return name
        at = int(np.searchsorted(self._ids, item))
        return self._in_file(at) if at < len(self._ids) and self._ids[at] == item else None

    def set(self, ids, names):
        self._changed.update(zip(ids, names))

    def discard(self, ids):
        if not self:
            return
        in_file = np.isin(ids, self._ids)
        for item, is_in_file in zip(ids.tolist(), in_file.tolist()):
            if is_in_file:
                self._changed[item] = None
            else:
                self._changed.pop(item, None)

    def arrays(self):
        """Ids, offsets and text of all names, a dictionary by their names in a file."""
        named = {
            item: self._in_file(at)
            for at, item in enumerate(self._ids.tolist())
            if item not in self._changed
        }
        named.update((item, name) for item, name in self._changed.items() if name is not None)
        ids = np.array(sorted(named), np.int64)
        texts = [named[item].encode("utf-8", _ERRORS) for item in ids.tolist()]
        offsets = np.zeros(len(ids) + 1, np.int64)
        np.cumsum([len(text) for text in texts], out=offsets[1:])
        text = np.frombuffer(b"".join(texts), np.uint8)
        return {"name_ids": ids, "name_offsets": offsets, "name_text": text}

    def _in_file(self, at):
        begin, end = self._offsets[at : at + 2].tolist()
        # Slices of a damaged file are shorter, never outside.
        return self._text[max(begin, 0) : max(end, 0)].tobytes().decode("utf-8", _ERRORS)


@contextlib.contextmanager
def naming(names, core, ids, new):
    """Names items that the block adds, before searches can find them.

    If the block raises, they are unnamed again. Nothing else may change the index meanwhile.

    Args:
        names: `Names`.
        core: The index to which the block adds.
        ids: Ids of the items, `int64 [n]`; `None` for those that follow the largest one.
        new: Their names, `[n]`, or `None`.

    Raises:
        tfhash_ops.index.RepeatedIdError: If an id is not new; other items keep their names.
    """
    with core.snapshot() as snapshot:
        count, next_id = snapshot.count, snapshot.next_id
    if new is not None and ids is None and 0 <= next_id < 2**63 - len(new):
        ids = np.arange(next_id, next_id + len(new), dtype=np.int64)
    elif new is not None and ids is not None:
        core.check_ids(ids)
    else:
        yield
        return
    names.set(ids.tolist(), new)
    try:
        yield
    except BaseException:
        with core.snapshot() as snapshot:
            # An interruption may come when they have been added.
            if snapshot.count == count:
                names.discard(ids)
        raise


def _comes_back(name):
    """Whether a file returns the name as it is."""
    try:
        return name.encode("utf-8", _ERRORS).decode("utf-8", _ERRORS) == name
    except UnicodeEncodeError:
        return False


def check_names(names, count):
    """Returns names as a list, or raises `ValueError` unless they are `count` strings."""
    if isinstance(names, (str, bytes)):
        raise ValueError(f"`names` must be one string for each code. Received: {names!r}")
    names = [str(name) if isinstance(name, np.str_) else name for name in names]
    wrong = [name for name in names if not isinstance(name, str)]
    if wrong:
        raise ValueError(f"`names` must be strings. Received: {wrong[0]!r}")
    unsaved = [name for name in names if not name.isascii() and not _comes_back(name)]
    if unsaved:
        raise ValueError(
            "`names` must be text, or names of files as `os.fsdecode` gives them. Received: "
            f"{unsaved[0]!r}, which UTF-8 cannot hold"
        )
    if len(names) != count:
        raise ValueError(
            f"`names` must be one string for each code. Received: {len(names)} names for {count} "
            "codes"
        )
    return names
