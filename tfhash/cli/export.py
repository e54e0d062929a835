"""
  tfhash export --model=runs/mnist-12 --output_dir=served/mnist
  tfhash export --model=runs/mnist-12 --output_dir=mobile --format=litert

Writes a trained model as a SavedModel in the layout of TensorFlow Serving,
OUTPUT_DIR/VERSION/: `serving_default` takes images (uint8) and returns packed codes.
Or writes OUTPUT_DIR/model.onnx (the extra tfhash[onnx]) or OUTPUT_DIR/model.tflite.
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


GROUPS = {"Model": (Model,), "Output": (Output,)}


def check(given):
    require(given, "model", "output_dir")
    kind = given.get("format", "saved_model")
    if kind != "saved_model":
        if "version" in given:
            raise ValueError(f"--version is for --format=saved_model. Received: --format={kind}")
        path = portable_path(given)
        if path.exists():
            raise ValueError(f"{path} exists. Remove it, or pass another --output_dir")


def portable_path(given):
    return pathlib.Path(given["output_dir"], FORMATS[given["format"]].rpartition("/")[2])


def run(given, command_line):
    del command_line
    from tfhash.experiments import RunDirectory
    from tfhash.export import export_litert, export_onnx, export_saved_model

    model = RunDirectory.of_model(given["model"]).load_model()
    kind = given.get("format", "saved_model")
    if kind == "saved_model":
        written = export_saved_model(model, given["output_dir"], given.get("version"))
    else:
        export = {"onnx": export_onnx, "litert": export_litert}[kind]
        written = export(model, portable_path(given))
    print(f"wrote {written}")
