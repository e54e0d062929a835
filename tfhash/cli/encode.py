"""
  tfhash encode --model=runs/photos-32 --images=photos/ --output=photos.npz
  tfhash encode --model=runs/mnist-12 --images=images.npz --output=codes.npz
  tfhash encode --model=runs/mnist-12 --dataset=mnist --split=test --output=test.npz

Encodes images with a trained model and writes an .npz file of arrays: `codes`, packed uint8
[n, ceil(bits / 8)]; `names`, the name of each item; `bits`; and for `tfhash index`, where they come
from: `model`, a fingerprint, `model_path` and `folder`.

A folder is searched at any depth, and its images are brought to the size and colors that the
model takes. An .npz file holds an array `images` [n, height, width(, channels)], 0 to 255.
"""

import dataclasses
import pathlib

from tfhash.cli.model_flag import Model
from tfhash.cli.require import require, require_free
from tfhash.experiments.settings import Settings, Source, setting


@dataclasses.dataclass(frozen=True)
class Images(Settings):
    images: str | None = setting(None, "Folder of images, or .npz file.")
    split: str = setting(
        "test",
        "Split of a dataset of tensorflow-datasets, such as test or train[:1000]; digits are all "
        "taken.",
    )
    batch_size: int = setting(256, "Images encoded at a time.", at_least=1)


@dataclasses.dataclass(frozen=True)
class Output(Settings):
    output: str | None = setting(None, "File to write, ending in .npz.")
    overwrite: bool = setting(False, "Replace --output if it exists.")


GROUPS = {"Model": (Model,), "Images: --images or --dataset": (Images, Source), "Output": (Output,)}


def check(given):
    require(given, "model", "output")
    if (given.get("images") is None) == (given.get("dataset") is None):
        raise ValueError("give either --images or --dataset")
    if "split" in given and given.get("dataset") in (None, "digits"):
        raise ValueError("--split needs a --dataset of tensorflow-datasets, which has splits")
    output = pathlib.Path(given["output"])
    if output.suffix != ".npz":
        raise ValueError(f"--output must end in .npz. Received: {output}")
    require_free(given, "output")


def run(given, command_line):
    del command_line
    from tfhash.experiments import RunDirectory
    from tfhash.experiments.code_files import origin_of, write_codes
    from tfhash.experiments.encoding import encode
    from tfhash.experiments.progress import Progress

    model = RunDirectory.of_model(given["model"]).load_model()
    images = dataclasses.asdict(Images.pick(given))
    codes, names = encode(model, Progress(), source=Source.pick(given), **images)
    origin = origin_of(model, given["model"], given.get("images") or given["dataset"])
    write_codes(given["output"], codes, names, model.bits, origin)
    print(f"wrote {len(codes):,} codes of {model.bits} bits to {given['output']}")
