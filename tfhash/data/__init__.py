"""Images and labels: from folders, tensorflow-datasets and scikit-learn as `tf.data`, and arrays.

`Augmentation`, `ArrayBatches`, `PartlyLabeledBatches` and `ProcessShare` need no TensorFlow.
"""

from tfhash import _lazy

_MODULE_OF = {
    "PROTOCOLS": "protocols",
    "ArrayBatches": "arrays",
    "Augmentation": "augmentation",
    "ImageFiles": "gradual",
    "LeftOut": "summary",
    "PartlyLabeledBatches": "arrays",
    "ProcessShare": "process_share",
    "Split": "split",
    "Splits": "splits",
    "Summary": "summary",
    "decode_and_resize": "images",
    "decode_files": "contents",
    "load": "loading",
    "load_images": "loading",
}

__getattr__, __dir__, __all__ = _lazy.exports(__name__, _MODULE_OF)
