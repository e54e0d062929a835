"""Export of models for serving without tfhash."""

from tfhash._lazy import exports

__getattr__, __dir__, __all__ = exports(__name__, {"export_saved_model": "saved_model"})
