"""Experiments: train a network on a dataset, evaluate its codes, and keep a report.

    run = tfhash.experiments.train("photos/", bits=32, output_dir="runs/photos")
    print(run)
    codes = run.model.encode(images)

`settings`, `recipe`, `presets` and `run_directory` import neither Keras nor TensorFlow.
"""

import importlib

_MODULE_OF = {
    "Recipe": "recipe",
    "Run": "run",
    "RunDirectory": "run_directory",
    "choose_preset": "presets",
    "evaluate": "evaluation",
    "make_recipe": "presets",
    "train": "training",
}

__all__ = sorted(_MODULE_OF)


def __getattr__(name):
    # On first use: `tfhash --help` and training with JAX need no TensorFlow.
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"tfhash.experiments.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return __all__
