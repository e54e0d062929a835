"""One model for all threads of a worker process."""

from tfhash.beam.extra import shared


class EncoderHandle:
    """What becomes an `Encoder` on a worker, the same for all threads of its process.

    Args:
        path, expected: As in `tfhash.beam.encoder.Encoder`.
    """

    def __init__(self, path, expected=None):
        self._path, self._expected = path, expected
        self._shared = shared.Shared()

    def load(self):
        """The `Encoder`, loaded by the first call of the process."""

        def make():
            # TensorFlow is needed here alone, not where the pipeline is made.
            from tfhash.beam.encoder import Encoder

            return Encoder(self._path, self._expected)

        return self._shared.acquire(make)
