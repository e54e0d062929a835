"""Images and labels: from folders, tensorflow-datasets and scikit-learn as `tf.data`, and arrays.

`Augmentation`, `ArrayBatches` and `PartlyLabeledBatches` need no TensorFlow.
"""

import importlib

_MODULE_OF = {
    "PROTOCOLS": "protocols",
    "ArrayBatches": "arrays",
    "Augmentation": "augmentation",
    "LeftOut": "summary",
    "PartlyLabeledBatches": "arrays",
    "Split": "split",
    "Splits": "splits",
    "Summary": "summary",
    "load": "loading",
    "load_images": "loading",
}

__all__ = sorted(_MODULE_OF)


def __getattr__(name):
    # On first use, so that those who train on arrays, with JAX, do not import TensorFlow.
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"tfhash.data.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return __all__
