"""Image files of every kind that is served, and a session as TensorFlow Serving's."""

import io
import struct

import numpy as np
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf import config_pb2

from tfhash.data.formats import tensorflow_reads_webp

ORIENTATION = 274


def saved(image, fmt, **options):
    file = io.BytesIO()
    image.save(file, fmt, **options)
    return file.getvalue()


def picture(height, width, seed=0):
    """Waves of colors, other ones for each seed, with transparency."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width] / max(height, width) * 6
    waves = [np.sin(rows * a + columns * b) for a, b in rng.uniform(-2, 2, (4, 2))]
    pixels = 128 + 120 * np.stack(waves, axis=-1)
    return Image.fromarray(pixels.astype("uint8"), "RGBA")


def make_files():
    """Contents by name."""
    color = [picture(31 + 7 * i, 50 - 3 * i, i).convert("RGB") for i in range(8)]
    deep = np.random.default_rng(0).integers(0, 65536, (21, 19), dtype="uint16")
    files = {
        "photo.jpg": saved(color[0], "JPEG"),
        "large.jpg": saved(picture(301, 402, 9).convert("RGB"), "JPEG"),
        "progressive.jpg": saved(color[1], "JPEG", progressive=True),
        "gray.jpg": saved(color[2].convert("L"), "JPEG"),
        "cmyk.jpg": saved(color[3].convert("CMYK"), "JPEG"),
        "photo.png": saved(color[4], "PNG"),
        "gray.png": saved(color[5].convert("L"), "PNG"),
        "rgba.png": saved(picture(17, 33, 10), "PNG"),
        "palette.png": saved(color[6].quantize(16), "PNG", transparency=2),
        "deep.png": saved(Image.fromarray(deep), "PNG"),
        "still.gif": saved(color[7].quantize(16), "GIF", transparency=1),
        "moving.gif": saved(color[0].quantize(8), "GIF", save_all=True, append_images=color[1:3]),
        "photo.bmp": saved(color[1], "BMP"),
        "palette.bmp": saved(color[2].quantize(16), "BMP"),
        "lossy.webp": saved(color[3], "WEBP"),
        "rgba.webp": saved(picture(20, 41, 11), "WEBP", lossless=True),
        "dot.png": saved(picture(1, 1, 12).convert("RGB"), "PNG"),
        "line.png": saved(picture(1, 97, 13).convert("RGB"), "PNG"),
        "exact.png": saved(picture(8, 8, 14).convert("RGB"), "PNG"),
    }
    for orientation in range(1, 9):
        tags = Image.Exif()
        tags[ORIENTATION] = orientation
        files[f"turned {orientation}.jpg"] = saved(color[orientation - 1], "JPEG", exif=tags)
        files[f"turned {orientation}.png"] = saved(color[orientation - 1], "PNG", exif=tags)
    if not tensorflow_reads_webp():
        files = {name: file for name, file in files.items() if not name.endswith(".webp")}
    return files


def huge(fmt, height=15_000, width=15_000):
    """A file whose header promises many pixels."""
    if fmt == "PNG":
        header = struct.pack(">I4sIIBBBBB", 13, b"IHDR", width, height, 8, 2, 0, 0, 0)
        return b"\x89PNG\r\n\x1a\n" + header + bytes(100)
    if fmt == "JPEG":
        whole = saved(picture(8, 8).convert("RGB"), "JPEG")
        at = whole.index(b"\xff\xc0") + 5
        return whole[:at] + struct.pack(">HH", height, width) + whole[at + 4 :]
    if fmt == "GIF":
        return b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0) + bytes(100)
    if fmt == "BMP":
        return b"BM" + bytes(12) + struct.pack("<Iii", 40, width, -height) + bytes(100)
    canvas = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return b"RIFF" + bytes(4) + b"WEBPVP8X" + struct.pack("<II", 10, 0) + canvas + bytes(100)


class RawSession:
    """Signatures of a SavedModel, run by a session that checks no shapes, as TensorFlow Serving's."""

    def __init__(self, directory):
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        with self._session.graph.as_default():
            loaded = tf.compat.v1.saved_model.load(self._session, ["serve"], str(directory))
        self.signatures = loaded.signature_def

        self._runs = {}

    def __call__(self, signature, value):
        """Outputs of a signature of one input, a dictionary of arrays."""
        definition = self.signatures[signature]
        if signature not in self._runs:
            (fed,) = definition.inputs.values()
            options = config_pb2.CallableOptions(
                feed=[fed.name], fetch=[output.name for output in definition.outputs.values()]
            )
            # `Session.run` checks shapes in Python, which C++ does not.
            self._runs[signature] = self._session._make_callable_from_options(options)
        return dict(zip(definition.outputs, self._runs[signature](value)))

    def of_bytes(self, contents, signature="serving_default"):
        return self(signature, np.array(list(contents), object))
