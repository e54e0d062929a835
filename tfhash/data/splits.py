"""The splits of a dataset: what is trained on, validated on, asked and searched."""

import dataclasses
import json

import numpy as np

from tfhash.data.content import digest
from tfhash.data.split import Split
from tfhash.data.summary import Summary
from tfhash.labels import is_multi_hot, lists
from tfhash.text import escaped, listing

PARTS = ("train", "validation", "queries", "database")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Splits:
    """The splits of a dataset.

    Attributes:
        source: What was loaded.
        classes: Name of each class; label i is class i. Where items have several labels, labels are
            multi-hot and column i is class i.
        train: Items to train on.
        validation: Items held out from training, to choose by.
        queries: Items to report on, never to choose by.
        database: Items that the queries search.
        protocol: How the items were divided; see `tfhash.data.load`.
        draws_queries: Whether queries are a share of all items, because there is no test split.
        summary: `Summary` of what was taken from a folder and what was left out.

    Example:

    >>> from tfhash import data
    >>> splits = data.load("digits")
    >>> len(splits.queries), len(splits.database)
    (387, 1410)
    """

    source: str
    classes: list[str]
    train: Split
    validation: Split
    queries: Split
    database: Split
    protocol: str = "official"
    draws_queries: bool = False
    summary: Summary = dataclasses.field(default_factory=Summary)

    @classmethod
    def create(cls, source, classes, train, validation, queries, **attributes):
        """Splits whose database is what can be trained on: `train`, then `validation`.

        Args:
            source, classes, train, validation, queries, **attributes: The attributes.
        """
        database = train.concatenate(validation)
        return cls(source, classes, train, validation, queries, database, **attributes)

    def __repr__(self):
        lines = [
            f"Splits of {self.source}, protocol {self.protocol}",
            f"  {len(self.classes)} classes: {listing(self.classes, most=10)}",
            f"  images: {' x '.join(map(str, self.image_shape))}, uint8",
            *(f"  {part}: {len(getattr(self, part)):,} items" for part in PARTS),
        ]
        if self.summary.left_out:
            lines.append(f"  left out: {len(self.summary.left_out):,} files; see summary")
        return escaped("\n".join(lines))

    @property
    def image_shape(self):
        """Shape of the images, `(height, width, channels)`."""
        return self.train.image_shape

    def unlabeled(self):
        """Items of the database that are neither trained on nor held out for validation.

        Under `cnnh` and `cnnh54k`, their images may be trained on, and their labels not.
        """
        labeled = np.concatenate([self.train.indices, self.validation.indices])
        return self.database.pick(np.flatnonzero(~np.isin(self.database.indices, labeled)))

    def fingerprint(self):
        """SHA-256 of the names and labels of the items of every split, in hexadecimal.

        It tells which items were divided how, not what their pixels are. Items of
        tensorflow-datasets are named by their places in the prepared splits, so a dataset prepared
        in another order has another fingerprint.
        """
        parts = [getattr(self, part) for part in PARTS]
        found = [[part.names, _as_lists(part.labels)] for part in parts]
        return digest(json.dumps(found).encode())

    @property
    def has_several_labels(self):
        """Whether labels are multi-hot, because items have several."""
        return is_multi_hot(self.train.labels)

    def resize_to(self, image_shape):
        """The same splits with images brought to another shape."""
        parts = {part: getattr(self, part).resize_to(image_shape) for part in PARTS}
        return dataclasses.replace(self, **parts)


def _as_lists(labels):
    # Those of single labels are as they were before there were several.
    return lists(labels) if is_multi_hot(labels) else labels.tolist()
