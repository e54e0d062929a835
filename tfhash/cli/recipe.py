"""How `tfhash train` trains: the defaults for a dataset, and the flags that replace them.

Needs no TensorFlow, so that a recipe can train on arrays with JAX.
"""

import contextlib
import dataclasses
import functools
import math
import re

import keras
from absl import flags

from tfhash.data import Augmentation
from tfhash.models import BACKBONES, STAGES, HashingModel, build_backbone
from tfhash.optimizers import ConvMuon

OPTIMIZERS = {"adamw": keras.optimizers.AdamW, "muon": ConvMuon}

# Small photographs in color, which need a larger network and more changes to each image.
PHOTOGRAPHS = ("cifar10", "cifar100")

# Share of the epochs of pre-training before the network's own labels count.
SUPERVISED_SHARE = 1 / 3

# Below this many training items, smaller batches make more steps.
FEW_ITEMS = 10_000


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that is to be chosen about a training, each under the name of its flag."""

    backbone: str
    width: int
    batch_size: int
    pretrain_epochs: int
    finetune_epochs: int
    max_shift: int
    flip: bool
    unaugmented_epochs: int
    flip_tta: bool
    optimizer: str = "muon"
    pretrain_learning_rate: float = 3e-3
    finetune_learning_rate: float = 6e-4
    warmup: float = 0.2
    weight_decay: float = 0.5
    label_smoothing: float = 0.1
    cutout: int = 0
    head_lr_multiplier: float = 30.0
    slope: float = 2.5
    dtype_policy: str = "float32"

    def epochs(self):
        """Epochs of both stages."""
        return self.pretrain_epochs + self.finetune_epochs

    def supervised_epochs(self):
        """The first epochs of pre-training, which take labeled images alone."""
        return math.ceil(SUPERVISED_SHARE * self.pretrain_epochs)

    def augmentation(self):
        return Augmentation(self.max_shift, self.flip, self.cutout)

    def augmented_epochs(self):
        """The first epochs, whose images are changed."""
        return self.epochs() - self.unaugmented_epochs

    def build_model(self, image_shape, num_classes, bits, hashing_loss, seed):
        """A compiled `HashingModel` with random weights, still to be adapted to images."""
        # Here, for what loads a dataset may draw random numbers too.
        keras.utils.set_random_seed(seed)
        with _dtype_policy(self.dtype_policy):
            backbone = build_backbone(self.backbone, image_shape, self.width)
            model = HashingModel(
                backbone,
                bits,
                num_classes,
                flip_tta=self.flip_tta,
                head_lr_multiplier=self.head_lr_multiplier,
                slope=self.slope,
                name="tfhash",
            )
        model.build((None, *image_shape))
        model.compile(
            OPTIMIZERS[self.optimizer](weight_decay=self.weight_decay),
            hashing_loss=hashing_loss,
            classification_loss=keras.losses.CategoricalCrossentropy(
                from_logits=True, label_smoothing=self.label_smoothing
            ),
        )
        return model

    def schedule(self, stage, steps_per_epoch):
        """Learning rate of a stage.

        Pre-training's rises along a line and falls along a cosine to that of fine-tuning, which
        falls to 0. Without pre-training it is fine-tuning's that rises first.
        """
        rate = getattr(self, f"{stage}_learning_rate")
        steps = max(1, steps_per_epoch * getattr(self, f"{stage}_epochs"))
        is_first = stage == "pretrain" or not self.pretrain_epochs
        end = self.finetune_learning_rate if stage == "pretrain" else 0.0
        alpha = end / rate if rate else 0.0
        rising = round(self.warmup * steps) if is_first else 0
        if not rising:
            return keras.optimizers.schedules.CosineDecay(rate, steps, alpha)
        return keras.optimizers.schedules.CosineDecay(
            0.0, max(1, steps - rising), alpha, warmup_target=rate, warmup_steps=rising
        )


@contextlib.contextmanager
def _dtype_policy(name):
    """Layers that are made inside have this policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def define_flags(values):
    """Defines a flag for every choice. Their defaults depend on the dataset; see `choose`."""
    integer, number, boolean, choice = (
        functools.partial(define, default=None, flag_values=values)
        for define in (
            flags.DEFINE_integer,
            flags.DEFINE_float,
            flags.DEFINE_bool,
            flags.DEFINE_enum,
        )
    )
    choice("backbone", enum_values=list(BACKBONES), help="Built-in backbone.")
    integer(
        "width",
        help="Channels of the backbone's first layer; time grows with the square.",
        lower_bound=1,
    )
    integer("batch_size", help="Images in a batch.", lower_bound=2)
    for stage, least, end in zip(STAGES, (0, 1), ("that of fine-tuning", "0")):
        integer(f"{stage}_epochs", help=f"Epochs of the {stage} stage.", lower_bound=least)
        number(
            f"{stage}_learning_rate",
            help=f"Largest learning rate of the {stage} stage; it falls to {end} along a cosine.",
            lower_bound=0,
        )
    choice(
        "optimizer",
        enum_values=list(OPTIMIZERS),
        help="adamw, or muon, which moves kernels of convolutions by orthogonal steps.",
    )
    number(
        "warmup",
        help="Share of the first stage in which the learning rate rises.",
        lower_bound=0,
        upper_bound=1,
    )
    number(
        "weight_decay",
        help="Share of the weights, times the learning rate, that is taken off at each step.",
        lower_bound=0,
    )
    number(
        "label_smoothing",
        help="Share of a label's probability that all classes share in pre-training.",
        lower_bound=0,
        upper_bound=0.99,
    )
    integer(
        "max_shift",
        help="Training images are moved by up to that many pixels each way.",
        lower_bound=0,
    )
    boolean("flip", help="Mirror every other training image.")
    integer("cutout", help="Side in pixels of a square cut out of training images.", lower_bound=0)
    integer(
        "unaugmented_epochs",
        help="The last epochs, which take training images as they are: not moved, mirrored or "
        "cut. By default a share of all epochs.",
        lower_bound=0,
    )
    boolean(
        "flip_tta",
        help="Codes from the mean features of an image and its mirror image; takes twice as long.",
    )
    number(
        "head_lr_multiplier",
        help="How many times as fast the hashing head learns as the backbone, above 0.",
        lower_bound=0,
    )
    number(
        "slope",
        help="Slope of tanh in the hashing head, above 0; the larger, the nearer are the relaxed "
        "codes to binary ones.",
        lower_bound=0,
    )
    choice(
        "dtype_policy",
        enum_values=["float32", "mixed_bfloat16"],
        help="Precision of the network; mixed_bfloat16 is for CPUs with AMX, slow on others.",
    )


def choose(values, source, items, image_shape, unlabeled=0):
    """The recipe for a dataset, with what the flags ask for in place of its own choices.

    Args:
        values: Flags; see `define_flags`.
        source: What was loaded; see `tfhash.data.Splits`.
        items: Number of training items.
        image_shape: `(height, width, channels)`.
        unlabeled: Number of images without labels that are pre-trained on, too.

    Raises:
        ValueError: If images cannot be changed as asked.
    """
    given = {field.name: values[field.name].value for field in dataclasses.fields(Recipe)}
    chosen = {name: value for name, value in given.items() if value is not None}
    by_default = default(source, items, image_shape, values.batch_size, unlabeled)
    recipe = dataclasses.replace(by_default, **chosen)
    if "unaugmented_epochs" not in chosen:
        # The share of the epochs that it is by default, whatever their number.
        share = by_default.unaugmented_epochs / by_default.epochs()
        recipe = dataclasses.replace(recipe, unaugmented_epochs=round(share * recipe.epochs()))
    recipe.augmentation().check(image_shape)
    return recipe


def default(source, items, image_shape, batch_size=None, unlabeled=0):
    """The recipe for a dataset. What depends on the size of batches follows `batch_size`."""
    if unlabeled:
        return _with_self_training(
            default(source, items + unlabeled, image_shape, batch_size), min(image_shape[:2])
        )
    if re.split("[:/]", source)[0] in PHOTOGRAPHS:
        return _for_photographs(items, batch_size)
    return _for_simple_images(items, image_shape, batch_size)


def _with_self_training(recipe, side):
    """Twice as much pre-training, on images changed so much that a label of the network's own,
    of the image as it was, is news to it; then fine-tuning on the few labeled ones."""
    return dataclasses.replace(
        recipe,
        pretrain_epochs=2 * recipe.pretrain_epochs,
        finetune_epochs=2,
        max_shift=side // 8,
        cutout=3 * side // 8,
        unaugmented_epochs=0,
    )


def _for_simple_images(items, image_shape, batch_size):
    """Some minutes for what is not too hard: shifts alone, for glyphs must not be mirrored."""
    batch_size = batch_size or (64 if items < FEW_ITEMS else 125)
    steps_per_epoch = max(1, items // batch_size)
    epochs = max(5, math.ceil(500 / steps_per_epoch))
    return Recipe(
        backbone="convnet",
        width=16,
        batch_size=batch_size,
        pretrain_epochs=epochs,
        finetune_epochs=epochs,
        max_shift=round(image_shape[0] / 14),
        flip=False,
        unaugmented_epochs=2 * epochs // 5,
        flip_tta=False,
    )


def _for_photographs(items, batch_size):
    """Less than an hour on two cores for images of 32x32 pixels, be they 5,000 or 50,000."""
    is_small = items < FEW_ITEMS
    return Recipe(
        backbone="whitenet",
        width=48,
        batch_size=batch_size or (100 if is_small else 125),
        pretrain_epochs=80 if is_small else 9,
        finetune_epochs=20 if is_small else 6,
        max_shift=2,
        flip=True,
        # The database is made of the images trained on; but few are soon known by heart.
        unaugmented_epochs=0 if is_small else 4,
        flip_tta=True,
    )
