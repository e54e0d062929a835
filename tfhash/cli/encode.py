"""
Encodes images with a trained model and writes an .npz file with three arrays: `codes`, packed
uint8 [n, ceil(bits / 8)]; `names`, the name of each item; and `bits`.

  tfhash encode --model=runs/mnist-12 --images=photos/ --output=photos.npz
  tfhash encode --model=runs/mnist-12 --images=images.npz --output=codes.npz
  tfhash encode --model=runs/mnist-12 --dataset=mnist --split=test --output=test.npz

A folder is searched at any depth, and its images are brought to the size and colors that the
model takes. An .npz file holds an array `images` [n, height, width(, channels)], 0 to 255.
"""

import functools
import pathlib
import zipfile
import zlib

import numpy as np
from absl import flags

from tfhash import data, files
from tfhash.cli import dataset_flags, model_file
from tfhash.cli.main import require


def define_flags(values):
    model_file.define_flags(values)
    string = functools.partial(flags.DEFINE_string, flag_values=values)
    string("images", None, "Folder of images, or .npz file.")
    string("dataset", None, "digits, or a dataset of tensorflow-datasets.")
    string(
        "split",
        "test",
        "Split of a dataset of tensorflow-datasets, as test or train[:1000]; digits are all taken.",
    )
    string("data_dir", None, "Where tensorflow-datasets finds or puts prepared data.")
    string("output", None, "File to write, ending in .npz.")
    flags.DEFINE_integer(
        "batch_size", 256, "Images encoded at a time.", lower_bound=1, flag_values=values
    )
    boolean = functools.partial(flags.DEFINE_bool, flag_values=values)
    boolean("skip_broken", False, "Leave out image files that cannot be read, and list them.")
    boolean("overwrite", False, "Replace --output if it exists.")


def check_flags(values):
    require(values, "model", "output")
    if (values.images is None) == (values.dataset is None):
        raise flags.Error("give either --images or --dataset")
    if values["split"].present and values.dataset in (None, "digits"):
        raise flags.Error("--split needs a --dataset of tensorflow-datasets, which has splits")


def run(values, command_line):
    del command_line
    output = pathlib.Path(values.output)
    if output.suffix != ".npz":
        raise ValueError(f"`output` must end in .npz. Received: {output}")
    if output.exists() and not values.overwrite:
        raise ValueError(f"`output` {output} exists. Pass --overwrite to replace it")
    model = model_file.load(values)
    if values.images and values.images.endswith(".npz"):
        images = _read_images(values.images, model.image_shape)
        names = [str(i) for i in range(len(images))]
        codes = model.encode(images, batch_size=values.batch_size, verbose=1)
    else:
        split, summary = data.load_images(
            pathlib.Path(values.images) if values.images else values.dataset,
            model.image_shape,
            split=values.split,
            data_dir=values.data_dir,
            skip_broken=values.skip_broken,
        )
        dataset_flags.report(summary)
        names = split.names
        codes = model.encode(split.batches(values.batch_size), verbose=1)
    with files.atomic_write(output) as temporary:
        np.savez(temporary, codes=codes, names=np.array(names, str), bits=model.bits)
    print(f"wrote {len(codes):,} codes of {model.bits} bits to {output}")


def _read_images(path, image_shape):
    """The array `images` of an .npz file, checked against what the model takes."""
    if not pathlib.Path(path).exists():
        raise FileNotFoundError(f"`images` must be a folder or an .npz file. There is no {path}")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"`images` must be a folder or an .npz file. Received: {path}")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = arrays.files
            images = arrays["images"] if "images" in names else None
    except (zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if images is None:
        raise ValueError(f"{path} must hold an array `images`. Received: {', '.join(names)}")
    if images.dtype.kind not in "uif":
        raise ValueError(f"`images` must be numbers. Received: {images.dtype} in {path}")
    shape = images.shape[1:] if images.ndim == 4 else (*images.shape[1:], 1)
    if shape != tuple(image_shape):
        raise ValueError(
            f"`images` must have shape [n, {', '.join(map(str, image_shape))}] for this model. "
            f"Received: {list(images.shape)} in {path}"
        )
    return images.reshape(len(images), *image_shape)
