"""
  tfhash search --index=photos.index --image=query.jpg
  tfhash search --index=photos.index --image=new/ -k 5 --picture=found.png
  tfhash search --index=photos.index --image=a.jpg,b.jpg --radius=2 --output=found.csv
  tfhash search --index=photos.index --codes=queries.npz --format=json
  tfhash search --index=photos.index --image=query.jpg --asymmetric

Finds the images of an index that are nearest to a query, and prints their names and distances in
bits. Images at the same distance come in the order of their ids, which is that of their names in an
index that was not updated.

--image names a file or a folder; give it several times or separate paths by commas. It is encoded
by the model of the index, wherever the index remembers it to be. --codes searches by packed codes
that `tfhash encode` wrote, which needs no model and takes a fraction of a second.

--asymmetric ranks by the expected Hamming distance of the query before its signs are taken: bits that
are nearly undecided count for less. The index stays as it is.
"""

import dataclasses
import os
import pathlib

from tfhash.cli import flags
from tfhash.cli.model_flag import Model
from tfhash.cli.require import check_bounds, require, require_free
from tfhash.experiments.settings import Settings, setting

TIES = "\nWhy so many images are at one distance: docs/method.md, Codes that only tell the class"
SUFFIXES = {".csv": "csv", ".json": "json"}


@dataclasses.dataclass(frozen=True)
class Index(Settings):
    index: str | None = setting(None, "File that `tfhash index` wrote.")


@dataclasses.dataclass(frozen=True)
class Query(Settings):
    image: tuple | None = setting(None, "Image, or folder of images; may be repeated.")
    codes: str | None = setting(
        None, "Packed codes: an .npz file of `tfhash encode`, or an .npy file of uint8."
    )
    skip_broken: bool = setting(False, "Leave out images that cannot be read, and list them.")


@dataclasses.dataclass(frozen=True)
class Limit(Settings):
    k: int = setting(10, "Number of images to find for each query.", at_least=1)
    radius: int | None = setting(
        None, "Find all images within so many bits, in place of --k.", at_least=0
    )
    asymmetric: bool = setting(
        False, "Rank by the expected Hamming distance of --image, whose bits may be undecided."
    )


@dataclasses.dataclass(frozen=True)
class Output(Settings):
    format: str | None = setting(
        None,
        "What to write; by default that of --output, or a table.",
        choices=("table", "json", "csv"),
    )
    output: str | None = setting(None, "File ending in .csv or .json; standard output by default.")
    picture: str | None = setting(
        None, "Picture to draw, such as found.png: queries and what was found for them."
    )
    images: str | None = setting(
        None, "With --picture, where the folder of the indexed images is now, if it was moved."
    )
    overwrite: bool = setting(False, "Replace --output and --picture if they exist.")


GROUPS = {
    "Index": (Index, Model),
    "Query: --image or --codes": (Query,),
    "What to find": (Limit,),
    "Output": (Output,),
}


def check(given):
    require(given, "index")
    check_bounds(given, GROUPS)
    if (given.get("image") is None) == (given.get("codes") is None):
        raise ValueError("give either `image` or `codes`")
    if given.get("k") is not None and given.get("radius") is not None:
        raise ValueError("`k` and `radius` exclude each other")
    if given.get("codes") is not None:
        for name in ("model", "picture"):
            if given.get(name) is not None:
                raise ValueError(f"`{name}` needs `image`: codes are searched as they are")
        if given.get("asymmetric"):
            raise ValueError(
                "`asymmetric` needs `image`: packed codes do not say which bits were undecided"
            )
    if given.get("asymmetric") and given.get("radius") is not None:
        raise ValueError("`asymmetric` and `radius` exclude each other. Give `k`")
    if given.get("images") is not None and given.get("picture") is None:
        raise ValueError("`images` needs `picture`. The queries are given by `image`")
    _check_outputs(given)


def imports_tensorflow_first(given):
    return given.get("codes") is None


def check_paths(given):
    from tfhash.experiments import searching
    from tfhash.experiments.image_index import ImageIndex
    from tfhash.files import check_directory

    for name in ("output", "picture"):
        if given.get(name) is not None:
            check_directory(pathlib.Path(given[name]).parent)
    if given.get("image") is None and given.get("picture") is None:
        return  # a search of codes imports no TensorFlow, so that it tells at once, too
    index = ImageIndex.load(given["index"])
    if given.get("picture") is not None:
        index.find_folder(given.get("images"))
    if given.get("image") is not None:
        searching.check_images(_paths(given["image"]))
        searching.path_of_model(index, given.get("model"))


def run(given, command_line):
    del command_line
    from tfhash.experiments import ImageIndex, search_results, searching

    index = ImageIndex.load(given["index"])
    output, format = given.get("output"), _format(given)
    notes = []
    if given.get("codes") is not None:
        queries = searching.queries_of_codes(given["codes"], index)
        _print_lines(queries.notes, is_aside=True)
    else:
        from tfhash.experiments.progress import Progress

        queries = searching.queries_of_images(
            _paths(given["image"]),
            index,
            given.get("model"),
            bool(given.get("skip_broken")),
            # Standard output may be read by a program.
            Progress("auto" if format == "table" or output is not None else 0),
        )
        notes += [flags.named_as_flags(note, ["model"]) for note in queries.notes]
    limit = Limit.pick(given)
    found = searching.search(index, queries, limit.k, limit.radius, limit.asymmetric)
    if format == "table":
        _print_lines(notes)
        _print_lines(search_results.table(found))
        if any(map(_is_mostly_tied, found.answers)):
            print(TIES)
    else:
        search_results.write(found, format, output)
        notes += search_results.notes_of(found)
        _print_lines(notes, is_aside=output is None)
    if output is not None:
        print(f"{found.headline()}\nwrote {output}")
    if given.get("picture") is not None:
        from tfhash.experiments import search_picture

        lines = search_picture.draw(found, queries, index, given["picture"], given.get("images"))
        lines.append(f"drew {given['picture']}")
        _print_lines(lines, is_aside=format != "table" and output is None)


def _is_mostly_tied(answer):
    """Whether a cut tie is more than half of an answer."""
    distances = [item.distance for item in answer.items]
    return bool(answer.note) and 2 * distances.count(distances[-1]) > len(distances)


def _print_lines(lines, is_aside=False):
    import sys

    for line in lines:
        print(line, file=sys.stderr if is_aside else sys.stdout)


def _format(given):
    if given.get("format") is not None:
        return given["format"]
    output = given.get("output")
    return "table" if output is None else SUFFIXES[os.path.splitext(output)[1].lower()]


def _paths(values):
    """The paths of all values of --image; commas separate, unless a path of that name exists."""
    paths = []
    for value in values:
        paths += [value] if os.path.exists(value) else [path for path in value.split(",") if path]
    return paths


def _check_outputs(given):
    output, format = given.get("output"), given.get("format")
    if output is not None:
        by_suffix = SUFFIXES.get(os.path.splitext(output)[1].lower())
        if by_suffix is None or format == "table":
            raise ValueError(
                f"`output` must end in .csv or .json; a table is printed. Received: {output}"
            )
        if format is not None and format != by_suffix:
            raise ValueError(f"`format` {format} does not suit `output` {output}")
    require_free(given, "output", "picture")
    picture = given.get("picture")
    if picture is not None and os.path.splitext(picture)[1].lower() not in (
        ".png",
        ".pdf",
        ".svg",
        ".jpg",
    ):
        raise ValueError(f"`picture` must end in .png, .jpg, .pdf or .svg. Received: {picture}")
