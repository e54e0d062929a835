"""Flags made from dataclasses of settings."""

import dataclasses
import re
from collections.abc import Callable

from absl import flags

from tfhash.experiments.settings import kind_of

_DEFINE: dict[type, Callable] = {
    bool: flags.DEFINE_bool,
    float: flags.DEFINE_float,
    int: flags.DEFINE_integer,
    tuple: flags.DEFINE_multi_string,
    str: flags.DEFINE_string,
}


def define(groups):
    """Defines a flag for each field of the dataclasses.

    Args:
        groups: Dictionary from a heading to a tuple of dataclasses.

    Returns:
        `absl.flags.FlagValues`. All defaults are `None`: what was not given stays the dataclass's.
    """
    values = flags.FlagValues()
    for field in fields(groups):
        kind, metadata = kind_of(field), field.metadata
        arguments = {"help": metadata["help"], "flag_values": values}
        if metadata["choices"]:
            flags.DEFINE_enum(field.name, None, list(metadata["choices"]), **arguments)
            continue
        if kind in (int, float):
            # absl knows no exclusive bound: the dataclass checks that.
            low = metadata["above"] if metadata["at_least"] is None else metadata["at_least"]
            arguments |= {"lower_bound": low, "upper_bound": metadata["at_most"]}
        _DEFINE[kind](field.name, None, **arguments)
    return values


def fields(groups):
    """The fields of all dataclasses of the groups."""
    return [
        field for group in groups.values() for cls in group for field in dataclasses.fields(cls)
    ]


def parse(values, arguments):
    """Reads the arguments.

    Returns:
        Dictionary of the flags that were given.

    Raises:
        ValueError: If a flag is unknown or its value not allowed.
    """
    try:
        rest = values(["tfhash", *arguments])[1:]
    except flags.Error as error:
        raise ValueError(str(error)) from error
    if rest:
        raise ValueError(f"unexpected arguments {rest}: flags are written --name=value")
    return {name: values[name].value for name in values if values[name].present}


def named_as_flags(message, values):
    """A message with settings written as flags: `bits` in backquotes becomes --bits."""
    return re.sub(
        r"`(\w+)`", lambda match: f"--{match[1]}" if match[1] in values else match[0], message
    )
