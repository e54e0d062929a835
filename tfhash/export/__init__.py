"""Export of models for runtimes without tfhash."""

from tfhash import _lazy

_MODULE_OF = {
    "Agreement": "agreement",
    "compare": "agreement",
    "export_litert": "portable",
    "export_onnx": "portable",
    "export_saved_model": "saved_model",
}

__getattr__, __dir__, __all__ = _lazy.exports(__name__, _MODULE_OF)
