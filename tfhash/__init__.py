"""tfhash learns short binary codes of images with Keras, and searches by them.

    import tfhash
    from tfhash.callbacks import TwoStageTraining
    from tfhash.models import HashingModel, build_backbone

    codes = tfhash.encode(model, images)

`import tfhash` imports neither Keras nor TensorFlow; after it, `keras.saving.load_model` finds all
classes of tfhash. A module imports only from those before it: `codes`, `labels`, `files`, `errors`,
`pixels`, `losses`, `data`, `index`, `serving`, `layers`, `metrics`, `optimizers`, `models`, `encoding`, `callbacks`,
`export`, `plots`, `experiments`, `beam`, `cli`.
"""

import importlib

from tfhash._registration import register_with_keras

__version__ = "0.1.0"

_MODULES = (
    "beam", "callbacks", "codes", "data", "encoding", "errors", "experiments", "export", "files", "index",
    "labels", "layers", "losses", "metrics", "models", "optimizers", "pixels", "plots",
    "serving",
)  # fmt: skip

register_with_keras()
del register_with_keras


def __getattr__(name):
    # On first use, so that layers and losses do not import TensorFlow for a user of JAX.
    if name in _MODULES:
        return importlib.import_module(f"tfhash.{name}")
    if name == "encode":
        from tfhash.encoding import encode

        return encode
    raise AttributeError(f"module 'tfhash' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *_MODULES, "encode"])
