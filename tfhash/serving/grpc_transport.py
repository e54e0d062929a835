"""Requests to TensorFlow Serving by gRPC. Imports TensorFlow, whose protos it sends."""

import json
import urllib.parse

from tfhash.errors import how_to_install
from tfhash.serving import errors

try:
    import grpc
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        get_model_status_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_service_pb2_grpc,
    )
except ImportError as error:
    raise ImportError(
        f"grpc:// needs packages that are not installed ({error}). "
        f"{how_to_install('serving')}, or use http://"
    ) from error

import tensorflow as tf

# Of gRPC's own retries, which add chance to each wait.
_RETRIES = {
    "initialBackoff": "0.1s",
    "maxBackoff": "10s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
# gRPC takes a larger number for this one.
MOST_RETRIES = 4

_LOCAL = ("localhost", "127.0.0.1", "::1")


class GrpcTransport:
    """A model of a server; see `tfhash.serving.Client` for the arguments."""

    def __init__(self, url, model_name, version, timeout, retries):
        if retries > MOST_RETRIES:
            raise ValueError(
                f"`retries` must be at most {MOST_RETRIES} with grpc://. Received: "
                f"retries={retries}"
            )
        self.url = url.rstrip("/")
        parts = urllib.parse.urlsplit(url)
        self._timeout = timeout
        self._model_name, self._version = model_name, version
        options: list[tuple[str, int | str]] = [
            # Of received messages 4 MiB by default, which names and relaxed codes may pass.
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", -1),
            ("grpc.enable_http_proxy", int(parts.hostname not in _LOCAL)),
            # Otherwise retries within a second find the connection still given up.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
        ]
        if retries:
            options += [("grpc.service_config", json.dumps(_service_config(retries)))]
        self._channel = grpc.insecure_channel(parts.netloc, options)
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def predict(self, signature, inputs):
        """Outputs of a signature, a dictionary from a name to an array."""
        request = predict_pb2.PredictRequest()
        self._name_model(request.model_spec)
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            dtype = tf.string if isinstance(value, list) else value.dtype
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value, dtype))
        answer = self._ask(self._prediction.Predict, request, self._timeout)
        return {name: _as_array(tensor) for name, tensor in answer.outputs.items()}

    def states(self, timeout):
        """The state of each version, a list of strings."""
        request = get_model_status_pb2.GetModelStatusRequest()
        self._name_model(request.model_spec)
        answer = self._ask(self._models.GetModelStatus, request, timeout)
        states = get_model_status_pb2.ModelVersionStatus.State
        return [states.Name(version.state) for version in answer.model_version_status]

    def metadata(self):
        """See `tfhash.serving.Client.metadata`."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._name_model(request.model_spec)
        answer = self._ask(self._prediction.GetModelMetadata, request, self._timeout)
        found = get_model_metadata_pb2.SignatureDefMap()
        if not answer.metadata["signature_def"].Unpack(found):
            raise errors.unreadable(self.url, "it has no `signature_def`")
        return {
            "version": answer.model_spec.version.value,
            "signatures": {
                name: {
                    side: {key: _dtype_and_shape(i) for key, i in getattr(signature, side).items()}
                    for side in ("inputs", "outputs")
                }
                for name, signature in found.signature_def.items()
                # TensorFlow's own, which initializes a model and takes nothing.
                if not name.startswith("__")
            },
        }

    def close(self):
        self._channel.close()

    def _name_model(self, spec):
        spec.name = self._model_name
        if self._version is not None:
            spec.version.value = self._version

    def _ask(self, method, request, timeout):
        try:
            return method(request, timeout=timeout)
        except grpc.RpcError as error:
            status, said = error.code(), error.details() or ""
        if status is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise errors.too_slow(self.url, timeout)
        # gRPC itself says so where it finds no server.
        if status is grpc.StatusCode.UNAVAILABLE and "failed to connect" in said.lower():
            raise errors.no_answer(self.url, said)
        version = "" if self._version is None else f", version {self._version},"
        raise errors.refusal(self.url, status.name, said, f"{self._model_name!r}{version}")


def _service_config(retries):
    method = {"service": "tensorflow.serving.PredictionService"}
    return {
        "methodConfig": [
            {"name": [method], "retryPolicy": {**_RETRIES, "maxAttempts": retries + 1}}
        ]
    }


def _as_array(tensor):
    array = tf.make_ndarray(tensor)
    if array.dtype != object:
        return array
    # Names of files may be no valid UTF-8.
    strings = [text.decode("utf-8", "surrogateescape") for text in array.ravel()]
    named = array.copy()
    named.reshape(-1)[:] = strings
    return named


def _dtype_and_shape(info):
    dtype = tf.dtypes.as_dtype(info.dtype).name
    if info.tensor_shape.unknown_rank:
        return dtype, None
    sides = [dim.size for dim in info.tensor_shape.dim]
    return dtype, tuple(None if side < 0 else side for side in sides)
