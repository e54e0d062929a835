"""Requests that TensorFlow Serving runs before it serves a version."""

import pathlib

import tensorflow as tf

from tfhash.varint import varint

# Where TensorFlow Serving looks, below a version.
WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"

# A side that the signature leaves open, of an input that is no image.
_SIDE = 1
_K = 10


def write_warmup(directory, signatures, model_name, batch_sizes, image_shape=(224, 224, 3)):
    """Writes one request for each signature and batch size.

    A server that cannot run one of them does not serve the version.

    Args:
        directory: The version directory.
        signatures: Dictionary from a name to a `tfhash.export.signature_defs.Signature`.
        model_name: What the server calls the model.
        batch_sizes: Numbers of images in a request.
        image_shape: `(height, width, channels)` of images where a signature takes any size, and of
            image files.

    Returns:
        `pathlib.Path` of the file.
    """
    path = pathlib.Path(directory, WARMUP_FILE)
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name, signature in signatures.items():
            for batch_size in batch_sizes:
                inputs = {
                    key: _example(spec, batch_size, image_shape)
                    for key, spec in signature.inputs.items()
                }
                writer.write(_prediction_log(model_name, name, inputs))
    return path


def _example(spec, batch_size, image_shape):
    """A `TensorProto` of one value, however large the batch is."""
    if spec.dtype == tf.string:
        height, width, _ = image_shape
        file = tf.io.encode_jpeg(tf.fill([height, width, 3], tf.constant(128, tf.uint8)))
        return tf.make_tensor_proto(file.numpy(), tf.string, [batch_size])
    if spec.name == "k":
        # Batching needs a first dimension.
        return tf.make_tensor_proto(_K, spec.dtype, [batch_size])
    sides = spec.shape.as_list()[1:]
    open_sides = image_shape if len(sides) == 3 else [_SIDE] * len(sides)
    shape = [given or side for given, side in zip(sides, open_sides)]
    return tf.make_tensor_proto(0, spec.dtype, [batch_size, *shape])


def _prediction_log(model_name, signature_name, inputs):
    """The bytes of a `tensorflow.serving.PredictionLog` that holds a `PredictRequest`.

    Written field by field, because the classes come with `tensorflow-serving-api` alone. The numbers
    of the fields are those of its `model.proto`, `predict.proto` and `prediction_log.proto`.
    """
    model_spec = _field(1, model_name.encode()) + _field(3, signature_name.encode())
    request = _field(1, model_spec)
    for name, tensor in inputs.items():
        request += _field(2, _field(1, name.encode()) + _field(2, tensor.SerializeToString()))
    predict_log = _field(1, request)
    return _field(6, predict_log)


def _field(number, content):
    """A field of protocol buffers that holds bytes: its number and type, the length and the content."""
    length_delimited = 2
    return varint(number << 3 | length_delimited) + varint(len(content)) + content
