"""The code of an image that a person drops on the page."""

import threading

from tfhash.experiments.demo_page import pictures
from tfhash.experiments.serving.request_error import RequestError
from tfhash.experiments.serving.service import Service


class ByModel:
    """Encodes images by the model of the index.

    Args:
        model: `tfhash.models.HashingModel`.

    Attributes:
        problem: "", for any image can be encoded.
    """

    problem = ""

    def __init__(self, model):
        self._service = Service(model, "demo")
        self._encoding = threading.Lock()

    def code_of(self, contents):
        """The packed code of an image file, `uint8 [ceil(bits / 8)]`, and its id, which is `None`.

        Raises:
            RequestError: If it cannot be decoded.
        """
        with self._encoding:
            image = pictures.decode(contents, self._service.image_shape)
            return self._service.encode(image[None])["codes"][0], None


class ByFile:
    """Looks images up among the indexed files, where there is no model.

    Args:
        gallery: `Gallery`.
        problem: Why there is no model, and what to do.
    """

    def __init__(self, gallery, problem):
        self._gallery, self.problem = gallery, problem

    def code_of(self, contents):
        """The packed code of an image file in the index, `uint8 [ceil(bits / 8)]`, and its id.

        Raises:
            RequestError: If it is none, or the index does not hold sizes.
        """
        # First, what would be wrong with a model, too.
        pictures.decode(contents, pictures.THUMBNAIL)
        if not self._gallery.knows_sizes:
            raise RequestError(
                "the index does not hold the sizes of its files, so a dropped file cannot be compared "
                f"with them. Click an image instead; {self.problem}",
                422,
            )
        item = self._gallery.find(contents)
        if item is None:
            raise RequestError(
                f"this image is not one of the indexed files, and {self.problem}", 422
            )
        return self._gallery.code_of(item), item
