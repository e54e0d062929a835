"""A trained model on a worker, and the codes that it makes of image files."""

import os
import tempfile

from tfhash.beam import storage
from tfhash.beam.elements import Bad, code_of
from tfhash.data.contents import decode_files
from tfhash.experiments import RunDirectory
from tfhash.models import fingerprint

BATCH_SIZE = 256


class Encoder:
    """A model.

    Args:
        path: Its run or `.keras` file; in a file system of Beam, a `.keras` file.
        expected: The fingerprint that it must have; by default any will do.

    Attributes:
        model: `HashingModel`.
        fingerprint: Its fingerprint.

    Raises:
        FileNotFoundError, ValueError: As `RunDirectory.load_model`, and if it is another model.
    """

    def __init__(self, path, expected=None):
        self.model = _load(path)
        self.fingerprint = fingerprint(self.model)
        if expected not in (None, self.fingerprint):
            raise ValueError(
                f"{path} is another model on this worker than where the run was started. Give all "
                "workers the same file"
            )

    def encode(self, files, batch_size=BATCH_SIZE):
        """Encodes image files.

        Args:
            files: Pairs of a name and the bytes of a file.
            batch_size: Images that go through the model at a time.

        Returns:
            A list of `Code`, in the order of the files, and a list of `Bad`.
        """
        names, images, bad = self.decode(files)
        return self.encode_images(names, images, batch_size), bad

    def decode(self, files):
        """Decodes image files.

        Args:
            files: Pairs of a name and the bytes of a file.

        Returns:
            The names of those that could be read, their images, and a list of `Bad`.
        """
        bad = [Bad(name, reason) for name, _ in files if (reason := why_no_name(name))]
        files = [(name, contents) for name, contents in files if not why_no_name(name)]
        rows, images, left_out = decode_files(files, self.model.image_shape)
        bad += [Bad(item.name, item.reason) for item in left_out]
        return [files[row][0] for row in rows], images, bad

    def encode_images(self, names, images, batch_size=BATCH_SIZE):
        """Encodes decoded images.

        Args:
            names: A name for each.
            images: NumPy `uint8 [n, height, width, channels]`.
            batch_size: Images that go through the model at a time.

        Returns:
            A list of `Code`.
        """
        packed = self.model.encode(images, batch_size=batch_size)
        return [code_of(name, code.tobytes()) for name, code in zip(names, packed)]


def why_no_name(name):
    """Why a name cannot be kept beside a code, or `None` if it can."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return "its name is not valid UTF-8; rename it"
    return None


def _load(path):
    if storage.is_local(path):
        return RunDirectory.of_model(path).load_model()
    if not path.endswith(".keras"):
        raise ValueError(
            f"`model` in a file system of Beam must be a .keras file. Received: {path}"
        )
    with tempfile.TemporaryDirectory() as directory:
        copy = os.path.join(directory, "model.keras")
        with open(copy, "wb") as file:
            file.write(storage.read(path))
        return RunDirectory.of_model(copy).load_model()
