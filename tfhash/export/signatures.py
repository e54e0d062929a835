"""What a SavedModel can be asked for: codes of images, and of image files.

A session of TensorFlow Serving does not check the shapes that it is fed, so each function does. An empty
batch is encoded as one row that is cut off: some kernels (oneDNN) refuse batches without rows.
"""

import keras
import tensorflow as tf

from tfhash import codes, encoding
from tfhash.data import guarded
from tfhash.data.images import resize_to
from tfhash.export.inputs import inputs_of
from tfhash.export.masking import masked
from tfhash.export.search import search_function
from tfhash.models.pixel_range import takes_raw_pixels

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
        specs: What `encode` takes, a list of `tf.TensorSpec`, one for each input of the model.
        image_shape: `(height, width, channels)` if the only input is images of one size, else `None`.
        reads_files: Whether there is `encode_bytes`: the model takes images of one size, gray or RGB,
            and pixels from 0 to 255.
        bits: Bits of a code.
        variables: Variables that the codes depend on.
    """

    def __init__(self, model, output=None, on_error="fail", max_pixels=guarded.MAX_PIXELS):
        if on_error not in ON_ERROR:
            raise ValueError(f"`on_error` must be one of {ON_ERROR}. Received: {on_error!r}")
        if not isinstance(max_pixels, int) or max_pixels < 1:
            raise ValueError(f"`max_pixels` must be an integer >= 1. Received: {max_pixels!r}")
        inputs = inputs_of(model)
        batch = [
            tf.TensorSpec((None, *spec.shape[1:]), spec.dtype, name)
            for name, spec in inputs.specs.items()
        ]
        shape = tuple(batch[0].shape[1:])
        is_image = len(batch) == 1 and len(shape) == 3 and None not in shape
        self.image_shape = shape if is_image else None
        self._shape = shape
        self.reads_files = is_image and shape[-1] in (1, 3) and _takes_raw(model, batch[0])
        if on_error == "mask" and not self.reads_files:
            raise ValueError(
                "`on_error='mask'` is for models that can read files: of images of one size, gray or "
                f"RGB, that begin with keras.layers.Rescaling. Received: {_in_words(batch)}"
            )
        self.on_error, self.max_pixels = on_error, max_pixels
        self.resizes = is_image and hasattr(model, "image_shape")
        self.specs = batch
        if self.resizes:
            anything = (None, None, None, shape[-1])
            self.specs = [tf.TensorSpec(anything, batch[0].dtype, batch[0].name)]
        self._network, self.variables = _trace(model, inputs, output, batch)
        self.bits = self._network.structured_outputs["relaxed_codes"].shape[-1]

    def encode(self, *inputs):
        """Codes of a batch.

        Args:
            *inputs: As the attribute `specs`. For a `HashingModel`, images of any size, which are
                resized as `tfhash.data.images.resize_to` does.

        Returns:
            Dictionary of `codes`, packed `uint8 [n, ceil(bits / 8)]`; `relaxed_codes`,
            `float32 [n, bits]`; and, if the model has a classifier, `class_ids`, `int64 [n]`.
        """
        given = [tf.ensure_shape(each, spec.shape) for each, spec in zip(inputs, self.specs)]
        counts = tf.stack([tf.shape(each)[0] for each in given])
        message = ["inputs must have the same number of items. Received:", counts]
        with tf.control_dependencies(
            [tf.debugging.Assert(tf.reduce_all(counts == counts[0]), message)]
        ):
            count = tf.identity(counts[0])
        batch = tf.cond(
            count > 0, lambda: [self._sized(each) for each in given], lambda: self._ones(given)
        )
        outputs = self._network(*batch)
        return {name: values[:count] for name, values in outputs.items()}

    def encode_bytes(self, image_bytes):
        """Codes of image files.

        Args:
            image_bytes: `string [n]`, each the contents of a JPEG, PNG, GIF, BMP or WebP file.

        Returns:
            As `encode`, and with `on_error="mask"` also `valid`, `bool [n]`. Where it is false, codes
            and relaxed codes are 0, and class ids are -1.
        """
        how = {"image_shape": self.image_shape, "max_pixels": self.max_pixels}
        dtype = self.specs[0].dtype
        if self.on_error == "fail":
            images = guarded.decode_batch_or_fail(image_bytes, **how)
            return self.encode(tf.cast(images, dtype))
        images, valid = guarded.decode_batch(image_bytes, **how)
        return masked(self.encode(tf.cast(images, dtype)), valid)

    def _sized(self, images):
        """Images of the size that the network takes; other inputs as they are."""
        if not self.resizes:
            return images
        shape = tf.shape(images)
        message = ["images must have a height and a width of at least 1. Received: shape", shape]
        with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(shape > 0), message, 4)]):
            is_right = tf.reduce_all(shape[1:] == self._shape)
        sized = tf.cond(is_right, lambda: images, lambda: resize_to(images, self._shape))
        return tf.ensure_shape(sized, (None, *self._shape))

    def _ones(self, inputs):
        """A batch of one row of zeros."""
        if self.resizes:
            return [tf.zeros([1, *self._shape], inputs[0].dtype)]
        return [
            tf.zeros(tf.concat([[1], tf.shape(each)[1:]], axis=0), each.dtype) for each in inputs
        ]


def collect(encoder, search=None):
    """The signatures of a SavedModel, a dictionary from name to traced function.

    Args:
        encoder: `Encoder`.
        search: `tfhash.export.search.ExactSearch`, if there is something to search.
    """
    inputs = {"": encoder.specs}
    signatures = {"encode": _traced(encoder.encode, *encoder.specs)}
    if encoder.reads_files:
        inputs["_bytes"] = [tf.TensorSpec((None,), tf.string, name="image_bytes")]
        signatures["encode_bytes"] = _traced(encoder.encode_bytes, *inputs["_bytes"])
    default = signatures.get("encode_bytes", signatures["encode"])
    if search is not None:
        for suffix, specs in inputs.items():
            find = search_function(search, signatures[f"encode{suffix}"], specs)
            signatures[f"search{suffix}"] = find.get_concrete_function()
    return {**signatures, "serving_default": default}


def _traced(function, *specs):
    return tf.function(function, specs, autograph=False).get_concrete_function()


def _trace(model, inputs, output, batch):
    """The model as a traced function from tensors to outputs, and its variables."""

    def network(*tensors):
        arranged = inputs.arranged(dict(zip(inputs.specs, tensors)))
        outputs = model(arranged, training=False)
        relaxed = encoding.select_output(model, outputs, output)
        found = {"codes": codes.pack(relaxed), "relaxed_codes": keras.ops.cast(relaxed, "float32")}
        if hasattr(model, "classify"):
            found["class_ids"] = keras.ops.argmax(outputs["logits"], axis=-1)
        return found

    if keras.backend.backend() == "tensorflow":
        run = tf.function(network, batch, autograph=False)
    else:
        archive = keras.export.ExportArchive()
        archive.track(model)
        run = archive.add_endpoint("network", network, input_signature=batch)

    def checked(*tensors):
        outputs = run(*tensors)
        # NaN is not less than anything.
        are_codes = tf.reduce_all(tf.abs(outputs["relaxed_codes"]) <= encoding.LARGEST_RELAXED)
        with tf.control_dependencies([tf.debugging.Assert(are_codes, [_NOT_CODES])]):
            outputs = {name: tf.identity(values) for name, values in outputs.items()}
        if "class_ids" in outputs:
            outputs["class_ids"] = tf.cast(outputs["class_ids"], tf.int64)
        return outputs

    traced = _traced(checked, *batch)
    # Each variable once. Keras's archive follows the attributes of all layers, which takes several
    # times as long, and stores each weight twice.
    return traced, list(traced.graph.variables)


def _takes_raw(model, images):
    """Whether the model takes the pixels of a file, 0 to 255; nobody knows how else to scale them."""
    is_known = hasattr(model, "image_shape") or images.dtype == tf.uint8
    return is_known or takes_raw_pixels(model)


def _in_words(specs):
    return ", ".join(f"`{spec.name}` {spec.dtype.name} {list(spec.shape)}" for spec in specs)
