"""What passes through the pipelines."""

from typing import NamedTuple

import numpy as np

from tfhash.codes import packed_length
from tfhash.index import shards


class Code(NamedTuple):
    """An encoded image.

    Attributes:
        id: Its id, which depends on its name alone; see `tfhash.index.shards.id_of`.
        name: Its name.
        code: Packed code, `ceil(bits / 8)` bytes.

    `Encode` returns it and has an example.
    """

    id: int
    name: str
    code: bytes


class Bad(NamedTuple):
    """An image that could not be read.

    Attributes:
        name: Its name.
        reason: Why, in words.

    `Encode` returns it and has an example.
    """

    name: str
    reason: str


def code_of(name, code):
    """The `Code` of a name and a packed code."""
    return Code(shards.id_of(name), name, code)


def as_block(codes, bits):
    """The `CodeBlock` of some `Code`.

    Args:
        codes: A list of `Code`.
        bits: Length of a code.
    """
    packed = np.frombuffer(b"".join(code.code for code in codes), np.uint8)
    return shards.CodeBlock(
        np.array([code.id for code in codes], np.int64),
        packed.reshape(len(codes), packed_length(bits)),
        [code.name for code in codes],
    )
