"""The client of a served model: what it asks for, how long it waits and how often it tries again."""

import re
import time
import urllib.parse

import numpy as np

from tfhash.serving.errors import ServingError, unreadable
from tfhash.serving.images import ImageList
from tfhash.serving.results import FoundItems

# Seconds between two looks at whether a server is ready: at first, and at most.
_FIRST_WAIT, _LONGEST_WAIT = 0.05, 1.0

_ON_ERROR = ("fail", "mask")

# How servers of this project number an image; TensorFlow puts brackets around each part.
_NUMBER = re.compile(r"\bimage\]? \[?(\d+)\b")


class Client:
    """Encodes and searches images on TensorFlow Serving or `tfhash serve`.

    Images are sent as files where they are files, so that they are decoded and resized as in
    training. Large lists are sent in several requests, one after the other. A request is sent again,
    after a wait that grows and is in part random, where no connection could be made or kept and
    where the server is busy (429, 503, UNAVAILABLE); never after another error, and never after
    `timeout`.

    Messages of gRPC have no limit on the client's side. A server with the usual limit of 4 MiB, which
    TensorFlow Serving does not have, takes 27 arrays of 224 x 224 pixels in a request.

    Args:
        url: `http://HOST:PORT`, `https://HOST:PORT` or `grpc://HOST:PORT`.
        model_name: Name of the model on the server.
        version: Version of the model, an integer; by default the one that the server prefers, which
            may change between two requests.
        timeout: Seconds until a request that is not answered is given up, > 0.
        retries: How often a request is sent again, >= 0; with `grpc://`, 4 at most.
        batch_size: Images in a request at most, >= 1.

    Raises:
        ValueError: If an argument is not as described.
        ImportError: If a package for `grpc://` is not installed.

    Example:

    >>> client = Client("http://127.0.0.1:8501", "photos")
    >>> client.encode(["gone.jpg"])
    Traceback (most recent call last):
        ...
    FileNotFoundError: there is no image gone.jpg. Nothing was sent
    """

    def __init__(self, url, model_name, version=None, *, timeout=30.0, retries=3, batch_size=32):
        _check_integer("version", version, 1, may_be_none=True)
        _check_integer("retries", retries, 0)
        _check_integer("batch_size", batch_size, 1)
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout > 0:
            raise ValueError(f"`timeout` must be seconds > 0. Received: timeout={timeout!r}")
        if not isinstance(model_name, str) or not model_name:
            raise ValueError(f"`model_name` must be a name. Received: model_name={model_name!r}")
        self._batch_size, self._timeout = batch_size, timeout
        self._transport = _transport_of(url)(url, model_name, version, timeout, retries)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Closes the connections."""
        self._transport.close()

    def encode(self, images):
        """Packed codes of images.

        Args:
            images: List of paths, of the contents of files as bytes, or of arrays `uint8 [height,
                width, 1 or 3]` of any sizes, also mixed; or an array `uint8 [n, height, width, 1 or
                3]`. Files are JPEG, PNG, GIF, BMP or WebP.

        Returns:
            NumPy `uint8 [n, ceil(bits / 8)]`, in the order of the images.

        Raises:
            FileNotFoundError: If a file does not exist; nothing is sent.
            ValueError: If an image is something else; nothing is sent.
            ServingError: If the server does not answer, or refuses or masks an image.
        """
        images = ImageList(images)
        if not len(images):
            return np.zeros((0, self._code_bytes()), np.uint8)
        return self._in_batches("encode", images, {}, {"codes": np.uint8})["codes"]

    def search(self, images, k=10, on_error="fail"):
        """The nearest items of images.

        Args:
            images: As in `encode`.
            k: Number of items wanted for each image, >= 1. A smaller database gives all it has.
            on_error: What to do with an image that a server with `--on_error=mask` could not read:
                `"fail"` the search, or `"mask"` the image. Another server refuses it in any case.

        Returns:
            `FoundItems`: distances, ids and names, in the order of the images. Those of a masked image
            are -1, -1 and `None`. Look at distances: an item may have the id -1.

        Raises:
            FileNotFoundError, ServingError: As in `encode`.
            ValueError: As in `encode`, or if `k` or `on_error` is something else.
        """
        _check_integer("k", k, 1, at_most=2**31 - 1)
        if on_error not in _ON_ERROR:
            raise ValueError(f"`on_error` must be one of {_ON_ERROR}. Received: {on_error!r}")
        images = ImageList(images)
        if not len(images):
            nothing = np.zeros((0, 0))
            return FoundItems(
                nothing.astype(np.int32), nothing.astype(np.int64), nothing.astype(object)
            )
        wanted = {"distances": np.int32, "ids": np.int64, "names": object}
        found = self._in_batches("search", images, {"k": k}, wanted, on_error)
        # An item without a name has an empty one on the wire.
        found["names"][found["names"] == ""] = None
        return FoundItems(**found)

    def metadata(self):
        """What the server says about the model.

        Returns:
            A dictionary: `"version"`, an integer, and `"signatures"`, a dictionary from the name of
            each signature to its `"inputs"` and `"outputs"`: dictionaries from a name to `(dtype,
            shape)`, such as `("uint8", (None, None, None, 3))`.

        Raises:
            ServingError: As in `encode`.
        """
        return self._transport.metadata()

    def wait_until_ready(self, timeout=60.0):
        """Waits until the server serves the model.

        Args:
            timeout: Seconds to wait at most.

        Raises:
            ServingError: If it does not in that time.
        """
        deadline = time.monotonic() + timeout
        wait = _FIRST_WAIT
        while True:
            left = deadline - time.monotonic()
            try:
                states = self._transport.states(max(min(self._timeout, left), _FIRST_WAIT))
                if "AVAILABLE" in states:
                    return
                problem = f"the model is in the state {', '.join(states) or 'unknown'}"
            except ServingError as error:
                problem = str(error)
            left = deadline - time.monotonic()
            if left <= 0:
                raise ServingError(f"not ready after {timeout:g} seconds: {problem}")
            time.sleep(min(wait, left))
            wait = min(2 * wait, _LONGEST_WAIT)

    def _in_batches(self, signature, images, more, wanted, on_error="fail"):
        """Outputs for all images, in their order."""
        outputs = {}
        for positions, batch in images.requests(self._batch_size):
            is_files = isinstance(batch, list)
            inputs = {"image_bytes" if is_files else "images": batch}
            # One value for each image: a server that batches requests takes no scalar.
            inputs |= {
                name: np.full(len(positions), value, np.int32) for name, value in more.items()
            }
            try:
                found = self._transport.predict(
                    f"{signature}_bytes" if is_files else signature, inputs
                )
            except ServingError as error:
                raise _naming_images(error, images, positions) from error
            if on_error == "fail":
                self._check_valid(found, images, positions)
            for name, dtype in wanted.items():
                # A server that batches requests of several clients answers all with the largest k.
                rows = self._as_rows(found, name, dtype, len(positions))[:, : more.get("k")]
                if name not in outputs:
                    outputs[name] = np.empty((len(images), rows.shape[1]), dtype)
                if rows.shape[1] != outputs[name].shape[1]:
                    raise unreadable(
                        self._transport.url,
                        f"`{name}` of {rows.shape[1]} columns after {outputs[name].shape[1]}: the "
                        "model has changed between requests. Send the images again, with `version`",
                    )
                outputs[name][positions] = rows
        return outputs

    def _as_rows(self, found, name, dtype, count):
        if name not in found:
            raise unreadable(self._transport.url, f"it has no `{name}`, but {', '.join(found)}")
        try:
            rows = np.asarray(found[name])
            fits = rows.ndim == 2 and len(rows) == count
            # An empty list has no type of its own, and JSON knows no types of integers.
            converted = rows.astype(dtype)
            fits = fits and (dtype is object or (converted == rows).all())
        except (ValueError, TypeError, OverflowError):
            fits = False
        if not fits:
            raise unreadable(
                self._transport.url,
                f"`{name}` must be {np.dtype(dtype).name} [{count}, any]",
            )
        return converted

    def _check_valid(self, found, images, positions):
        # A model exported with on_error="mask" marks what it could not read, and goes on.
        valid = np.asarray(found.get("valid", True))
        if valid.all():
            return
        broken = [
            images.name(position) for position, is_valid in zip(positions, valid) if not is_valid
        ]
        raise ServingError(
            f"{self._transport.url} could not read {len(broken)} of {len(positions)} images: "
            f"{', '.join(broken[:5])}{', ...' if len(broken) > 5 else ''}. Leave them out"
        )

    def _code_bytes(self):
        signatures = self.metadata()["signatures"]
        try:
            _, shape = signatures["encode"]["outputs"]["codes"]
            return int(shape[1])
        except (KeyError, IndexError, TypeError):
            raise unreadable(
                self._transport.url, "its metadata has no signature `encode` with `codes`"
            ) from None


def _naming_images(error, images, positions):
    """The error of a request, with what its images are called here.

    The server numbers them from 0 in each request.
    """
    numbered = _NUMBER.search(error.server_message)
    number = int(numbered[1]) if numbered else len(positions)
    if number < len(positions):
        said = f"image {number} is {images.name(positions[number])}"
    elif len(positions) < len(images):
        said = f"request of {len(positions)} images, from {images.name(positions[0])} on"
    else:
        return error
    return ServingError(f"{error} ({said})", error.status, error.server_message)


def _transport_of(url):
    parts = urllib.parse.urlsplit(url if isinstance(url, str) else "")
    if parts.scheme in ("http", "https") and parts.hostname:
        from tfhash.serving.rest import RestTransport

        return RestTransport
    if parts.scheme == "grpc" and parts.hostname and parts.path in ("", "/"):
        from tfhash.serving.grpc_transport import GrpcTransport

        return GrpcTransport
    raise ValueError(
        "`url` must be http://HOST:PORT, https://HOST:PORT or grpc://HOST:PORT. "
        f"Received: url={url!r}"
    )


def _check_integer(name, value, at_least, at_most=None, may_be_none=False):
    if may_be_none and value is None:
        return
    is_integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not is_integer or value < at_least or (at_most is not None and value > at_most):
        raise ValueError(f"`{name}` must be an integer >= {at_least}. Received: {name}={value!r}")
