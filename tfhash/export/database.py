"""The items that an exported model searches."""

import dataclasses

import numpy as np

from tfhash import codes as code_layout
from tfhash import text
from tfhash.index import HammingIndex, OtherModelError


@dataclasses.dataclass(frozen=True)
class Database:
    """Codes, ids and names in ascending order of ids.

    Attributes:
        bits: Number of bits of a code.
        codes: Packed codes, `uint8 [m, ceil(bits / 8)]`.
        ids: `int64 [m]`, ascending.
        names: Strings, `[m]`, "" for an item without a name; `None` if no item has one. Bytes of file
            names that are not UTF-8 are escaped, because a server answers in JSON.
    """

    bits: int
    codes: np.ndarray
    ids: np.ndarray
    names: list[str] | None = None

    def __len__(self):
        return len(self.ids)

    @classmethod
    def of(cls, source, bits, model=None):
        """The items of an index or of arrays.

        Args:
            source: `tfhash.index.HammingIndex`; `(codes, ids, names)`, where `ids` may be `None` for
                0, 1, ... and `names` may be `None`; or a `Database`.
            bits: Number of bits of the codes of the model that is exported.
            model: Fingerprint of that model (`tfhash.models.fingerprint`). An index whose codes come
                from another model is refused; one that does not say is taken. `None` takes any.

        Returns:
            `Database`.

        Raises:
            tfhash.index.OtherModelError: If the codes of an index come from another model.
            ValueError: If the codes have another number of bits, ids are repeated, or ids or names
                do not fit the codes.

        Example:

        >>> codes = np.array([[3, 0], [255, 15]], "uint8")
        >>> database = Database.of((codes, [7, 5], ["a.jpg", None]), bits=12)
        >>> database.ids.tolist(), database.names
        ([5, 7], ['', 'a.jpg'])
        """
        if not isinstance(source, (HammingIndex, Database)):
            index = _index_of(source, bits)
            return cls._of_index(index, has_names=source[2] is not None)
        if source.bits != bits:
            raise ValueError(
                f"the codes of `database` must have {bits} bits, as those of the model. Received: "
                f"{source.bits} bits"
            )
        if isinstance(source, Database):
            return source
        if model is not None and source.model not in ("", model):
            raise OtherModelError(
                f"the codes of `database` come from the model {source.model!r}. Expected: {model!r}, "
                "the model that is exported. Export the model of the index, or index the images with "
                "this one"
            )
        return cls._of_index(source)

    def names_as_lines(self):
        """The text of `assets/item_names.txt`: a line for each item, its id, a tab and its name.

        Line breaks and other control characters of names become spaces.
        """
        names = self.names or [""] * len(self)
        return "".join(f"{item}\t{_on_one_line(name)}\n" for item, name in zip(self.ids, names))

    @classmethod
    def _of_index(cls, index, has_names=True):
        codes, ids = index.items()
        names = index.names_of(ids).tolist() if has_names else []
        names = [text.escaped(name or "") for name in names] if any(names) else None
        return cls(index.bits, codes, ids, names)


def _on_one_line(name):
    # Most names are, and there may be millions.
    return name if name.isprintable() else text.printable(name, longest=len(name) + 3)


def _index_of(arrays, bits):
    """An index of arrays: it checks and sorts them."""
    if not isinstance(arrays, (tuple, list)) or len(arrays) != 3:
        raise ValueError(
            "`database` must be a tfhash.index.HammingIndex or (codes, ids, names). Received: "
            f"{type(arrays).__name__}"
        )
    codes, ids, names = arrays
    codes = code_layout.as_packed(codes, bits)
    if names is not None and not isinstance(names, (str, bytes)):
        names = ["" if name is None else name for name in names]
    index = HammingIndex(bits, compact=True)
    index.add(codes, ids, names)
    return index
