"""Encoding, searches and near-duplicates of more images than one process takes, on Apache Beam.

    import apache_beam as beam

    from tfhash.beam import Encode

    with beam.Pipeline() as pipeline:
        files = pipeline | beam.Create([("a.jpg", contents)])
        codes, bad = files | Encode("runs/photos-32")

Needs apache-beam: `pip install '.[beam]'` in a checkout of tfhash. Importing this package alone does not.
"""

from tfhash import _lazy

_MODULE_OF = {
    "Bad": "elements",
    "Code": "elements",
    "Encode": "encode",
    "NearPair": "pairs",
    "NearPairs": "pairs",
    "NearestCodes": "search",
    "ReadCodes": "read",
    "Search": "search",
    "ToBlocks": "read",
    "encode_images": "bulk",
}

__getattr__, __dir__, __all__ = _lazy.exports(__name__, _MODULE_OF)
