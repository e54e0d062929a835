"""What a search on a server returns."""

from typing import NamedTuple

import numpy as np


class FoundItems(NamedTuple):
    """The nearest items of each query, in ascending order of (distance, id); see `tfhash.serving.Client`.

    Attributes:
        distances: Hamming distances in bits, `int32 [q, min(k, items)]`; -1 for a query that was
            masked.
        ids: Ids of the items, `int64` of the same shape; -1 for a query that was masked.
        names: Names of the items, of type object and the same shape: strings, and `None` for items
            without a name and for a query that was masked.
    """

    distances: np.ndarray
    ids: np.ndarray
    names: np.ndarray
