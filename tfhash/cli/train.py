"""
  tfhash train --dataset=photos/ --bits=32
  tfhash train --dataset=photos/ --labels=labels.csv --bits=32
  tfhash train --dataset=mnist --bits=12 --output_dir=runs/mnist-12
  tfhash train --dataset=photos/ --bits=64 --pretrained_from=runs/photos-32
  tfhash train --dataset=photos/ --bits=32 --resume

Trains a network in two stages (supervised pre-training, then fine-tuning by the exponentiated
hashing loss), evaluates it on queries that training never saw, and writes into --output_dir:

  model.keras            the trained model
  saved_model/           the same for TensorFlow Serving: images in, packed codes out
  pretrained.weights.h5  the weights at the end of pre-training, for --pretrained_from
  database.npz           codes, names and labels of the database
  report.json            figures, class names, protocol, seed, versions, times, this command
  pictures/              neighbors, precision and recall, training curves, bit balance

To load the model in Python:

  import tfhash, keras
  model = keras.saving.load_model("runs/photos-32/model.keras")

The state is saved after every epoch. --resume continues an interrupted run. --pretrained_from skips
pre-training: it starts from that of another run, for another code length or loss.
"""

from tfhash.cli.require import require
from tfhash.experiments import presets, settings
from tfhash.experiments.recipe import Recipe

GROUPS = {
    "Data": (settings.Source, settings.Cache, settings.Labels, settings.Division),
    "Codes": (settings.Training,),
    "Output": (settings.Output,),
    "Measure of retrieval": (settings.Measure, settings.Compared),
    "Recipe. What is not given is chosen by the images, printed, and kept in report.json": (
        presets.Preset,
        Recipe,
    ),
}
CHOSEN = (Recipe,)


def check(given):
    require(given, "dataset")
    if given.get("pretrained_from") is None:
        _check_settings(given)


def _check_settings(given):
    settings.check_training(given)
    presets.asked_recipe(given)


def check_paths(given):
    from tfhash.experiments import pretraining
    from tfhash.experiments.run_directory import RunDirectory

    settings.check_paths(given)
    if given.get("pretrained_from") is not None:
        named = settings.named(given["dataset"], given)
        _check_settings(pretraining.with_settings_of_pretraining(named))
    output = settings.Output.pick(given)
    RunDirectory.of_training(given).check_state(output.resume, output.overwrite)


def run(given, command_line):
    from tfhash import experiments

    run = experiments.train(**given, command_line=command_line)
    seconds = run.report["seconds"]["training"]
    print(f"\n{run}\n")
    print(f"trained in {seconds:.0f} s; written to {run.directory}/:")
    print(
        "  report.json  model.keras  saved_model/  pretrained.weights.h5  database.npz  pictures/"
    )
