"""The pipeline that makes the shards of a directory."""

import dataclasses

from tfhash.beam.directory import Directory
from tfhash.beam.elements import as_block
from tfhash.beam.encode import BAD, count
from tfhash.beam.extra import apache_beam as beam
from tfhash.beam.sharing import EncoderHandle


@dataclasses.dataclass(frozen=True)
class Job:
    """What workers have to do.

    Attributes:
        directory: `Directory` to be filled.
        batch_size: Images that go through the model at a time.
    """

    directory: Directory
    batch_size: int


def build(pipeline, job, pending):
    """Adds the steps that make shards to a pipeline.

    Args:
        pipeline: `apache_beam.Pipeline`.
        job: `Job`.
        pending: Numbers of the shards to make.
    """
    numbers = pipeline | "Shards" >> beam.Create(pending) | beam.Reshuffle()
    _ = numbers | "Encode" >> beam.ParDo(_EncodeShard(job))


class _EncodeShard(beam.DoFn):
    def __init__(self, job):
        super().__init__()
        self._job = job
        manifest = job.directory.manifest
        self._handle = EncoderHandle(manifest.model_path, manifest.model)

    def setup(self):
        self._encoder = self._handle.load()

    def process(self, number):
        from tfhash.beam.reading import encode_shard

        directory = self._job.directory
        entries, digest = directory.entries(number)
        source, batch_size = directory.manifest.source, self._job.batch_size
        codes, bad = encode_shard(self._encoder, source, entries, batch_size)
        directory.write_shard(number, as_block(codes, directory.manifest.bits), bad, digest)
        count({"codes": len(codes), BAD: len(bad)})
