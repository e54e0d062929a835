"""What tfhash knows of `keras.applications`: the networks, their images and their pixels. Needs no Keras.

How pixels reach a network is said by `preprocess_input` in the module of its family; a test compares
the two.
"""

import dataclasses
import difflib

# What a network does with RGB pixels from 0 to 255 before its first convolution.
MODES = {
    "inside": "the network scales its pixels itself",
    "tf": "scaled to [-1, 1]",
    "torch": "scaled to [0, 1], then standardized by the mean and deviation of ImageNet",
    "caffe": "channels in the order BGR, less their mean on ImageNet",
}


@dataclasses.dataclass(frozen=True)
class Family:
    """The networks of one module of `keras.applications`.

    Attributes:
        mode: A key of `MODES`.
        sides: Dictionary from the name of a network to the side in pixels of its images.
        layers: Ends of names of layers that are in every network of this family, and together in no
            other.
        smallest_side: Of images, in pixels.
    """

    mode: str
    sides: dict[str, int]
    layers: tuple[str, ...]
    smallest_side: int = 32


FAMILIES = {
    "convnext": Family(
        "inside",
        {f"ConvNeXt{size}": 224 for size in ("Tiny", "Small", "Base", "Large", "XLarge")},
        ("_stage_0_block_0_depthwise_conv", "_downsampling_block_2"),
    ),
    "densenet": Family(
        "torch",
        {"DenseNet121": 224, "DenseNet169": 224, "DenseNet201": 224},
        ("conv2_block1_concat", "pool4_pool"),
    ),
    "efficientnet": Family(
        "inside",
        {
            f"EfficientNetB{i}": side
            for i, side in enumerate((224, 240, 260, 300, 380, 456, 528, 600))
        },
        ("stem_conv_pad", "block1a_dwconv", "top_bn"),
    ),
    "efficientnet_v2": Family(
        "inside",
        {f"EfficientNetV2B{i}": side for i, side in enumerate((224, 240, 260, 300))}
        | {"EfficientNetV2S": 384, "EfficientNetV2M": 480, "EfficientNetV2L": 480},
        ("stem_conv", "block1a_project_conv", "block4a_dwconv2"),
    ),
    "inception_resnet_v2": Family(
        "tf", {"InceptionResNetV2": 299}, ("mixed_5b", "mixed_7a"), smallest_side=75
    ),
    "inception_v3": Family("tf", {"InceptionV3": 299}, ("mixed0", "mixed9_0"), smallest_side=75),
    "mobilenet": Family("tf", {"MobileNet": 224}, ("conv_dw_1", "conv_pw_13")),
    "mobilenet_v2": Family("tf", {"MobileNetV2": 224}, ("Conv1", "block_16_expand", "Conv_1_bn")),
    "mobilenet_v3": Family(
        "inside",
        {"MobileNetV3Small": 224, "MobileNetV3Large": 224},
        ("conv_bn", "expanded_conv_depthwise", "conv_1_bn"),
    ),
    "nasnet": Family(
        "tf",
        {"NASNetMobile": 224, "NASNetLarge": 331},
        ("stem_conv1", "separable_conv_1_reduction_left1_stem_1"),
    ),
    "resnet": Family(
        "caffe",
        {"ResNet50": 224, "ResNet101": 224, "ResNet152": 224},
        ("conv2_block1_0_conv", "conv2_block1_0_bn"),
    ),
    "resnet_v2": Family(
        "tf",
        {"ResNet50V2": 224, "ResNet101V2": 224, "ResNet152V2": 224},
        ("conv2_block1_preact_bn", "post_bn"),
    ),
    "vgg16": Family("caffe", {"VGG16": 224}, ("block1_conv2", "block5_conv3")),
    "vgg19": Family("caffe", {"VGG19": 224}, ("block1_conv2", "block5_conv4")),
    "xception": Family("tf", {"Xception": 299}, ("block14_sepconv2",), smallest_side=71),
}

# Name of the family of each network.
FAMILY_OF = {name: family for family, known in FAMILIES.items() for name in known.sides}


def side_of(name):
    """The side in pixels of the images that a network was made for.

    Example:

    >>> side_of("MobileNetV3Small"), side_of("EfficientNetB4")
    (224, 380)
    """
    return FAMILIES[FAMILY_OF[name]].sides[name]


def check_side(name, sides):
    """Raises `ValueError` if images with these sides in pixels are too small for a network."""
    smallest = FAMILIES[FAMILY_OF[name]].smallest_side
    if any(side is not None and side < smallest for side in sides):
        raise ValueError(
            f"`image_size` must be {smallest} or more for {name}, which was made for "
            f"{side_of(name)}. Received: images of {' x '.join(map(str, sides))} pixels"
        )


def family_of_layers(names):
    """The family of a network with layers of these names; `None` if it is of none.

    Example:

    >>> family_of_layers(["images", "block1_conv1", "block1_conv2", "block5_conv3"])
    'vgg16'
    >>> family_of_layers(["dense"])
    """
    found = [
        family
        for family, known in FAMILIES.items()
        if all(any(name.endswith(end) for name in names) for end in known.layers)
    ]
    if "vgg19" in found:  # which has all layers of the smaller one
        found.remove("vgg16")
    return found[0] if len(found) == 1 else None


def close_to(name, others=()):
    """Words for an error about an unknown network: the names most like it.

    Example:

    >>> close_to("mobilenetv3small")
    ' Did you mean MobileNetV3Small?'
    """
    known = {each.lower(): each for each in (*others, *FAMILY_OF)}
    close = difflib.get_close_matches(str(name).lower(), known, n=1)
    return f" Did you mean {known[close[0]]}?" if close else ""
