"""The folders of images that `recipes.py` trains on.

| set | training images | what |
| --- | --- | --- |
| `few` | 200 | CIFAR-10, 20 images of each class, enlarged to 64 pixels |
| `many` | 2,000 | CIFAR-10, 200 of each class, enlarged to 64 pixels |
| `digits` | 600 | scikit-learn's digits, colored, turned and scaled, on textures in color, 64 pixels |
| `weights` | 12,000 | CIFAR-10 at 32 pixels, none of the images above, for weights to start from |

The first three hold as many images again to validate and to test as `HELD_OUT` says.
"""

import itertools
import os
import shutil

import numpy as np
from PIL import Image

from tfhash import data

SIZES = {"few": 200, "many": 2_000, "digits": 600, "weights": 12_000}
HELD_OUT = 500
SIDE = 64


def describe():
    return {"train_items": SIZES, "held_out": HELD_OUT, "side": SIDE}


def write(scratch, data_dir):
    """Writes the sets that are missing, each whole or not at all."""
    missing = [name for name in SIZES if not (scratch / name).exists()]
    if not missing:
        return
    makers = {"digits": lambda: _digits(np.random.default_rng(0))}
    if set(missing) - set(makers):
        makers |= _cifar10(data_dir)
    for name in missing:
        partial = scratch / f"{name}.partial-{os.getpid()}"
        shutil.rmtree(partial, ignore_errors=True)
        for number, (part, label, pixels) in enumerate(makers[name]()):
            path = partial / part / str(label) / f"{number:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
        partial.rename(scratch / name)


def _parts(items):
    """The part of each item, in turn."""
    held_out = itertools.chain(["val"] * HELD_OUT, ["test"] * HELD_OUT)
    return itertools.chain(["train"] * items, held_out)


def _cifar10(data_dir):
    """Makers of the sets of CIFAR-10. The images to hold out are the same for both."""
    splits = data.load("cifar10", data_dir=data_dir, validation_fraction=0)
    split = splits.train
    labels = split.labels
    # So many of each class, in turn, in the order of the dataset.
    by_class = np.stack([np.flatnonzero(labels == label)[:4_500] for label in range(10)])
    order = by_class.T.reshape(-1)
    held_out, rest = np.split(order, [2 * HELD_OUT])
    train, others = np.split(rest, [SIZES["many"]])

    def of(indices, side, parts):
        images = split.pick(indices).images()
        for part, image, label in zip(parts, images, labels[indices]):
            enlarged = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)
            yield part, int(label), np.asarray(enlarged)

    def enlarged(items):
        indices = np.concatenate([train[:items], held_out])
        return of(indices, SIDE, _parts(items))

    weights = others[: SIZES["weights"] + 100]
    shares = ["train"] * SIZES["weights"] + ["test"] * 100
    return {
        "few": lambda: enlarged(SIZES["few"]),
        "many": lambda: enlarged(SIZES["many"]),
        "weights": lambda: of(weights, 32, shares),
    }


def _digits(rng):
    """Digits pasted on textures, in colors that differ from them."""
    from sklearn.datasets import load_digits

    glyphs, labels = load_digits(return_X_y=True)
    count = SIZES["digits"] + 2 * HELD_OUT
    chosen = rng.permutation(len(glyphs))[:count]
    for part, index in zip(_parts(SIZES["digits"]), chosen):
        yield part, int(labels[index]), _photo(glyphs[index].reshape(8, 8), rng)


def _photo(glyph, rng):
    side = int(rng.integers(28, 53))
    angle = float(rng.uniform(-25, 25))
    mask = Image.fromarray((15.9 * glyph).astype("uint8"))
    mask = mask.resize((side, side), Image.Resampling.BICUBIC)
    mask = mask.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    canvas = Image.new("L", (SIDE, SIDE))
    room = [max(0, SIDE - length) for length in mask.size]
    canvas.paste(mask, tuple(int(rng.integers(0, space + 1)) for space in room))
    alpha = np.asarray(canvas, "float32")[..., None] / 255
    # Blobs of several sizes around one color; the glyph has a color at the other end.
    color = rng.uniform(0, 255, 3)
    texture = np.zeros((SIDE, SIDE, 3))
    for cells in (4, 8, 16, 32):
        coarse = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), "uint8"))
        texture += np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) - 127.5
    background = color + 0.25 * texture
    ink = np.where(color < 128, rng.uniform(150, 255, 3), rng.uniform(0, 105, 3))
    return np.clip(alpha * ink + (1 - alpha) * background, 0, 255).astype("uint8")
