"""Images as a user gives them to the client, and how they are divided into requests."""

import os
import reprlib

import numpy as np

# Of files or pixels in a request, so that it stays below the limits of servers. A larger image is
# sent alone.
MOST_BYTES = 16 * 2**20

# A pixel in JSON takes up to four characters, where a byte in base64 takes one and a third.
_PIXEL_COST = 3


class ImageList:
    """Images to send.

    Args:
        images: List of paths, of the contents of files as bytes, or of arrays `uint8 [height, width,
            channels]` of any sizes, also mixed; or an array `uint8 [n, height, width, channels]`.

    Raises:
        FileNotFoundError: If a file does not exist.
        ValueError: If an image is something else.
    """

    def __init__(self, images):
        if isinstance(images, (str, os.PathLike, bytes, bytearray)):
            raise ValueError(
                "`images` must be a list, or an array. Received: one "
                f"{type(images).__name__}. For one image pass a list of one"
            )
        if getattr(images, "ndim", 4) != 4:
            raise ValueError(
                "`images` must be an array of shape [n, height, width, channels], or a list. "
                f"Received: shape {list(images.shape)}. For one image pass image[None]"
            )
        self._images = [_checked(image, i) for i, image in enumerate(images)]

    def __len__(self):
        return len(self._images)

    def requests(self, batch_size):
        """Divides the images into requests, and reads the files of each when it is its turn.

        Args:
            batch_size: Images in a request at most.

        Yields:
            Pairs of the positions of the images, a list, and the images: a list of bytes, or an
            array `uint8 [n, height, width, channels]`.
        """
        groups: dict[tuple | None, list[int]] = {}
        for position, image in enumerate(self._images):
            groups.setdefault(getattr(image, "shape", None), []).append(position)
        for shape, positions in groups.items():
            for batch in self._batches(positions, batch_size):
                images = [self._contents(position) for position in batch]
                yield batch, images if shape is None else np.stack(images)

    def _batches(self, positions, batch_size):
        batch: list[int] = []
        size = 0
        for position in positions:
            cost = self._cost(position)
            if batch and (len(batch) == batch_size or size + cost > MOST_BYTES):
                yield batch
                batch, size = [], 0
            batch.append(position)
            size += cost
        if batch:
            yield batch

    def _cost(self, position):
        image = self._images[position]
        if isinstance(image, str):
            return os.path.getsize(image)
        return len(image) if isinstance(image, bytes) else image.nbytes * _PIXEL_COST

    def _contents(self, position):
        image = self._images[position]
        if not isinstance(image, str):
            return image
        with open(image, "rb") as file:
            return file.read()

    def name(self, position):
        """A path, or the place of an image in the list."""
        image = self._images[position]
        return image if isinstance(image, str) else f"images[{position}]"


def _checked(image, position):
    """A path as a string, bytes, or an array."""
    if isinstance(image, (bytes, bytearray, memoryview)):
        return bytes(image)
    if isinstance(image, (str, os.PathLike)):
        path = os.fsdecode(image)
        if not os.path.exists(path):
            raise FileNotFoundError(f"there is no image {path}. Nothing was sent")
        if not os.path.isfile(path):
            raise ValueError(f"an image must be a file. Received: {path}. Nothing was sent")
        return path
    if not hasattr(image, "dtype"):
        raise ValueError(
            "an image must be a path, the bytes of a file, or an array uint8 [height, width, "
            f"channels]. Received: {reprlib.repr(image)} as image {position}"
        )
    image = np.asarray(image)
    if (
        image.dtype != np.uint8
        or image.ndim != 3
        or image.shape[-1] not in (1, 3)
        or not image.size
    ):
        raise ValueError(
            "an image must be an array uint8 [height, width, 1 or 3]. Received: "
            f"{image.dtype} {list(image.shape)} as image {position}"
        )
    return image
