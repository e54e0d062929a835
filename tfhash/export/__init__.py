"""Export of models for serving without tfhash."""

from tfhash import _lazy

_MODULE_OF = {"export_saved_model": "saved_model"}

__getattr__, __dir__, __all__ = _lazy.exports(__name__, _MODULE_OF)
