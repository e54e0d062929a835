"""Servers for tests of the client: a model whose codes are hashes, by REST and by gRPC."""

import base64
import concurrent.futures
import contextlib
import hashlib
import http.server
import json
import threading

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

STATUS = {"model_version_status": [{"version": "3", "state": "AVAILABLE", "status": {}}]}


class RestServer(http.server.ThreadingHTTPServer):
    """Answers as the stand-in model, after the errors it was given.

    An error is a status, "cut" for a connection that is closed without an answer, or "slow".
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), RestHandler)
        self.errors, self.asked, self.body, self.headers = [], [], None, {}
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.release = threading.Event()


class RestHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self._answer(STATUS)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        inputs = body["inputs"]
        images = [
            base64.b64decode(image["b64"]) for image in inputs.get("image_bytes", [])
        ] or np.array(inputs.get("images"), np.uint8)
        outputs = stand_in_outputs(body["signature_name"], images, inputs.get("k"))
        self.server.asked.append((self.path, body["signature_name"], len(images)))
        self._answer({"outputs": outputs})

    def _answer(self, answer):
        error = self.server.errors.pop(0) if self.server.errors else 200
        if error == "slow":
            self.server.release.wait(60)
        if error in ("cut", "slow"):
            self.close_connection = True
            return
        body = json.dumps(answer if error == 200 else {"error": f"error {error}"}).encode()
        self.send_response(error)
        for name, value in (self.server.headers if error != 200 else {}).items():
            self.send_header(name, value)
        body = body if self.server.body is None else self.server.body
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class GrpcServer(
    prediction_service_pb2_grpc.PredictionServiceServicer,
    model_service_pb2_grpc.ModelServiceServicer,
):
    """As `RestServer`; an error is the name of a status of gRPC, or "slow"."""

    def __init__(self):
        self.errors, self.asked, self.release = [], [], threading.Event()
        self._server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(self, self._server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(self, self._server)
        self.url = f"grpc://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def shutdown(self):
        self._server.stop(None).wait()

    def Predict(self, request, context):  # noqa: N802
        spec = request.model_spec
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        images = inputs["image_bytes"].tolist() if "image_bytes" in inputs else inputs["images"]
        path = f"/v1/models/{spec.name}"
        if spec.HasField("version"):
            path += f"/versions/{spec.version.value}"
        self.asked.append((f"{path}:predict", spec.signature_name, len(images)))
        self._maybe_fail(context)
        outputs = stand_in_outputs(spec.signature_name, images, inputs.get("k"))
        types = {"codes": tf.uint8, "ids": tf.int64, "distances": tf.int32, "names": tf.string}
        answer = predict_pb2.PredictResponse()
        for name, value in outputs.items():
            answer.outputs[name].CopyFrom(tf.make_tensor_proto(value, types[name]))
        return answer

    def GetModelStatus(self, request, context):  # noqa: N802
        self._maybe_fail(context)
        answer = get_model_status_pb2.GetModelStatusResponse()
        answer.model_version_status.add(version=3, state="AVAILABLE")
        return answer

    def GetModelMetadata(self, request, context):  # noqa: N802
        signatures = get_model_metadata_pb2.SignatureDefMap()
        encode = signatures.signature_def["encode"]
        encode.inputs["images"].dtype = tf.uint8.as_datatype_enum
        for size in (-1, -1, -1, 3):
            encode.inputs["images"].tensor_shape.dim.add(size=size)
        encode.outputs["codes"].dtype = tf.uint8.as_datatype_enum
        for size in (-1, 2):
            encode.outputs["codes"].tensor_shape.dim.add(size=size)
        answer = get_model_metadata_pb2.GetModelMetadataResponse()
        answer.model_spec.version.value = 3
        answer.metadata["signature_def"].Pack(signatures)
        return answer

    def _maybe_fail(self, context):
        error = self.errors.pop(0) if self.errors else None
        if error == "slow":
            self.release.wait(60)
        elif error:
            context.abort(grpc.StatusCode[error], f"error {error}")


@contextlib.contextmanager
def running(server):
    serve = getattr(server, "serve_forever", lambda _: None)
    thread = threading.Thread(target=serve, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.release.set()
        server.shutdown()
        thread.join()
        getattr(server, "server_close", lambda: None)()


def stand_in_code(image):
    """The code of 16 bits that stand-in servers give an image: bytes, or an array."""
    contents = image if isinstance(image, bytes) else np.ascontiguousarray(image).tobytes()
    return list(hashlib.sha256(contents).digest()[:2])


def stand_in_outputs(signature, images, k=None):
    """The outputs of stand-in servers, by name, as lists."""
    outputs = {"codes": [stand_in_code(image) for image in images]}
    if signature.startswith("search"):
        assert len(k) == len(images)
        outputs["ids"] = [[code[0] + i for i in range(k[0])] for code in outputs["codes"]]
        outputs["distances"] = [list(range(k[0])) for _ in images]
        outputs["names"] = [["é.png", "", "b.png"][: k[0]] for _ in images]
    return outputs
