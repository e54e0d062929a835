"""Backbones by name, and the small built-in ones for images of 8x8 to 64x64 pixels.

Each ends in features `[n, f]`; a built-in one takes scaled images (see `tfhash.layers.ImageScaling`).
"""

import keras
from keras import layers

from tfhash import applications
from tfhash.layers import PatchWhitening
from tfhash.models.pretrained import build_application, load_backbone, load_weights

# Of all layers, whatever `keras.config.image_data_format()` says: images are [height, width, channels].
CHANNELS_LAST = {"data_format": "channels_last"}


def build_backbone(name, image_shape=None, width=None, weights=None, **options):
    """Builds a backbone by name.

    A built-in backbone takes scaled images (see `tfhash.layers.ImageScaling`). A network of
    `keras.applications` has its preprocessing inside and takes RGB pixels from 0 to 255. A
    `HashingModel` gives each what it takes, and repeats gray images over three channels.

    Args:
        name: `"mlp"`, `"convnet"`, `"resnet"` or `"whitenet"` (adapt the first layer of the last to
            images by `HashingModel.adapt`); the name of a network of `keras.applications`, such as
            `"MobileNetV3Small"`; or the path of a Keras model that ends in features, `*.keras`.
        image_shape: `(height, width, channels)` of the images. The built-in backbones take 8 to 64
            pixels a side. By default the side that a network of `keras.applications` was made for,
            or the input of a saved model.
        width: Channels of the first convolution of a built-in backbone (for `"mlp"`: an eighth of
            the units of a layer), 32 by default; cost grows with its square.
        weights: `None` for random weights; `"imagenet"` for those that Keras has for a network of
            `keras.applications`, downloaded once to its cache; or the path of a file of weights,
            `*.weights.h5`, or `*.h5` as Keras downloads it.
        **options: Other arguments of the network's function in `keras.applications`, such as
            `alpha=0.75` for a MobileNet.

    Returns:
        A `keras.Model` from images to features `[n, f]`.

    Raises:
        ValueError: If the name is unknown, the images are too small or too large, the weights do not
            fit, or a saved model does not end in features.
        FileNotFoundError: If there is no such file.
        OSError: If the weights cannot be downloaded.

    Example:

    >>> build_backbone("convnet", (28, 28, 1)).output_shape
    (None, 256)
    >>> build_backbone("MobileNetV3Small", (64, 64, 3)).output_shape
    (None, 576)
    """
    name = str(name)
    if name.endswith(".keras"):
        return _saved(name, image_shape, width, weights, options)
    if name in applications.FAMILY_OF:
        if width is not None:
            raise ValueError(
                f"`width` is for the built-in backbones, {', '.join(BACKBONES)}. Received: "
                f"width={width!r} for {name}"
            )
        return build_application(name, image_shape, weights, **options)
    if name not in BACKBONES:
        raise ValueError(
            f"`name` must be one of {', '.join(BACKBONES)}, a network of keras.applications or a "
            f"path that ends in .keras. Received: name={name!r}.{applications.close_to(name, BACKBONES)}"
        )
    if options:
        raise ValueError(
            f"a built-in backbone takes no further arguments. Received: {', '.join(options)}"
        )
    if weights == "imagenet":
        raise ValueError(
            f"there are no ImageNet weights for the built-in backbone {name!r}. Take a network of "
            "keras.applications, such as MobileNetV3Small"
        )
    if image_shape is None or not (
        len(image_shape) == 3 and all(8 <= side <= 64 for side in image_shape[:2])
    ):
        shape = None if image_shape is None else tuple(image_shape)
        raise ValueError(
            "`image_shape` must be (height, width, channels) with sides of 8 to 64 pixels for a "
            "built-in backbone; for larger images, resize them or take a network of "
            f"keras.applications, such as MobileNetV3Small. Received: image_shape={shape}"
        )
    images = keras.Input(image_shape, name="scaled_images")
    features = BACKBONES[name](images, 32 if width is None else width)
    backbone = keras.Model(images, features, name=name)
    if weights is not None:
        load_weights(backbone, weights)
    return backbone


def _saved(path, image_shape, width, weights, options):
    arguments = {"width": width, "weights": weights, **options}
    given = [name for name, value in arguments.items() if value is not None]
    if given:
        raise ValueError(
            f"a saved model has its weights and its layers. Received: {', '.join(given)} for {path}"
        )
    backbone = load_backbone(path)
    wanted = backbone.input_shape[1:]
    if image_shape is not None:
        sides, gray_to_rgb = tuple(image_shape[:2]), image_shape[-1] == 1 and wanted[-1] == 3
        fits = all(side in (None, found) for side, found in zip(wanted, sides))
        if not fits or not (wanted[-1] in (None, image_shape[-1]) or gray_to_rgb):
            raise ValueError(
                f"images must have the shape {wanted} for the backbone in {path}. "
                f"Received: {tuple(image_shape)}"
            )
    return backbone


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
    # ReLU, for GELU learned no better and took 1.75 times as long on a CPU (docs/training.md).
    x = layers.Activation("relu")(x)
    for filters in (width, 4 * width, 4 * width):
        x = _conv(x, filters)
        if min(x.shape[1:3]) > 1:
            x = layers.MaxPooling2D(**CHANNELS_LAST)(x)
        x = _norm_relu(x)
        x = _norm_relu(_conv(x, filters))
    return layers.GlobalMaxPooling2D(**CHANNELS_LAST)(x)


def _conv(x, filters, strides=1):
    # No bias, because batch normalization follows.
    convolution = layers.Conv2D(
        filters, 3, strides=strides, padding="same", use_bias=False, **CHANNELS_LAST
    )
    return convolution(x)


def _norm_relu(x):
    # No scale, because the next convolution can scale.
    return layers.Activation("relu")(_norm(scale=False)(x))


def _norm(**arguments):
    # Fast enough for a stage of a few hundred steps.
    return layers.BatchNormalization(momentum=0.9, **arguments)


BACKBONES = {"mlp": _mlp, "convnet": _convnet, "resnet": _resnet, "whitenet": _whitenet}
"""The built-in backbones, by name; see `build_backbone`."""
