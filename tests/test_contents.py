"""Files in memory: one that would take the memory of many images is named and not decoded."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from tfhash.data import decode_and_resize, decode_files


def png_of(width, height):
    """A PNG of 30 x 20 pixels whose header says another size."""
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), "uint8")
    Image.fromarray(pixels).save(file, "PNG")
    contents = file.getvalue()
    return contents[:16] + struct.pack(">II", width, height) + contents[24:]


@pytest.mark.parametrize("size", [(10_001, 10_000), (2**32 - 1, 2**32 - 1)])
def test_a_file_of_too_many_pixels_is_left_out_and_the_others_are_decoded(size):
    good = png_of(30, 20)
    files = [("bomb.png", png_of(*size)), ("good.png", good)]
    rows, images, left_out = decode_files(files, (8, 8, 3))
    assert rows == [1]
    np.testing.assert_array_equal(images[0], decode_and_resize(good, (8, 8, 3)))
    assert [item.name for item in left_out] == ["bomb.png"]
    assert "pixels by the header, more than 100,000,000" in left_out[0].reason
