"""Encodes images from a folder, a dataset or an .npz file."""

import pathlib

from tfhash import data
from tfhash.experiments.datasets import say_summary
from tfhash.experiments.image_arrays import read_images


def encode(model, progress, images=None, source=None, split="test", batch_size=256):
    """Encodes images from anywhere.

    Args:
        model: `HashingModel`.
        progress: `Progress`.
        images: Path of a folder, searched at any depth, or of an .npz file with an array `images`
            `[n, height, width(, channels)]`, values 0 to 255.
        source: `tfhash.experiments.settings.Source`: a dataset to read where `images` is `None`,
            and how to read.
        split: Split of a dataset of tensorflow-datasets.
        batch_size: Images at a time.

    Returns:
        `(codes, names)`: packed `uint8 [n, ceil(bits / 8)]`, and a name for each.

    Raises:
        ValueError: If there are no images, or they do not fit the model.
        FileNotFoundError: If the folder, file or dataset does not exist.
    """
    if images and images.endswith(".npz"):
        array = read_images(images, model.image_shape)
        names = [str(i) for i in range(len(array))]

        def encode_array(array, verbose):
            return model.encode(array, batch_size=batch_size, verbose=verbose)

        return progress.encode_with(encode_array, array, len(array), images), names
    found, summary = data.load_images(
        pathlib.Path(images) if images else source.dataset,
        model.image_shape,
        split=split,
        data_dir=source.data_dir,
        skip_broken=source.skip_broken,
    )
    say_summary(summary, progress)
    what = images or source.dataset
    batches = found.batches(batch_size)
    return progress.encode_with(model.encode, batches, len(found), what), list(found.names)
