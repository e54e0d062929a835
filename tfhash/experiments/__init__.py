"""Experiments: train a network on a dataset, evaluate its codes, and keep a report.

    run = tfhash.experiments.train("photos/", bits=32, output_dir="runs/photos")
    print(run)
    codes = run.model.encode(images)

`settings`, `recipe`, `presets`, `run_directory`, `image_index` and `searching` import neither Keras nor TensorFlow.
"""

from tfhash import _lazy

_MODULE_OF = {
    "Demo": "demonstration",
    "ImageIndex": "image_index",
    "Recipe": "recipe",
    "Run": "run",
    "RunDirectory": "run_directory",
    "choose_preset": "presets",
    "demo": "demonstration",
    "evaluate": "evaluation",
    "index_images": "indexing",
    "make_recipe": "presets",
    "train": "training",
}

__getattr__, __dir__, __all__ = _lazy.exports(__name__, _MODULE_OF)
