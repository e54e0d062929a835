"""tfhash learns short binary codes of images with Keras, and retrieves by them.

    from tfhash.callbacks import TwoStageTraining
    from tfhash.models import HashingModel, build_backbone

Modules, each of which imports only from those before it: `labels`, `files`, `codes`, `losses`,
`data`, `layers`, `metrics`, `optimizers`, `models`, `callbacks`, `export`, `plots`, `cli`.
"""

import importlib

__version__ = "0.1.0"

_MODULES = (
    "callbacks", "codes", "data", "experiments", "export", "files", "labels", "layers", "losses", "metrics",
    "models", "optimizers", "plots",
)  # fmt: skip


def __getattr__(name):
    # On first use, so that layers and losses do not import TensorFlow for a user of JAX.
    if name in _MODULES:
        return importlib.import_module(f"tfhash.{name}")
    raise AttributeError(f"module 'tfhash' has no attribute {name!r}")
