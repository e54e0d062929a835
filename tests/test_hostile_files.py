"""Image files made to take time or memory are refused soon."""

import io
import zlib

import pytest
import tensorflow as tf
from PIL import Image

from tfhash.data import containers, gif
from tfhash.data.guarded import decode_batch


def with_many_pieces(name, count):
    """A file of 8x8 pixels with `count` empty segments, chunks or blocks before its image."""
    file = io.BytesIO()
    Image.new("P" if name == "GIF" else "RGB", (8, 8)).save(file, name)
    contents = file.getvalue()
    start, piece = {
        "JPEG": (2, b"\xff\xef\x00\x02"),
        "PNG": (33, b"\x00\x00\x00\x00teXt" + zlib.crc32(b"teXt").to_bytes(4, "big")),
        "GIF": (contents.find(b",", 13), b"!\xfe\x01a\x00"),
    }[name]
    return contents[:start] + piece * count + contents[start:]


@pytest.mark.parametrize("name", ["JPEG", "PNG", "GIF"])
def test_a_search_in_a_file_of_many_pieces_ends_early(name):
    few, many = (with_many_pieces(name, count) for count in (100, 20_000))
    assert decode_batch([few, many], (8, 8, 3))[1].numpy().tolist() == [True, name == "PNG"]
    # What is left out does not depend on where the search ends: PNG has its size in front.
    data = tf.io.decode_raw(many, tf.uint8)
    block = 64 if name == "GIF" else 1024
    assert containers.most_steps(data, block).numpy() == 1024 + len(many) // block


def test_a_gif_whose_first_frame_is_in_many_pieces_shows_no_later_frame():
    screen = b"GIF89a" + bytes([1, 0, 1, 0, 0x80, 0, 0]) + bytes(6)
    frame = b"," + bytes([0, 0, 0, 0, 1, 0, 1, 0, 0, 2])
    hostile = screen + frame + b"\x01\x44" * 20_000 + b"\x00" + frame * 3 + b";"
    data = tf.io.decode_raw(hostile, tf.uint8)
    _, descriptor = gif.find_blocks(data)
    assert gif.first_frame(tf.constant(hostile), data, descriptor).numpy() == b";"
