"""
  tfhash dedupe --images=photos/ --output=duplicates/
  tfhash dedupe --images=photos/ --radius=0 --output=copies.csv
  tfhash dedupe --images=photos/ --model=runs/photos-32 --radius=2

Finds groups of look-alikes in a folder, searched at any depth. It changes nothing on disk but
--output.

Without --model, images are compared by a perceptual hash (pip install imagehash), which finds
copies of a picture in another size, format or quality. With --model, they are compared by the
codes of a trained model, which tell what it was trained to tell: images of one class are alike.

Images of a group are within --radius of another one of it, not necessarily of all. --output names
a .csv or .json file, an .html contact sheet that opens offline, or a directory for all three.
"""

import dataclasses
import pathlib

from tfhash.cli.model_flag import Model
from tfhash.cli.require import check_bounds, require, require_free
from tfhash.experiments.settings import Settings, setting
from tfhash.text import listing

FILES = (".csv", ".json", ".html")


@dataclasses.dataclass(frozen=True)
class Images(Settings):
    images: str | None = setting(None, "Folder of images.")
    batch_size: int = setting(256, "Images encoded at a time.", at_least=1)


@dataclasses.dataclass(frozen=True)
class Search(Settings):
    radius: int | None = setting(
        None,
        "Largest distance of a pair, in bits; by default 6 for the perceptual hash and 0 for a "
        "model.",
        at_least=0,
    )


@dataclasses.dataclass(frozen=True)
class Output(Settings):
    output: str | None = setting(
        None, "Directory to write, or file ending in .csv, .json or .html; only printed by default."
    )
    overwrite: bool = setting(False, "Replace --output if it exists.")


GROUPS = {"Images": (Images,), "Search": (Model, Search), "Output": (Output,)}


def check(given):
    require(given, "images")
    check_bounds(given, GROUPS)
    output = given.get("output")
    if output is None:
        return
    path = pathlib.Path(output)
    if path.suffix and path.suffix.lower() not in FILES and not path.is_dir():
        raise ValueError(
            f"--output must be a directory or end in .csv, .json or .html. Received: {path}"
        )
    require_free(given, "output")


def check_paths(given):
    from tfhash.data.walk import check_folder
    from tfhash.experiments.run_directory import RunDirectory
    from tfhash.files import check_directory

    if given.get("output") is not None:
        path = pathlib.Path(given["output"])
        check_directory(path.parent if path.suffix.lower() in FILES else path)
    check_folder(given["images"], "images")
    if given.get("model") is not None:
        RunDirectory.of_model(given["model"]).check_model()


def run(given, command_line):
    del command_line
    from tfhash.experiments import RunDirectory, dedupe
    from tfhash.experiments.perceptual import PerceptualHash
    from tfhash.experiments.progress import Progress

    model = given.get("model")
    encoder = RunDirectory.of_model(model).load_model() if model else PerceptualHash()
    found = dedupe.find(
        given["images"],
        encoder,
        Progress(),
        radius=given.get("radius"),
        method=f"codes of {encoder.bits} bits by {model}" if model else "perceptual hash",
        batch_size=Images.pick(given).batch_size,
    )
    print(found.headline())
    if note := found.note():
        print(f"note: {note}")
    for line in dedupe.lines_of(found):
        print(line)
    if output := given.get("output"):
        for path in dedupe.write(found, output):
            print(f"wrote {path}")
        if unread := found.unread:
            changed = dedupe.count(len(unread), "image")
            print(f"{changed} went missing or changed meanwhile: {listing(list(unread))}")
