"""Small built-in backbones for images of 8x8 to 64x64 pixels.

Each ends in features `[n, f]` and takes scaled images (see `tfhash.layers.ImageScaling`).
"""

import keras
from keras import layers

from tfhash.layers import PatchWhitening

# Of all layers, whatever `keras.config.image_data_format()` says: images are [height, width, channels].
CHANNELS_LAST = {"data_format": "channels_last"}


def build_backbone(name, image_shape, width=32):
    """Builds a backbone by name.

    Args:
        name: `"mlp"`, `"convnet"`, `"resnet"` or `"whitenet"`; adapt the first layer of the last to
            images by `HashingModel.adapt`.
        image_shape: `(height, width, channels)` of the images, 8 to 64 pixels a side.
        width: Channels of the first convolution (for `"mlp"`: an eighth of the units of a layer);
            cost grows with its square.

    Returns:
        A functional `keras.Model` from scaled images to features.

    Raises:
        ValueError: If the name is unknown or the images are too small or too large.

    Example:

    >>> build_backbone("convnet", (28, 28, 1)).output_shape
    (None, 256)
    """
    if name not in BACKBONES:
        raise ValueError(f"`name` must be one of {', '.join(BACKBONES)}. Received: name={name!r}")
    if len(image_shape) != 3 or not all(8 <= side <= 64 for side in image_shape[:2]):
        raise ValueError(
            "`image_shape` must be (height, width, channels) with sides of 8 to 64 pixels; for "
            "larger images, resize them or pass your own backbone, such as one of "
            f"`keras.applications`. Received: image_shape={tuple(image_shape)}"
        )
    images = keras.Input(image_shape, name="scaled_images")
    return keras.Model(images, BACKBONES[name](images, width), name=name)


def _mlp(x, width):
    x = layers.Flatten(**CHANNELS_LAST)(x)
    for _ in range(2):
        x = layers.Dense(8 * width, use_bias=False)(x)
        x = _norm()(x)
        x = layers.Activation("relu")(x)
    return x


def _convnet(x, width):
    """Convolutions with batch normalization; the size halves and the width doubles."""
    x = _conv_bn_relu(x, width)
    while x.shape[1] > 7 and x.shape[2] > 7:
        x = layers.MaxPooling2D(**CHANNELS_LAST)(x)
        width = min(2 * width, 128)
        x = _conv_bn_relu(x, width)
        x = _conv_bn_relu(x, width)
    x = layers.MaxPooling2D(**CHANNELS_LAST)(x)
    x = layers.Flatten(**CHANNELS_LAST)(x)
    x = layers.Dense(256, use_bias=False)(x)
    x = _norm()(x)
    return layers.Activation("relu")(x)


def _resnet(x, width):
    """Pre-activation residual blocks with strided ends and global average pooling."""
    x = _conv(x, width)
    while x.shape[1] > 7 and x.shape[2] > 7:
        width = min(2 * width, 256)
        x = _residual_block(x, width, strides=2)
        x = _residual_block(x, width, strides=1)
    x = _norm()(x)
    x = layers.Activation("relu")(x)
    return layers.GlobalAveragePooling2D(**CHANNELS_LAST)(x)


def _residual_block(x, width, strides):
    y = _norm()(x)
    y = layers.Activation("relu")(y)
    if strides > 1:
        x = layers.Conv2D(width, 1, strides=strides, use_bias=False, **CHANNELS_LAST)(y)
    y = _conv(y, width, strides)
    y = _norm()(y)
    y = layers.Activation("relu")(y)
    y = _conv(y, width)
    return layers.Add()([x, y])


def _conv_bn_relu(x, width):
    x = _norm()(_conv(x, width))
    return layers.Activation("relu")(x)


def _whitenet(x, width):
    """Whitened patches, then wide convolutions with early pooling.

    After the network of Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (2024).
    """
    x = PatchWhitening(2, name="whitening")(x)
    x = layers.Activation("gelu")(x)
    wide = min(4 * width, 256)
    for filters in (width, wide, wide):
        x = _conv(x, filters)
        if min(x.shape[1:3]) > 1:
            x = layers.MaxPooling2D(**CHANNELS_LAST)(x)
        x = _norm_gelu(x)
        x = _norm_gelu(_conv(x, filters))
    return layers.GlobalMaxPooling2D(**CHANNELS_LAST)(x)


def _conv(x, filters, strides=1):
    # No bias, because batch normalization follows.
    convolution = layers.Conv2D(
        filters, 3, strides=strides, padding="same", use_bias=False, **CHANNELS_LAST
    )
    return convolution(x)


def _norm_gelu(x):
    # No scale, because the next convolution can scale.
    return layers.Activation("gelu")(_norm(scale=False)(x))


def _norm(**arguments):
    # Fast enough for a stage of a few hundred steps.
    return layers.BatchNormalization(momentum=0.9, **arguments)


BACKBONES = {"mlp": _mlp, "convnet": _convnet, "resnet": _resnet, "whitenet": _whitenet}
