"""How tests run pipelines: in this process, which takes a second less than in workers."""

import apache_beam as beam

from tfhash.beam.pipeline import Job, build

# Otherwise Beam looks for Prism, a program that it would download.
OPTIONS = ["--allow_unsafe_triggers"]


def pipeline():
    """A pipeline of this process."""
    options = beam.options.pipeline_options.PipelineOptions(OPTIONS)
    return beam.Pipeline("DirectRunner", options)


def collected(build):
    """The elements of what `build(pipeline)` returns, a list."""
    found = []
    with pipeline() as made:
        # This process runs the function itself, not a copy.
        _ = build(made) | beam.combiners.ToList() | beam.Map(_Keep(found))
    return found


_kept: dict[int, list] = {}


class _Keep:
    """Adds what it is called with to a list of this process, also as a copy of itself."""

    def __init__(self, found):
        self._key = id(found)
        _kept[self._key] = found

    def __call__(self, elements):
        _kept[self._key] += elements


def run_here(directory, pending, workers, batch_size, options, log, progress):
    """In place of `tfhash.beam.local.run`: makes the shards in this process."""
    with pipeline() as made:
        build(made, Job(directory, batch_size), pending())
