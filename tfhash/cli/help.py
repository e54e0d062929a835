"""What `--help` prints. Imports neither Keras nor TensorFlow."""

import dataclasses
import textwrap

from tfhash.cli.registry import COMMANDS
from tfhash.experiments.settings import bounds_of, kind_of

WIDTH = 80


def overview():
    """What `tfhash --help` prints."""
    commands = "\n".join(f"  {name:10}{what}" for name, what in COMMANDS.items())
    return (
        "tfhash learns short binary codes of images.\n\n"
        "  tfhash train --dataset=photos/ --bits=32\n"
        "  tfhash index --model=runs/photos-32 --images=photos/ --output=photos.index\n"
        "  tfhash search --index=photos.index --image=query.jpg\n\n"
        f"usage: tfhash COMMAND --flag=value ...\n\n{commands}\n\n"
        "tfhash COMMAND --help lists the flags of a command, tfhash --version prints the version."
    )


def of_command(name, command):
    """What `tfhash COMMAND --help` prints: its docstring, then its flags by group."""
    lines = [f"tfhash {name}: {COMMANDS[name]}", "", command.__doc__.strip("\n")]
    for heading, group in command.GROUPS.items():
        lines += ["", f"{heading}:"]
        for cls in group:
            for field in dataclasses.fields(cls):
                lines += _of_flag(field, is_chosen=cls in getattr(command, "CHOSEN", ()))
    lines += ["", "--traceback shows where in the code an error arose."]
    return "\n".join(lines)


def _of_flag(field, is_chosen):
    name = f"--[no]{field.name}" if kind_of(field) is bool else f"--{field.name}=..."
    facts = [bounds_of(field), ", ".join(field.metadata["choices"] or ())]
    if field.default is not None and not is_chosen and kind_of(field) is not bool:
        facts.append(f"default: {field.default}")
    said = "; ".join(part for part in facts if part)
    head = f"  {name}  ({said})" if said else f"  {name}"
    indent = " " * 6
    text = textwrap.wrap(
        field.metadata["help"], WIDTH - 4, initial_indent=indent, subsequent_indent=indent
    )
    return [head, *text]
