"""What a model and an index answer to requests; knows nothing of the web."""

import dataclasses

import numpy as np
import tensorflow as tf

from tfhash import codes, errors
from tfhash.experiments.serving import json_format, names, pixels
from tfhash.experiments.serving.request_error import RequestError
from tfhash.export.masking import MASKED
from tfhash.export.signatures import ON_ERROR, Encoder

# The one version of a model, in the words of TensorFlow Serving.
VERSION = 1

# Items in an answer, so that they fit into memory.
MOST_FOUND = 1_000_000

# As the protos of TensorFlow name types.
_STRING, _UINT8, _INT32 = "DT_STRING", "DT_UINT8", "DT_INT32"
_INT64, _FLOAT, _BOOL = "DT_INT64", "DT_FLOAT", "DT_BOOL"


class Service:
    """A model and an index, ready for requests.

    Args:
        model: A built `tfhash.models.HashingModel`.
        name: Name under which the model is served.
        index: `tfhash.experiments.ImageIndex` of codes of the model, to search; by default, images
            can only be encoded.
        on_error: What to do with a file that cannot be read: `"fail"` the request, or mask the file, as in
            `tfhash.export.export_saved_model`, by `"mask"`.

    Raises:
        ValueError: If the name does not fit into an address, or the model takes other images than
            gray and RGB, or gives no codes, or `on_error` is something else.
    """

    def __init__(self, model, name, index=None, on_error="fail"):
        names.check(name)
        if on_error not in ON_ERROR:
            raise ValueError(f"`on_error` must be one of {ON_ERROR}. Received: {on_error!r}")
        if model.image_shape[-1] not in (1, 3):
            raise ValueError(
                "the model must take gray or RGB images. Received: a model of images of shape "
                f"{tuple(model.image_shape)}"
            )
        self.name, self.bits = name, model.bits
        self.image_shape = tuple(model.image_shape)
        self.index, self._on_error = index, on_error
        self.signatures = json_format.ENCODE | (json_format.SEARCH if index is not None else {})
        # As an exported model does it.
        batch = tf.TensorSpec((None, *self.image_shape), tf.uint8)
        self._encode = tf.function(Encoder(model).encode, [batch], autograph=False)
        self._warm_up()

    def encode(self, images):
        """Runs the model.

        Args:
            images: NumPy `uint8 [n, *image_shape]`, n >= 1.

        Returns:
            Dictionary of NumPy arrays: `codes`, packed `uint8 [n, ceil(bits / 8)]`; `relaxed_codes`,
            `float32 [n, bits]`; and `class_ids`, `int64 [n]`.
        """
        return {name: np.asarray(array) for name, array in self._encode(images).items()}

    def read(self, body):
        """Reads a request; see `json_format.read`.

        Raises:
            RequestError: If it is malformed, or asks for too much.
        """
        request = json_format.read(body, self.signatures)
        if len(request) > json_format.MOST_IMAGES:
            raise RequestError(
                f"a request has at most {json_format.MOST_IMAGES:,} images. Received: "
                f"{len(request):,}. Send them in several requests"
            )
        if request.k is not None:
            found = len(request) * min(request.k, len(self.index.index))
            if found > MOST_FOUND:
                raise RequestError(
                    f"an answer has at most {MOST_FOUND:,} items. Received: {len(request):,} "
                    f"images with k={request.k:,}, {found:,} items. Send fewer images or a smaller k"
                )
        if request.is_files:
            return request
        return dataclasses.replace(request, images=pixels.of_lists(request.images))

    def pixels(self, request, start, end):
        """The images `start` to `end` of a request.

        Returns:
            NumPy `uint8 [n, *image_shape]`; and whether each could be read, `bool [n]`, where files
            that cannot be are masked, and `None` elsewhere.

        Raises:
            RequestError: If one of them is none and is not masked; the message has its number.
        """
        images = request.images[start:end]
        if not request.is_files:
            return pixels.resized(images, self.image_shape), None
        if self._on_error == "fail":
            return pixels.of_files(images, start, self.image_shape), None
        return pixels.of_files_or_masked(images, self.image_shape)

    def answer(self, request, rows, valid):
        """The answer to a request, bytes of JSON.

        Args:
            request: `json_format.Request`.
            rows: List of dictionaries of `encode` that hold all its images, in order.
            valid: List of what `pixels` says of their files, in the same parts.
        """
        rows = rows or [{name: array[:0] for name, array in self._example.items()}]
        outputs = {name: np.concatenate([part[name] for part in rows]) for name in rows[0]}
        if request.k is not None:
            outputs = self._search(outputs["codes"], request.k)
        if request.is_files and self._on_error == "mask":
            outputs["valid"] = np.concatenate([np.zeros(0, bool), *valid])
            for name in MASKED.keys() & outputs.keys():
                outputs[name][~outputs["valid"]] = MASKED[name]
        return json_format.write(request, outputs)

    def metadata(self):
        """What the metadata API of TensorFlow Serving returns."""
        images = {"images": (_UINT8, (-1, -1, -1, self.image_shape[-1]))}
        files = {"image_bytes": (_STRING, (-1,))}
        count = {"k": (_INT32, ())}
        packed = {"codes": (_UINT8, (-1, codes.packed_length(self.bits)))}
        encoded = packed | {
            "relaxed_codes": (_FLOAT, (-1, self.bits)),
            "class_ids": (_INT64, (-1,)),
        }
        found = packed | {
            "ids": (_INT64, (-1, -1)),
            "distances": (_INT32, (-1, -1)),
            "names": (_STRING, (-1, -1)),
        }
        masks = {"valid": (_BOOL, (-1,))} if self._on_error == "mask" else {}
        signatures = {
            name: {
                "inputs": _described(
                    (files if json_format.BYTES in inputs else images)
                    | (count if json_format.COUNT in inputs else {})
                ),
                "outputs": _described(
                    (found if json_format.COUNT in inputs else encoded)
                    | (masks if json_format.BYTES in inputs else {})
                ),
                "method_name": "tensorflow/serving/predict",
                "defaults": {},
            }
            for name, inputs in self.signatures.items()
        }
        return {
            "model_spec": {"name": self.name, "signature_name": "", "version": str(VERSION)},
            "metadata": {"signature_def": {"signature_def": signatures}},
        }

    def _search(self, queries, k):
        if not len(queries):
            width = min(k, len(self.index.index))
            distances, ids = np.zeros((0, width), np.int32), np.zeros((0, width), np.int64)
        else:
            distances, ids = self.index.index.search(queries, k)
        names = self.index.index.names_of(ids)
        names[names == None] = ""  # noqa: E711
        return {"ids": ids, "distances": distances, "names": names, "codes": queries}

    def _warm_up(self):
        """Has everything traced before the first request."""
        black = np.zeros((1, *self.image_shape), np.uint8)
        with errors.translated():  # a model whose outputs are no codes, such as NaN
            self._example = self.encode(black)
        png = tf.io.encode_png(np.zeros((8, 8, 3), np.uint8)).numpy()
        self.pixels(json_format.Request("encode_bytes", True, True, [png], None), 0, 1)


def _described(tensors):
    return {
        name: {
            "dtype": dtype,
            "tensor_shape": {
                "dim": [{"size": str(side), "name": ""} for side in shape],
                "unknown_rank": False,
            },
            "name": name,
        }
        for name, (dtype, shape) in tensors.items()
    }
