"""A training run, as an object."""

import functools
import pathlib

from tfhash.experiments.report import summary
from tfhash.experiments.run_directory import RunDirectory


class Run:
    """A finished training run.

    Args:
        directory: Path of the run, as `tfhash.experiments.train` wrote it.

    Attributes:
        directory: `pathlib.Path`.
        files: The `RunDirectory`.

    Raises:
        FileNotFoundError: If there is no finished run.

    Example:

        run = tfhash.experiments.Run("runs/mnist-12")
        run.report["metrics"]["map"]
        run.model.encode(images)
    """

    def __init__(self, directory):
        self.files = RunDirectory(directory)
        self.directory = pathlib.Path(directory)
        if not self.files.is_finished:
            raise FileNotFoundError(f"`directory` must hold a finished run. Received: {directory}")

    @functools.cached_property
    def report(self):
        """The report, a dictionary; see `tfhash.experiments.run_directory.REPORT_SCHEMA`."""
        return self.files.report()

    @functools.cached_property
    def model(self):
        """The trained `HashingModel`."""
        return self.files.load_model()

    def __repr__(self):
        return f"Run({str(self.directory)!r})"

    def __str__(self):
        return summary(self.report)
