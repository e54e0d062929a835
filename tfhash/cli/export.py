"""
  tfhash export --model=runs/mnist-12 --output_dir=served/mnist

Writes a trained model as a SavedModel in the layout of TensorFlow Serving,
OUTPUT_DIR/VERSION/: `serving_default` takes images (uint8) and returns packed codes.
"""

import dataclasses

from tfhash.cli.model_flag import Model
from tfhash.cli.require import require
from tfhash.experiments.settings import Settings, setting


@dataclasses.dataclass(frozen=True)
class Output(Settings):
    output_dir: str | None = setting(None, "Directory of the versions.")
    version: int | None = setting(
        None, "Version to write; one more than the highest there by default.", at_least=1
    )


GROUPS = {"Model": (Model,), "Output": (Output,)}


def check(given):
    require(given, "model", "output_dir")


def run(given, command_line):
    del command_line
    from tfhash.experiments import RunDirectory
    from tfhash.export import export_saved_model

    model = RunDirectory.of_model(given["model"]).load_model()
    directory = export_saved_model(model, given["output_dir"], given.get("version"))
    print(f"wrote {directory}")
