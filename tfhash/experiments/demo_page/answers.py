"""What the page is told: codes, neighbors and groups, as values of JSON."""

import functools

import numpy as np

from tfhash import codes as code_layout
from tfhash import text
from tfhash.experiments.dedupe import note_on_codes
from tfhash.experiments.serving.request_error import RequestError
from tfhash.index import duplicates

# Neighbors of a query.
MOST_NEIGHBORS = 100
# Groups, and images of one, that are shown.
MOST_GROUPS, MOST_OF_GROUP = 50, 24
# Images to begin with.
EXAMPLES = 12

# Results of earlier searches for groups that are kept, a few bytes for each image in one.
_KEPT = 4


class Answers:
    """Finds what the page asks for.

    Args:
        gallery: `Gallery`.
        query: `ByModel` or `ByFile`.
    """

    def __init__(self, gallery, query):
        self._gallery, self._query = gallery, query
        self._bits = gallery.index.index.bits
        self._groups_within = functools.lru_cache(_KEPT)(self._find_groups)

    def about(self):
        """The index, its limits, and images to begin with."""
        count = len(self._gallery)
        rows = np.unique(np.linspace(0, count - 1, min(EXAMPLES, count)).astype(np.int64))
        return {
            "images": count,
            "bits": self._bits,
            "folder": text.printable(self._gallery.folder, 200),
            "problem": self._query.problem,
            "most_neighbors": MOST_NEIGHBORS,
            "examples": [self._item(item) for item in self._gallery.ids[rows].tolist()],
        }

    def encode(self, contents):
        """The code of an image file; its id and name, too, where it is known to be indexed."""
        code, item = self._query.code_of(contents)
        found = {"code": code.tobytes().hex()}
        return found if item is None else found | self._item(item)

    def indexed(self, item):
        """The code of an indexed image, its id and name."""
        return {"code": self._gallery.code_of(item).tobytes().hex(), **self._item(item)}

    def neighbors(self, code, k, radius):
        """The k nearest images within a radius.

        Args:
            code: Packed code in hexadecimal.
            k: Integer >= 1.
            radius: Integer >= 0.

        Raises:
            RequestError: If the code is none of the index, or `k` or `radius` is out of range.
        """
        packed = self._packed(code)
        _check("k", k, 1, MOST_NEIGHBORS)
        _check("radius", radius, 0, self._bits)
        # One more shows whether the list is cut.
        distances, ids = self._gallery.index.index.search(packed[None], k + 1)
        within = int(np.count_nonzero(distances[0] <= radius))
        shown = min(within, k)
        items = [
            {**self._item(item), "distance": distance, "code": self._hex(item)}
            for item, distance in zip(ids[0, :shown].tolist(), distances[0, :shown].tolist())
        ]
        return {
            "items": items,
            "unavailable": _unavailable(items),
            "is_cut": within > k,
            "cuts_tie": within > k and bool(distances[0, k] == distances[0, k - 1]),
        }

    def groups(self, radius):
        """Groups of images within a radius of another one, largest first.

        Args:
            radius: Integer >= 0.

        Raises:
            RequestError: If `radius` is out of range.
        """
        _check("radius", radius, 0, self._bits)
        found = self._groups_within(radius)
        sizes = np.diff(found.row_splits)
        largest = np.argsort(-sizes, kind="stable")[:MOST_GROUPS].tolist()
        groups = [self._group(found[number]) for number in largest]
        return {
            "groups": len(found),
            "images": len(found.members),
            "of": len(self._gallery),
            "note": note_on_codes(len(found.members), len(self._gallery)),
            "shown": groups,
            "unavailable": _unavailable([item for group in groups for item in group["items"]]),
        }

    def _find_groups(self, radius):
        return duplicates.groups(self._gallery.codes, self._bits, radius)

    def _group(self, group):
        rows = group.members[:MOST_OF_GROUP]
        codes = self._gallery.codes[rows]
        distances = np.unpackbits(codes ^ codes[0], axis=1).sum(axis=1).tolist()
        return {
            "size": len(group.members),
            "nearest": group.nearest,
            "farthest": group.farthest,
            "items": [
                {**self._item(item), "distance": distance}
                for item, distance in zip(self._gallery.ids[rows].tolist(), distances)
            ],
        }

    def _item(self, item):
        # As text: JavaScript rounds integers beyond 2^53.
        return {
            "id": str(item),
            "name": text.printable(self._gallery.name_of(item), 200),
            "state": self._gallery.state(item),
        }

    def _hex(self, item):
        return self._gallery.code_of(item).tobytes().hex()

    def _packed(self, code):
        length = code_layout.packed_length(self._bits)
        try:
            packed = np.frombuffer(bytes.fromhex(code), np.uint8)
            if len(packed) != length:
                raise ValueError(f"{len(packed)} bytes")
            return code_layout.as_packed(packed[None], self._bits, "code")[0]
        except ValueError as error:
            raise RequestError(
                f"`code` must be a code of {self._bits} bits, {length} bytes in hexadecimal. "
                f"Received: {code!r:.100} ({error})"
            ) from None


def _unavailable(items):
    """Number of items whose files are not shown, by state."""
    states = [item["state"] for item in items]
    return {state: states.count(state) for state in sorted(set(states) - {"ok"})}


def _check(name, value, least, most):
    if not least <= value <= most:
        raise RequestError(f"`{name}` must be from {least} to {most}. Received: {value}")
