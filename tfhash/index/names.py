"""Names of items by id, some of which may be in a mapped file."""

import numpy as np

# File names may hold bytes that are not UTF-8. They round-trip unchanged.
_ERRORS = "surrogateescape"


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
        if item in self._changed:
            return self._changed[item]
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
        """Ids, offsets and text of all names, as the constructor takes them."""
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
        return ids, offsets, np.frombuffer(b"".join(texts), np.uint8)

    def _in_file(self, at):
        begin, end = self._offsets[at : at + 2].tolist()
        # Slices of a damaged file are shorter, never outside.
        return self._text[max(begin, 0) : max(end, 0)].tobytes().decode("utf-8", _ERRORS)


def check_names(names, count):
    """Returns names as a list, or raises `ValueError` unless they are `count` strings."""
    if isinstance(names, (str, bytes)):
        raise ValueError(f"`names` must be one string for each code. Received: {names!r}")
    names = [str(name) if isinstance(name, np.str_) else name for name in names]
    wrong = [name for name in names if not isinstance(name, str)]
    if wrong:
        raise ValueError(f"`names` must be strings. Received: {wrong[0]!r}")
    if len(names) != count:
        raise ValueError(
            f"`names` must be one string for each code. Received: {len(names)} names for {count} "
            "codes"
        )
    return names
