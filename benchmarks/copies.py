"""How well the perceptual hash of `tfhash dedupe`, or a model, finds copies, by radius.

Originals are squares cut from scikit-learn's two sample photographs that overlap little. Copies are
made of each in other sizes, formats and qualities, and crops. A pair is right if both are made from
the same original. With --dataset, pairs are also counted among the images of a test split, where
nearly all are of different things.

    python benchmarks/copies.py --output=benchmarks/results/copies.json
"""

import collections
import io

import numpy as np
import tensorflow as tf
from absl import app, flags
from PIL import Image, ImageEnhance
from sklearn.datasets import load_sample_images
from tables import header, row

from tfhash import data, files
from tfhash.data.images import resize_to
from tfhash.experiments import RunDirectory, environment
from tfhash.experiments.perceptual import PerceptualHash
from tfhash.index import duplicates

FLAGS = flags.FLAGS
flags.DEFINE_integer("tries", 200, "Squares tried in each photograph.")
flags.DEFINE_integer("side", 400, "Side of an original in pixels.")
flags.DEFINE_float("overlap", 0.1, "Largest share that two originals have in common.")
flags.DEFINE_multi_integer("radius", [0, 2, 4, 6, 8, 10, 12, 16], "Radii in bits.")
flags.DEFINE_string("dataset", "cifar10", "Dataset whose test split is searched; empty: none.")
flags.DEFINE_string("data_dir", None, "Where tensorflow-datasets keeps prepared data.")
flags.DEFINE_string("model", None, "Run of a trained model to measure in place of the hash.")
flags.DEFINE_integer("seed", 0, "Seed of the squares.")
flags.DEFINE_string("output", None, "Result file.", required=True)


def main(_):
    originals = make_originals()
    hashes = RunDirectory.of_model(FLAGS.model).load_model() if FLAGS.model else PerceptualHash()
    names, pictures = ["original"], [originals]
    for name, change in COPIES.items():
        names.append(name)
        pictures.append([change(picture) for picture in originals])
    codes = [encode(hashes, group) for group in pictures]
    report = {
        "settings": {
            name: FLAGS[name].value for name in ("tries", "side", "overlap", "model", "seed")
        },
        "originals": len(originals),
        "distances": {name: of_copies(codes[0], other) for name, other in zip(names, codes)},
        **environment.describe(["imagehash"]),
        "radii": {},
    }
    sources = np.tile(np.arange(len(originals)), len(names))
    kinds = np.repeat(["crop" in name for name in names], len(originals))
    others = encode_dataset(hashes) if FLAGS.dataset else None
    print(header(["radius", "recall, copies", "recall, crops", "precision", "per million others"]))
    for radius in FLAGS.radius:
        cell = measure(np.concatenate(codes), hashes.bits, sources, kinds, radius)
        if others is not None:
            pairs = len(others) * (len(others) - 1) / 2
            count = duplicates.count_pairs(others, hashes.bits, radius)
            cell |= {"dataset_pairs": count, "dataset_per_million": 1e6 * count / pairs}
        report["radii"][radius] = cell
        rates = [f"{cell[name]:.3f}" for name in ("copies", "crops", "precision")]
        print(row([radius, *rates, f"{cell.get('dataset_per_million', float('nan')):.3g}"]), end="")
    files.write_json(FLAGS.output, report)


def measure(codes, bits, sources, are_crops, radius):
    """Recall of copies and of crops, and precision over all pairs, at a radius."""
    found = duplicates.pairs(codes, bits, radius)
    is_right = sources[found.first] == sources[found.second]
    has_crop = are_crops[found.first] | are_crops[found.second]
    per_kind = collections.Counter(has_crop[is_right].tolist())
    whole, count = int((~are_crops).sum()), len(np.unique(sources))
    copies = whole // count
    all_of_one = len(codes) // count
    pairs_of_copies = count * copies * (copies - 1) // 2
    pairs_with_crops = count * all_of_one * (all_of_one - 1) // 2 - pairs_of_copies
    # Of pairs with a crop, crops with one another count, too.
    return {
        "copies": per_kind[False] / pairs_of_copies,
        "crops": per_kind[True] / pairs_with_crops,
        "precision": is_right.sum() / max(1, len(is_right)),
        "false_pairs": int((~is_right).sum()),
    }


def of_copies(codes, others):
    """Median, ninth decile and largest distance from the originals."""
    distances = np.unpackbits(codes ^ others, axis=1).sum(axis=1)
    return [float(np.quantile(distances, q)) for q in (0.5, 0.9, 1)]


def make_originals():
    rng = np.random.default_rng(FLAGS.seed)
    originals = []
    for photo in load_sample_images().images:
        taken = []
        for _ in range(FLAGS.tries):
            side = int(rng.integers(100, 200))
            top, left = (int(rng.integers(0, length - side)) for length in photo.shape[:2])
            square = (top, left, side)
            if all(shared(square, other) <= FLAGS.overlap for other in taken):
                taken.append(square)
                piece = Image.fromarray(photo[top : top + side, left : left + side])
                originals.append(piece.resize((FLAGS.side, FLAGS.side), Image.Resampling.BICUBIC))
    return originals


def shared(a, b):
    """Share of the smaller square that lies in the other."""
    sides = [max(0, min(a[i] + a[2], b[i] + b[2]) - max(a[i], b[i])) for i in (0, 1)]
    return sides[0] * sides[1] / min(a[2], b[2]) ** 2


def encode(hashes, pictures):
    how = hashes.image_shape, getattr(hashes, "keep_aspect", True)
    images = [resize_to(tf.constant(np.asarray(picture)), *how) for picture in pictures]
    return hashes.encode(tf.data.Dataset.from_tensors((tf.stack(images), 0)))


def encode_dataset(hashes):
    options = {"data_dir": FLAGS.data_dir, "split": "test"}
    images, _ = data.load_images(FLAGS.dataset, hashes.image_shape, **options)
    return hashes.encode(images.batches())


def resized(*size):
    return lambda picture: picture.resize(size, Image.Resampling.BICUBIC)


def saved(file_format, size=None, **options):
    def change(picture):
        picture = picture if size is None else picture.resize(size)
        contents = io.BytesIO()
        picture.save(contents, file_format, **options)
        return Image.open(contents).convert("RGB")

    return change


def cropped(share):
    def change(picture):
        edge = round(picture.width * share)
        return picture.crop((edge, edge, picture.width - edge, picture.height - edge))

    return change


COPIES = {
    "half size": resized(200, 200),
    "quarter size": resized(100, 100),
    "64 pixels": resized(64, 64),
    "double size": resized(800, 800),
    "other shape": resized(300, 420),
    "JPEG 90": saved("JPEG", quality=90),
    "JPEG 50": saved("JPEG", quality=50),
    "JPEG 10": saved("JPEG", quality=10),
    "half size, JPEG 30": saved("JPEG", (200, 200), quality=30),
    "WebP 40": saved("WEBP", quality=40),
    "GIF": saved("GIF"),
    "gray": lambda picture: picture.convert("L").convert("RGB"),
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.2),
    "more contrast": lambda picture: ImageEnhance.Contrast(picture).enhance(1.2),
    "crop 1%": cropped(0.01),
    "crop 3%": cropped(0.03),
}


if __name__ == "__main__":
    app.run(main)
