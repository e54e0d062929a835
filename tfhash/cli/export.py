"""
  tfhash export --model=runs/mnist-12 --output_dir=served/mnist

  tfhash export --model=runs/photos-32 --output_dir=served/photos --on_error=mask

Writes a trained model as a SavedModel in the layout of TensorFlow Serving,
OUTPUT_DIR/VERSION/. The signature `serving_default` takes image files (JPEG, PNG,
GIF, BMP, WebP) and `encode` takes images (uint8) of any size; both return packed
codes. A file that cannot be decoded fails its request with an error that names it;
with --on_error=mask, `valid` is false for it.
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
    on_error: str = setting(
        "fail",
        "What a file that cannot be decoded does: fail the batch, or be masked.",
        choices=("fail", "mask"),
    )
    max_pixels: int = setting(
        100_000_000, "Height x width of a file at most; larger ones are not decoded.", at_least=1
    )


GROUPS = {"Model": (Model,), "Output": (Output,)}


def check(given):
    require(given, "model", "output_dir")


def run(given, command_line):
    del command_line
    from tfhash.experiments import RunDirectory
    from tfhash.export import export_saved_model

    model = RunDirectory.of_model(given["model"]).load_model()
    output = Output.pick(given)
    directory = export_saved_model(
        model,
        output.output_dir,
        output.version,
        on_error=output.on_error,
        max_pixels=output.max_pixels,
    )
    print(f"wrote {directory}")
