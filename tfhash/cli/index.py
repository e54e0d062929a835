"""
  tfhash index --model=runs/photos-32 --images=photos/ --output=photos.index
  tfhash index --model=runs/photos-32 --images=photos/ --output=photos.index --update
  tfhash index --codes=codes.npz --output=photos.index
  tfhash index --codes=codes/ --output=photos.index

Encodes the images of a folder, searched at any depth, and writes an index for `tfhash search`.

A run that was interrupted continues where it was when the same command is given again. --update
encodes what is new and what has changed, which is a file of another size or time of change, and
removes what is gone. The other images keep their codes and ids.

--codes takes what `tfhash encode` wrote in place of a model and images.
"""

import dataclasses
import os
import pathlib

from tfhash.cli.model_flag import Model
from tfhash.cli.require import check_bounds, require
from tfhash.experiments.settings import Settings, setting


@dataclasses.dataclass(frozen=True)
class Images(Settings):
    images: str | None = setting(
        None, "Folder of images; with --update, by default the one that the index was made of."
    )
    skip_broken: bool = setting(False, "Leave out image files that cannot be read, and list them.")
    batch_size: int = setting(256, "Images encoded at a time.", at_least=1)


@dataclasses.dataclass(frozen=True)
class Codes(Settings):
    codes: str | None = setting(
        None,
        "File of packed codes, .npz, or directory of shards, that `tfhash encode` wrote.",
    )


@dataclasses.dataclass(frozen=True)
class Output(Settings):
    output: str | None = setting(None, "File to write; by convention it ends in .index.")
    update: bool = setting(False, "Take in what has changed since --output was written.")
    overwrite: bool = setting(False, "Encode all images again and replace --output.")


GROUPS = {"Images": (Model, Images), "Codes, in place of images": (Codes,), "Output": (Output,)}


def check(given):
    require(given, "output")
    check_bounds(given, GROUPS)
    output, update = given["output"], bool(given.get("update"))
    if given.get("codes") is not None:
        for name in ("model", "images", "update", "skip_broken", "batch_size"):
            if given.get(name):
                raise ValueError(f"`codes` and `{name}` exclude each other")
    elif not (update and os.path.exists(output)):
        if given.get("model") is None and given.get("images") is None:
            raise ValueError("give `model` and `images`, or `codes`")
        require(given, "model", "images")
    from tfhash.experiments.image_index import check_output

    check_output(output, update, bool(given.get("overwrite")))


def imports_tensorflow_first(given):
    return given.get("codes") is None


def check_paths(given):
    from tfhash.data.walk import check_folder
    from tfhash.experiments.run_directory import RunDirectory
    from tfhash.files import check_directory

    check_directory(pathlib.Path(given["output"]).parent)
    if given.get("model") is not None:
        RunDirectory.of_model(given["model"]).check_model()
    if given.get("images") is not None:
        check_folder(given["images"], "images")


def run(given, command_line):
    del command_line
    output = given["output"]
    if given.get("codes") is not None:
        from tfhash.experiments.code_files import read_codes
        from tfhash.experiments.image_index import index_codes

        index = index_codes(read_codes(given["codes"]), output, bool(given.get("overwrite")))
        print(f"wrote {len(index):,} codes of {index.bits} bits to {output}")
        return
    from tfhash.experiments import RunDirectory
    from tfhash.experiments.image_index import ImageIndex
    from tfhash.experiments.indexing import index_images
    from tfhash.experiments.progress import Progress

    model_path = given.get("model") or ImageIndex.load(output).origin.model_path
    if not model_path:
        raise ValueError(f"{output} does not say where its model is. Give `model`")
    model = RunDirectory.of_model(model_path).load_model()
    images = dataclasses.asdict(Images.pick(given))
    changes = index_images(
        images.pop("images"),
        model,
        output,
        Progress(),
        update=bool(given.get("update")),
        overwrite=bool(given.get("overwrite")),
        model_path=model_path,
        **images,
    )
    print(f"{output}: {changes}; {changes.images:,} images, codes of {model.bits} bits")
