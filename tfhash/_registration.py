"""Lets Keras load the classes of tfhash after `import tfhash`, which itself imports no Keras.

Keras looks classes up by name in `keras.saving.get_custom_objects()`. Stand-ins wait there, put in
when Keras is imported; each imports its class when Keras asks for it.
"""

import importlib
import importlib.abc
import importlib.util
import sys

PACKAGE = "tfhash"

MODULE_OF = {
    "ClassifierLayer": "layers",
    "HashingLayer": "layers",
    "ImageScaling": "layers",
    "PatchWhitening": "layers",
    "HashingModel": "models",
    "ContinuedSchedule": "optimizers",
    "ConvMuon": "optimizers",
    "CSQLoss": "losses",
    "DCHLoss": "losses",
    "DPSHLoss": "losses",
    "DTSHLoss": "losses",
    "ExponentiatedHashingLoss": "losses",
    "GreedyHashLoss": "losses",
    "HashNetLoss": "losses",
    "OrthoHashLoss": "losses",
}


def register_with_keras():
    """Registers now if Keras is imported, otherwise as soon as it is."""
    if "keras" in sys.modules:
        _register(sys.modules["keras"])
    else:
        sys.meta_path.insert(0, _KerasFinder())


def _register(keras):
    registered = keras.saving.get_custom_objects()
    for name, module in MODULE_OF.items():
        # A class that is imported already has registered itself.
        registered.setdefault(f"{PACKAGE}>{name}", _stand_in(name, module))


def _stand_in(name, module):
    def from_config(config):
        return getattr(importlib.import_module(f"{PACKAGE}.{module}"), name).from_config(config)

    return type(name, (), {"from_config": staticmethod(from_config)})


class _KerasFinder(importlib.abc.MetaPathFinder):
    """Finds Keras as Python does, once, and has the classes registered after its import."""

    def find_spec(self, name, path, target=None):
        if name != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _KerasLoader(spec.loader)
        return spec


class _KerasLoader(importlib.abc.Loader):
    def __init__(self, loader):
        self._loader = loader

    def __getattr__(self, name):
        return getattr(self._loader, name)

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        self._loader.exec_module(module)
        _register(module)
