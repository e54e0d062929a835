"""How a network is trained. Imports neither Keras nor TensorFlow."""

import dataclasses
import math

from tfhash import applications
from tfhash.data import keras_layers
from tfhash.experiments.settings import Settings, setting

# Those that are built in.
BACKBONES = ("convnet", "mlp", "resnet", "whitenet")
LOSSES = (
    "exponentiated",
    "dpsh",
    "hashnet",
    "dch",
    "dtsh",
    "csq",
    "orthohash",
    "greedyhash",
)
OPTIMIZERS = ("adamw", "muon")
DTYPE_POLICIES = ("float32", "mixed_bfloat16")

# Share of the epochs of pre-training that see labeled images alone, where others follow.
SUPERVISED_SHARE = 1 / 3


@dataclasses.dataclass(frozen=True)
class Recipe(Settings):
    """Everything that can be chosen about a training.

    `tfhash.experiments.make_recipe` fills it from a preset; flags of the same names replace
    single choices, and `tfhash train --help` describes each. `tfhash.experiments.network` builds the model and the learning rates.

    Example:

    >>> from tfhash.experiments import make_recipe
    >>> recipe = make_recipe("simple", image_shape=(28, 28, 1), items=57_000)
    >>> recipe.backbone, recipe.epochs(), recipe.augmentation().max_shift
    ('convnet', 10, 2)
    """

    backbone: str = setting(
        "convnet",
        f"{', '.join(BACKBONES)}: built in, for images of up to 64 pixels. Or a network of "
        "keras.applications, such as MobileNetV3Small, EfficientNetV2B0 or ConvNeXtTiny. Or a Keras "
        "model from images to features, *.keras.",
    )
    weights: str = setting(
        "none",
        "Weights of the backbone to start from. imagenet: those that Keras downloads, the default for "
        "networks of keras.applications. none: random ones. Or a file of weights, *.weights.h5.",
    )
    freeze: bool = setting(
        False, "Leave the backbone as it is and train the heads alone (linear probe)."
    )
    unfreeze_after: int = setting(
        0,
        "Freeze the backbone for so many epochs, until the heads have learned what they can; 0 "
        "trains it from the start.",
        at_least=0,
    )
    width: int | None = setting(
        None,
        "Channels of the first layer of a built-in backbone; time grows with its square.",
        at_least=1,
    )
    batch_size: int = setting(125, "Images in a batch.", at_least=2)
    items_per_class: int = setting(
        0,
        "Images of a class side by side in a batch; 0 for random batches. By default chosen by "
        "how many similar pairs a random batch holds.",
        at_least=0,
    )
    pretrain_epochs: int = setting(5, "Epochs of the pretrain stage.", at_least=0)
    finetune_epochs: int = setting(5, "Epochs of the finetune stage.", at_least=1)
    pretrain_learning_rate: float = setting(
        3e-3,
        "Peak learning rate of the pretrain stage; cosine decay to that of the finetune stage.",
        at_least=0,
    )
    finetune_learning_rate: float = setting(
        6e-4, "Peak learning rate of the finetune stage; cosine decay to 0.", at_least=0
    )
    warmup: float = setting(
        0.2, "Share of the first stage in which the learning rate rises.", at_least=0, at_most=1
    )
    loss: str = setting(
        "exponentiated",
        "Loss of the finetune stage; all but the exponentiated one with default weights.",
        choices=LOSSES,
    )
    optimizer: str = setting(
        "muon", "adamw, or muon: orthogonal steps for convolution kernels.", choices=OPTIMIZERS
    )
    weight_decay: float = setting(
        0.5, "Decoupled weight decay, times the learning rate.", at_least=0
    )
    label_smoothing: float = setting(
        0.1, "Label smoothing of the pretrain stage.", at_least=0, at_most=0.99
    )
    crop: float = setting(
        1.0,
        "Training sees random parts of the images, of at least this share of the area; 1 for whole "
        "images.",
        above=0,
        at_most=1,
    )
    max_shift: int = setting(
        0, "Random shift of training images by up to so many pixels each way.", at_least=0
    )
    flip: bool = setting(False, "Random horizontal flip of training images (p = 0.5).")
    cutout: int = setting(
        0, "Side in pixels of a random square cut out of training images.", at_least=0
    )
    augment: str = setting(
        "",
        "Layers of Keras that change training images, with commas between, such as RandAugment or "
        "'RandomRotation(0.05), RandomErasing'.",
    )
    unaugmented_epochs: int = setting(
        0,
        "Last epochs without augmentation; by default a fixed share of all epochs.",
        at_least=0,
    )
    flip_tta: bool = setting(
        False,
        "Encode by the mean features of an image and its mirror image; takes twice as long.",
    )
    head_lr_multiplier: float = setting(
        30.0,
        "Learning rate of the hashing head, as a multiple of the backbone's.",
        above=0,
    )
    classifier_lr_multiplier: float = setting(
        1.0,
        "Learning rate of the classifier head in the pretrain stage, as a multiple of the backbone's.",
        above=0,
    )
    slope: float = setting(
        2.5,
        "Slope of tanh in the hashing head; larger slopes give relaxed codes closer to binary.",
        above=0,
    )
    dtype_policy: str = setting(
        "float32",
        "Precision of the network; mixed_bfloat16 is fast on CPUs with AMX and slow on others.",
        choices=DTYPE_POLICIES,
    )

    def __post_init__(self):
        super().__post_init__()
        if self.items_per_class == 1:
            raise ValueError(
                "`items_per_class` must be 2 or more, or 0 for random batches. Received: "
                "items_per_class=1"
            )
        keras_layers.parse(self.augment)
        self._check_backbone()

    def _check_backbone(self):
        is_built_in, is_file = self.backbone in BACKBONES, self.backbone.endswith(".keras")
        if not (is_built_in or is_file or self.backbone in applications.FAMILY_OF):
            raise ValueError(
                f"`backbone` must be one of {', '.join(BACKBONES)}, the name of a network of "
                f"keras.applications, or a path that ends in .keras. Received: backbone="
                f"{self.backbone!r}.{applications.close_to(self.backbone, BACKBONES)}"
            )
        if self.weights != "none" and is_file:
            raise ValueError(
                f"`weights` are in the file of `backbone` already. Received: weights={self.weights}, "
                f"backbone={self.backbone}"
            )
        if self.weights == "imagenet" and is_built_in:
            raise ValueError(
                "`weights` imagenet are for networks of keras.applications, such as `backbone` "
                f"MobileNetV3Small. Received: backbone={self.backbone}"
            )
        if self.weights not in ("imagenet", "none") and not self.weights.endswith(".h5"):
            raise ValueError(
                "`weights` must be imagenet, none or a path that ends in .weights.h5 or .h5. "
                f"Received: weights={self.weights}"
            )
        if self.width is not None and not is_built_in:
            raise ValueError(
                f"`width` is for the built-in backbones, {', '.join(BACKBONES)}. Received: "
                f"width={self.width}, backbone={self.backbone}"
            )
        if self.freeze and self.unfreeze_after:
            raise ValueError(
                "`freeze` and `unfreeze_after` exclude each other: the one freezes the backbone for "
                "all epochs, the other for some"
            )

    def is_pretrained(self):
        """Whether the backbone starts from weights that were trained before."""
        return self.weights != "none" or self.backbone.endswith(".keras")

    def frozen_epochs(self):
        """First epochs, in which the backbone stays as it is."""
        return self.epochs() if self.freeze else self.unfreeze_after

    def epochs(self):
        """Epochs of both stages."""
        return self.pretrain_epochs + self.finetune_epochs

    def supervised_epochs(self):
        """First epochs of pre-training, which see labeled images alone."""
        return math.ceil(SUPERVISED_SHARE * self.pretrain_epochs)

    def augmented_epochs(self):
        """First epochs, whose images are augmented."""
        return self.epochs() - self.unaugmented_epochs

    def augmentation(self):
        """The `tfhash.data.Augmentation` of training images."""
        from tfhash.data import Augmentation

        return Augmentation(self.max_shift, self.flip, self.cutout, self.crop, self.augment)
