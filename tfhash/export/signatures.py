"""What a SavedModel can be asked for: codes of images, and of image files.

A session of TensorFlow Serving does not check the shapes that it is fed, so each function does. An empty
batch is encoded as one row that is cut off: some kernels (oneDNN) refuse batches without rows.
"""

import keras
import tensorflow as tf

from tfhash import codes, encoding
from tfhash.data import guarded
from tfhash.data.images import resize_to

ON_ERROR = ("fail", "mask")

_NOT_CODES = (
    "relaxed codes must lie in [-1, 1]. Received: a model that does not end in a "
    "tfhash.layers.HashingLayer, or input that is not finite"
)


class Encoder:
    """A model as functions on tensors, of which signatures are made.

    The model is traced once for all of them.

    Args:
        model, output, on_error, max_pixels: As in `tfhash.export.export_saved_model`.

    Attributes:
        images: What `encode` takes, a `tf.TensorSpec`.
        reads_files: Whether `encode_bytes` works: the model takes images of one size, gray or RGB.
        bits: Bits of a code.
        variables: Variables that the codes depend on.
    """

    def __init__(self, model, output=None, on_error="fail", max_pixels=guarded.MAX_PIXELS):
        shape = encoding.input_shape(model)
        if shape is None:
            raise ValueError(
                "the model must be built and have one input. Received: a model whose input shape "
                "is not known"
            )
        if on_error not in ON_ERROR:
            raise ValueError(f"`on_error` must be one of {ON_ERROR}. Received: {on_error!r}")
        if not isinstance(max_pixels, int) or max_pixels < 1:
            raise ValueError(f"`max_pixels` must be an integer >= 1. Received: {max_pixels!r}")
        self.input_shape = shape
        self.is_image = len(shape) == 3 and None not in shape
        self.reads_files = self.is_image and shape[-1] in (1, 3)
        if on_error == "mask" and not self.reads_files:
            raise ValueError(
                "`on_error='mask'` is for models that take images of one size, gray or RGB, and so "
                f"can read files. Received: a model with input of shape {shape}"
            )
        self.on_error, self.max_pixels = on_error, max_pixels
        self.resizes = self.is_image and hasattr(model, "image_shape")
        batch = tf.TensorSpec((None, *shape), _input_dtype(model), name="images")
        anything = (None, None, None, shape[-1])
        self.images = tf.TensorSpec(anything, batch.dtype, "images") if self.resizes else batch
        self._network, self.variables = _trace(model, output, batch)
        self.bits = self._network.structured_outputs["relaxed_codes"].shape[-1]

    def encode(self, images):
        """Codes of images.

        Args:
            images: As the attribute `images`. For a `HashingModel`, images of any size, which are
                resized as `tfhash.data.images.resize_to` does.

        Returns:
            Dictionary of `codes`, packed `uint8 [n, ceil(bits / 8)]`; `relaxed_codes`,
            `float32 [n, bits]`; and, if the model has a classifier, `class_ids`, `int64 [n]`.
        """
        images = tf.ensure_shape(images, self.images.shape)
        count = tf.shape(images)[0]
        one = tf.concat([[1], self.input_shape if self.is_image else tf.shape(images)[1:]], axis=0)
        batch = tf.cond(count > 0, lambda: self._sized(images), lambda: tf.zeros(one, images.dtype))
        outputs = self._network(tf.ensure_shape(batch, (None, *self.input_shape)))
        return {name: values[:count] for name, values in outputs.items()}

    def encode_bytes(self, image_bytes):
        """Codes of image files.

        Args:
            image_bytes: `string [n]`, each the contents of a JPEG, PNG, GIF, BMP or WebP file.

        Returns:
            As `encode`, and with `on_error="mask"` also `valid`, `bool [n]`. Where it is false, codes
            and relaxed codes are 0, and class ids are -1.
        """
        how = {"image_shape": self.input_shape, "max_pixels": self.max_pixels}
        if self.on_error == "fail":
            images = guarded.decode_batch_or_fail(image_bytes, **how)
            return self.encode(tf.cast(images, self.images.dtype))
        images, valid = guarded.decode_batch(image_bytes, **how)
        outputs = self.encode(tf.cast(images, self.images.dtype))
        for name, values in outputs.items():
            column = valid if len(values.shape) == 1 else valid[:, None]
            masked = tf.constant(-1 if name == "class_ids" else 0, values.dtype)
            outputs[name] = tf.where(column, values, masked)
        return {**outputs, "valid": valid}

    def _sized(self, images):
        if not self.resizes:
            return images
        shape = tf.shape(images)
        message = ["images must have a height and a width of at least 1. Received: shape", shape]
        with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(shape > 0), message, 4)]):
            is_right = tf.reduce_all(shape[1:] == self.input_shape)
        return tf.cond(is_right, lambda: images, lambda: resize_to(images, self.input_shape))


def collect(encoder):
    """The signatures of a SavedModel, a dictionary from name to traced function."""
    signatures = {"encode": _traced(encoder.encode, encoder.images)}
    if encoder.reads_files:
        files = tf.TensorSpec((None,), tf.string, name="image_bytes")
        signatures["encode_bytes"] = _traced(encoder.encode_bytes, files)
    default = signatures.get("encode_bytes", signatures["encode"])
    return {**signatures, "serving_default": default}


def _traced(function, *specs):
    return tf.function(function, specs, autograph=False).get_concrete_function()


def _trace(model, output, batch):
    """The model as a traced function from a batch to outputs, and its variables."""

    def network(images):
        outputs = model(images, training=False)
        relaxed = encoding.select_output(model, outputs, output)
        found = {"codes": codes.pack(relaxed), "relaxed_codes": keras.ops.cast(relaxed, "float32")}
        if hasattr(model, "classify"):
            found["class_ids"] = keras.ops.argmax(outputs["logits"], axis=-1)
        return found

    if keras.backend.backend() == "tensorflow":
        run = tf.function(network, [batch], autograph=False)
    else:
        archive = keras.export.ExportArchive()
        archive.track(model)
        run = archive.add_endpoint("network", network, input_signature=[batch])

    def checked(images):
        outputs = run(images)
        # NaN is not less than anything.
        are_codes = tf.reduce_all(tf.abs(outputs["relaxed_codes"]) <= encoding.LARGEST_RELAXED)
        with tf.control_dependencies([tf.debugging.Assert(are_codes, [_NOT_CODES])]):
            outputs = {name: tf.identity(values) for name, values in outputs.items()}
        if "class_ids" in outputs:
            outputs["class_ids"] = tf.cast(outputs["class_ids"], tf.int64)
        return outputs

    traced = _traced(checked, batch)
    # Each variable once. Keras's archive follows the attributes of all layers, which takes several
    # times as long, and stores each weight twice.
    return traced, list(traced.graph.variables)


def _input_dtype(model):
    if hasattr(model, "image_shape"):
        return tf.uint8
    inputs = getattr(model, "inputs", None)
    return getattr(inputs[0], "dtype", "float32") if inputs else "float32"
