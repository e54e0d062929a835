"""Packages that import their modules on first use, so that importing one needs no TensorFlow."""

import importlib


def exports(package, module_of):
    """What a package needs to import its public names on first use.

    Args:
        package: Its `__name__`.
        module_of: Dictionary from a public name to the module of the package that defines it.

    Returns:
        The `__getattr__`, `__dir__` and `__all__` of the package.
    """
    names = sorted(module_of)

    def get(name):
        if name in module_of:
            return getattr(importlib.import_module(f"{package}.{module_of[name]}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get, lambda: names, names
