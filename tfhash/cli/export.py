"""
  tfhash export --model=runs/mnist-12 --output_dir=served/mnist
  tfhash export --model=runs/photos-32 --output_dir=served/photos --index=photos.index
  tfhash export --model=runs/photos-32 --output_dir=served/photos --on_error=mask
  tfhash export --model=runs/photos-32 --output_dir=mobile --format=litert

Writes a trained model as a SavedModel in the layout of TensorFlow Serving,
OUTPUT_DIR/VERSION/. The signature `serving_default` takes image files (JPEG, PNG,
GIF, BMP, WebP) and `encode` takes images (uint8) of any size; both return packed
codes. A file that cannot be decoded fails its request with an error that names it;
with --on_error=mask, `valid` is false for it. With --index, `search_bytes` and
`search` find the nearest images of an index. VERSION/README.md shows how to ask.

Or writes OUTPUT_DIR/model.onnx (the extra `onnx`) or OUTPUT_DIR/model.tflite,
which take images (uint8) of the network's size and return packed codes.
"""

import dataclasses
import pathlib

from tfhash.cli.model_flag import Model
from tfhash.cli.require import require
from tfhash.experiments.settings import Settings, setting

FORMATS = {
    "saved_model": "for TensorFlow Serving",
    "onnx": "OUTPUT_DIR/model.onnx",
    "litert": "OUTPUT_DIR/model.tflite",
}


@dataclasses.dataclass(frozen=True)
class Output(Settings):
    output_dir: str | None = setting(None, "Directory of the versions, or of the file.")
    format: str = setting("saved_model", "What to write.", choices=FORMATS)
    version: int | None = setting(
        None, "Version to write; one more than the highest there by default.", at_least=1
    )
    on_error: str = setting(
        "fail",
        "What to do with a file that cannot be decoded: fail the batch, or mask the file.",
        choices=("fail", "mask"),
    )
    max_pixels: int = setting(
        100_000_000, "Height x width of a file at most; larger ones are not decoded.", at_least=1
    )
    index: str | None = setting(
        None, "Index of the same model that the server searches, see `tfhash index`."
    )


GROUPS = {"Model": (Model,), "Output": (Output,)}


def check(given):
    require(given, "model", "output_dir")
    kind = given.get("format", "saved_model")
    if kind != "saved_model":
        for name in ("version", "on_error", "max_pixels", "index"):
            if name in given:
                raise ValueError(f"--{name} is for --format=saved_model. Received: --format={kind}")
        path = portable_path(given)
        if path.exists():
            raise ValueError(f"{path} exists. Remove it, or pass another --output_dir")


def check_paths(given):
    from tfhash.experiments.image_index import ImageIndex
    from tfhash.experiments.run_directory import RunDirectory
    from tfhash.export.versions import new_version
    from tfhash.files import check_directory

    RunDirectory.of_model(given["model"]).check_model()
    if given.get("index") is not None:
        ImageIndex.load(given["index"])
    if given.get("format", "saved_model") == "saved_model":
        new_version(given["output_dir"], given.get("version"))
    else:
        check_directory(given["output_dir"])


def portable_path(given):
    return pathlib.Path(given["output_dir"], FORMATS[given["format"]].rpartition("/")[2])


def run(given, command_line):
    del command_line
    if given.get("format", "saved_model") == "saved_model":
        _write_saved_model(given)
    else:
        _write_portable(given)


def _write_saved_model(given):
    from tfhash.experiments import ImageIndex, RunDirectory
    from tfhash.export import export_saved_model

    output = Output.pick(given)
    database = None if output.index is None else ImageIndex.load(output.index).index
    run = RunDirectory.of_model(given["model"])
    # The report beside a file is that of `model.keras` alone.
    has_report = run.model_path == RunDirectory(run.path).model_path
    directory = export_saved_model(
        run.load_model(),
        output.output_dir,
        output.version,
        on_error=output.on_error,
        max_pixels=output.max_pixels,
        database=database,
        report=run.report() if has_report else None,
    )
    print(f"wrote {directory}")


def _write_portable(given):
    from tfhash import export
    from tfhash.experiments import RunDirectory

    write = {"onnx": export.export_onnx, "litert": export.export_litert}[given["format"]]
    model = RunDirectory.of_model(given["model"]).load_model()
    print(f"wrote {write(model, portable_path(given))}")
