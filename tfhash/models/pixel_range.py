"""Which pixels a backbone takes, read off its layers, so that raw images are scaled once."""

import keras
import numpy as np
from keras import layers, ops

from tfhash import applications
from tfhash.keras_private import sublayers
from tfhash.layers import ImageScaling

# Of `preprocess_input` in `keras.applications.imagenet_utils`: channels RGB for "torch", whose values
# are scaled to [0, 1] first, and BGR for "caffe".
IMAGENET_MEAN = {"torch": (0.485, 0.456, 0.406), "caffe": (103.939, 116.779, 123.68)}
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)

# A network that divides its input by more, or subtracts more, was made for pixels from 0 to 255.
RAW_DIVISOR, RAW_OFFSET = 16, 16


def preprocess(images, mode):
    """Raw RGB images as a network of `keras.applications` takes them, by stock layers.

    Args:
        images: Symbolic `[n, height, width, 3]`, values 0 to 255.
        mode: A key of `tfhash.applications.MODES`.
    """
    if mode == "tf":
        return layers.Rescaling(1 / 127.5, -1.0, name="preprocessing")(images)
    if mode == "torch":
        deviation = np.array(IMAGENET_DEVIATION)
        offset = -np.array(IMAGENET_MEAN["torch"]) / deviation
        return layers.Rescaling(1 / (255 * deviation), offset, name="preprocessing")(images)
    if mode == "caffe":
        offset = -np.array(IMAGENET_MEAN["caffe"])
        return layers.Rescaling(1.0, offset, name="preprocessing")(ops.flip(images, axis=-1))
    return images


def preprocessing_for(backbone):
    """The layer between raw images and a backbone, found by what the backbone does first.

    A backbone that scales or standardizes its own input gets pixels from 0 to 255. One that does not
    gets [-1, 1], unless it is a network of `keras.applications` that was made for other pixels.

    Args:
        backbone: Keras model of images.

    Returns:
        `tfhash.layers.ImageScaling`.

    Raises:
        ValueError: If only whoever made the backbone knows what pixels it takes.

    Example:

    >>> images = keras.Input((8, 8, 3))
    >>> features = layers.Flatten()(layers.Rescaling(1 / 255)(images))
    >>> preprocessing_for(keras.Model(images, features)).value_range
    (0.0, 255.0)
    """
    channels = channels_of(backbone)
    first = _first_operation(backbone)
    takes_raw = _takes_raw_pixels(first)
    if takes_raw:
        return ImageScaling(channels, value_range=(0, 255))
    names = [layer.name for layer in sublayers(backbone)]
    family = applications.family_of_layers(names)
    mode = applications.FAMILIES[family].mode if family else None
    if takes_raw is None or mode in ("torch", "caffe", "inside"):
        what = (
            f"one of keras.applications.{family}, without its preprocessing"
            if family
            else f"which begins with {type(first).__name__}"
        )
        raise ValueError(
            "only whoever made the backbone knows what pixels it takes. Build it with "
            "`tfhash.models.build_backbone`, which includes the preprocessing of a network of "
            "keras.applications; or begin it with keras.layers.Rescaling(1 / 255) or the like; or "
            "pass `preprocessing`: tfhash.layers.ImageScaling(3, value_range=(0, 255)) for pixels "
            "as they are, tfhash.layers.ImageScaling(3) for [-1, 1]. "
            f"Received: the backbone {backbone.name!r}, {what}"
        )
    return ImageScaling(channels)


def takes_raw_pixels(model):
    """Whether a model is known to take pixels from 0 to 255, by what it does first to its input."""
    return _takes_raw_pixels(_first_operation(model)) is True


def channels_of(backbone):
    """Channels of the images that a backbone takes, 1 or 3; `None` where it does not say."""
    shape = getattr(backbone, "input_shape", None)
    channels = shape[-1] if isinstance(shape, tuple) and len(shape) == 4 else None
    return channels if channels in (1, 3) else None


def _first_operation(model):
    """What a functional model does first to its input, within nested models too; `None` if unknown."""
    if isinstance(model, keras.Sequential):
        operations = model.layers
    else:
        operations = getattr(model, "operations", ())  # of a functional model
    for operation in operations:
        if isinstance(operation, keras.Model):
            return _first_operation(operation)
        # Neither changes the range of values.
        if not isinstance(operation, layers.InputLayer) and type(operation).__name__ != "Flip":
            return operation
    return None


def _takes_raw_pixels(first):
    """Whether a network that begins so takes pixels from 0 to 255; `None` where that is not clear."""
    if isinstance(first, layers.Rescaling):
        divisor = 1 / max(np.max(np.abs(first.scale)), 1e-9)
        is_raw = divisor >= RAW_DIVISOR or np.max(np.abs(first.offset)) >= RAW_OFFSET
        return True if is_raw else None
    if isinstance(first, layers.Normalization):
        variance = first.input_variance
        if variance is None:
            variance = ops.convert_to_numpy(first.adapt_variance) if first.built else 1.0
        return True if np.max(np.sqrt(variance)) >= RAW_DIVISOR else None
    # Arithmetic that is no layer, such as images / 255.
    return False if first is None or isinstance(first, layers.Layer) else None
