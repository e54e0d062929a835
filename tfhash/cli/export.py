"""
Writes a trained model as a SavedModel in the layout of TensorFlow Serving,
OUTPUT_DIR/VERSION/: `serving_default` takes images (uint8) and returns packed codes.

  tfhash export --model=runs/mnist-12 --output_dir=served/mnist
"""

from absl import flags

from tfhash.cli import model_file
from tfhash.cli.main import require
from tfhash.export import export_saved_model


def define_flags(values):
    model_file.define_flags(values)
    flags.DEFINE_string("output_dir", None, "Directory of the versions.", flag_values=values)
    flags.DEFINE_integer(
        "version", None, "Version to write; by default one more than the highest there.",
        flag_values=values,
    )  # fmt: skip


def check_flags(values):
    require(values, "model", "output_dir")


def run(values, command_line):
    del command_line
    directory = export_saved_model(model_file.load(values), values.output_dir, values.version)
    print(f"wrote {directory}")
