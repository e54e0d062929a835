"""Requests that a model card prints."""

import json
import urllib.parse

from tfhash.text import fits_address

REST_PORT, GRPC_PORT = 8501, 8500

# The file of the examples.
PHOTO = "photo.jpg"

# Stands for the file in base64, in a body.
PHOTO_IN_BASE64 = "$PHOTO"

_CURL_OF_ZEROS = """\
python3 -c 'import json; print(json.dumps({body}))' | curl -sS {url} -d @-
"""

_GRPC = """\
import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

request = predict_pb2.PredictRequest()
request.model_spec.name = {model_name}
request.model_spec.signature_name = {signature_name}
{inputs}
with grpc.insecure_channel("127.0.0.1:{port}") as channel:
    service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    outputs = service.Predict(request, timeout=10).outputs
for name, value in outputs.items():
    print(name, tf.make_ndarray(value).tolist())
"""

_GRPC_PHOTO = """\
with open("{photo}", "rb") as file:
    request.inputs["{name}"].CopyFrom(tf.make_tensor_proto([file.read()]))"""

_GRPC_TENSOR = """\
request.inputs["{name}"].CopyFrom(tf.make_tensor_proto({value}, tf.{dtype}, {shape}))"""


def example_signature(signatures):
    """The signature that examples call: a search if there is one, and of image files if it takes them.

    Args:
        signatures: Dictionary from a name to a `tfhash.export.signature_defs.Signature`.
    """
    names = ("search_bytes", "search", "serving_default")
    return next(name for name in names if name in signatures)


def rest_request(model_name, signatures, photo, k=10):
    """One request to the REST interface, as the example sends it.

    Args:
        model_name: What the server calls the model.
        signatures: As in `example_signature`.
        photo: An image file in base64, a string; not used if the signature takes no files.
        k: Number of items to search for.

    Returns:
        The path of the address, and the body: a dictionary to send as JSON.

    Example:

    >>> import tensorflow as tf
    >>> from tfhash.export.signature_defs import Signature
    >>> files = tf.TensorSpec([None], tf.string, "image_bytes")
    >>> signatures = {"serving_default": Signature({"image_bytes": files}, {})}
    >>> path, body = rest_request("photos", signatures, "R0lGODlh")
    >>> path
    '/v1/models/photos:predict'
    >>> body["instances"]
    [{'image_bytes': {'b64': 'R0lGODlh'}}]
    """
    name = example_signature(signatures)
    values = {
        key: {"b64": photo} if spec.dtype.name == "string" else k if key == "k" else _zeros(spec)
        for key, spec in signatures[name].inputs.items()
    }
    path = f"/v1/models/{urllib.parse.quote(model_name)}:predict"
    return path, {"signature_name": name, "instances": [values]}


def curl(url, body):
    r"""The line of a shell that posts JSON, with `photo.jpg` where `body` has "$PHOTO".

    `echo` is a part of the shell. Arguments of other programs, such as curl, hold 128 KiB on Linux,
    a photo of 96 kB in base64.

    Args:
        url: Where to post.
        body: What to post, made of what JSON has and without apostrophes.

    Returns:
        A string without a line break.

    Example:

    >>> print(curl("http://127.0.0.1:8501", {"inputs": [{"b64": "$PHOTO"}]}))
    echo '{"inputs": [{"b64": "'$(base64 < photo.jpg | tr -d '\n')'"}]}' | curl -sS http://127.0.0.1:8501 -d @-
    """
    photo = f"'$(base64 < {PHOTO} | tr -d '\\n')'"
    text = json.dumps(body).replace(PHOTO_IN_BASE64, photo)
    return f"echo '{text}' | curl -sS {url} -d @-"


def rest_example(model_name, signatures):
    """The same for a shell, with `photo.jpg` of the current folder."""
    path, body = rest_request(model_name, signatures, PHOTO_IN_BASE64)
    url = f"http://127.0.0.1:{REST_PORT}{path}"
    if _takes_files(signatures):
        return curl(url, body) + "\n"
    # The zeros of an image fill pages, and Python writes them in a line.
    name = body["signature_name"]
    values = {
        key: str(value) if key == "k" else _zeros_in_python(signatures[name].inputs[key])
        for key, value in body["instances"][0].items()
    }
    pairs = ", ".join(f'"{key}": {value}' for key, value in values.items())
    python = f'{{"signature_name": "{name}", "instances": [{{{pairs}}}]}}'
    return _CURL_OF_ZEROS.format(url=url, body=python)


def serve_example(model_name, signatures):
    """The `tfhash serve` that answers as the model does, from the run that it was exported from.

    Args:
        model_name: What a server calls the model.
        signatures: As in `example_signature`.

    Returns:
        A line of a shell, or "" where `tfhash serve` serves no such model, or none of this name.
    """
    inputs = {key for signature in signatures.values() for key in signature.inputs}
    outputs = {key for signature in signatures.values() for key in signature.outputs}
    # Other models than a `HashingModel` have no classes.
    if not {"image_bytes", "class_ids"} <= inputs | outputs or not fits_address(model_name):
        return ""
    index = " --index=INDEX" if "k" in inputs else ""
    mask = " --on_error=mask" if "valid" in outputs else ""
    return f"tfhash serve --model=RUN{index} --name={model_name}{mask}"


def grpc_example(model_name, signatures, k=10):
    """A Python program that asks by gRPC and prints all outputs."""
    name = example_signature(signatures)
    lines = []
    for key, spec in signatures[name].inputs.items():
        if spec.dtype.name == "string":
            lines.append(_GRPC_PHOTO.format(photo=PHOTO, name=key))
        else:
            value, shape = (k, [1]) if key == "k" else (0, [1, *_sides(spec)])
            lines.append(
                _GRPC_TENSOR.format(name=key, value=value, dtype=spec.dtype.name, shape=shape)
            )
    return _GRPC.format(
        model_name=json.dumps(model_name),
        signature_name=json.dumps(name),
        inputs="\n".join(lines),
        port=GRPC_PORT,
    )


def _takes_files(signatures):
    inputs = signatures[example_signature(signatures)].inputs.values()
    return any(spec.dtype.name == "string" for spec in inputs)


def _sides(spec):
    """The shape of one element; sides of any length are 1."""
    return [side or 1 for side in spec.shape.as_list()[1:]]


def _zeros(spec):
    value: int | list = 0
    for side in reversed(_sides(spec)):
        value = [value] * side
    return value


def _zeros_in_python(spec):
    text = "0"
    for side in reversed(_sides(spec)):
        text = f"[{text}] * {side}"
    return text
