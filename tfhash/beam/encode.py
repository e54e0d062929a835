"""The transform from image files to codes."""

from tfhash.beam.extra import apache_beam as beam
from tfhash.beam.sharing import EncoderHandle

# Name of the output of images that could not be read, and of the counters.
BAD, COUNTERS = "bad", "tfhash"


class Encode(beam.PTransform):
    """Encodes image files, as `tfhash encode` does: with the same bits.

    Takes pairs of a name and the bytes of a file. Returns two collections: `Code` of the images, and
    `Bad` of those that could not be read, which are also the outputs `codes` and `bad`. The counters
    `codes` and `bad` of the namespace `tfhash` say how many there are.

    Each worker process loads the model once. Names must be different from each other, for they make the
    ids, and text that UTF-8 can hold. The files of a batch are in memory together.

    Args:
        model: Path of a run or `.keras` file, which every worker can read; in a file system of Beam,
            such as `gs://`, of a `.keras` file.
        batch_size: Images that go through the model at a time, >= 1.

    Raises:
        ValueError: If `batch_size` is not an integer >= 1.

    Example:

        with beam.Pipeline() as pipeline:
            files = (
                pipeline
                | beam.io.fileio.MatchFiles("photos/**.jpg")
                | beam.io.fileio.ReadMatches()
                | beam.Map(lambda file: (file.metadata.path, file.read()))
            )
            codes, bad = files | tfhash.beam.Encode("runs/photos-32")
    """

    def __init__(self, model, batch_size=256):
        super().__init__()
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(
                f"`batch_size` must be an integer >= 1. Received: batch_size={batch_size!r}"
            )
        self._encoder, self._batch_size = EncoderHandle(str(model)), batch_size

    def expand(self, files):
        batches = files | beam.BatchElements(self._batch_size, self._batch_size)
        encode = beam.ParDo(_Encode(self._encoder, self._batch_size))
        return batches | encode.with_outputs(BAD, main="codes")


class _Encode(beam.DoFn):
    def __init__(self, encoder, batch_size):
        super().__init__()
        self._handle, self._batch_size = encoder, batch_size

    def setup(self):
        self._encoder = self._handle.load()

    def process(self, files):
        codes, bad = self._encoder.encode(files, self._batch_size)
        count({"codes": len(codes), BAD: len(bad)})
        yield from codes
        for item in bad:
            yield beam.pvalue.TaggedOutput(BAD, item)


def count(numbers):
    """Adds to counters of the pipeline.

    Args:
        numbers: Dictionary from the name of a counter to what is added.
    """
    for name, number in numbers.items():
        beam.metrics.Metrics.counter(COUNTERS, name).inc(number)
