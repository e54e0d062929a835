"""Random and damaged files through `encode_bytes`: codes or a clean error each, and level memory.

Files of all formats are cut, and bytes of them are changed, put in and left out; some strings are noise. With
`on_error="mask"`, a bad file has `valid` false and a code of 0; from time to time a batch goes through a
model that fails, whose error must name the first bad file. What is valid must have the code that
`model.encode` gives it. A run that was stopped continues where it was.

    python benchmarks/serving_fuzz.py --output=benchmarks/results/serving_fuzz.json
"""

import io
import json
import pathlib
import re
import tempfile

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags
from PIL import Image

from tfhash import files
from tfhash.data.images import decode_and_resize
from tfhash.experiments import environment
from tfhash.export import export_saved_model
from tfhash.models import HashingModel, build_backbone

FLAGS = flags.FLAGS
flags.DEFINE_integer("strings", 1_000_000, "Strings in all.")
flags.DEFINE_integer("batch_size", 256, "Strings in a request.")
flags.DEFINE_string("output", None, "Result file.", required=True)

SHAPE = (8, 8, 3)
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")


def main(_):
    output = pathlib.Path(FLAGS.output)
    report = json.loads(output.read_text()) if output.exists() else start()
    keras.utils.set_random_seed(0)
    model = HashingModel(build_backbone("mlp", SHAPE, 4), 12, 2)
    model.build((None, *SHAPE))
    with tempfile.TemporaryDirectory() as folder:
        masking, failing = (
            tf.saved_model.load(
                export_saved_model(model, pathlib.Path(folder, how), on_error=how)
            ).signatures["serving_default"]
            for how in ("mask", "fail")
        )
        while report["strings"] < FLAGS.strings:
            step = report["strings"] // FLAGS.batch_size
            batch = make_batch(np.random.default_rng(step))
            check(model, masking, failing, batch, report)
            report["strings"] += len(batch)
            if step % 100 == 0:
                report["resident_mb"].append(resident_mb())
                files.write_json(output, report)
                print(report["strings"], report["valid"], report["resident_mb"][-1], flush=True)
    files.write_json(output, report)


def start():
    counts = {"strings": 0, "valid": 0, "compared_with_keras": 0, "errors_read": 0}
    return {**counts, "resident_mb": [], **environment.describe()}


def make_batch(rng):
    whole = [make_file(rng) for _ in range(8)]
    return [damaged(whole[rng.integers(8)], rng) for _ in range(FLAGS.batch_size)]


def make_file(rng):
    size = rng.integers(1, 24, 2)
    image = Image.fromarray(rng.integers(0, 256, (*size, 3), "uint8"))
    kind = FORMATS[rng.integers(len(FORMATS))]
    image = image.quantize(16) if kind == "GIF" or (rng.random() < 0.2 and kind == "PNG") else image
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def damaged(contents, rng):
    data = bytearray(contents)
    kind = rng.integers(6)
    at = int(rng.integers(len(data)))
    if kind == 0:
        return bytes(data[:at])
    if kind == 1:
        data[at] ^= 1 << rng.integers(8)
    elif kind == 2:
        data[at : at + 8] = rng.bytes(int(rng.integers(1, 9)))
    elif kind == 3:
        del data[at : at + int(rng.integers(1, 20))]
    elif kind == 4:
        start = int(rng.integers(0, 9))  # the first bytes of a format, then noise
        return bytes(data[:start]) + rng.bytes(int(rng.integers(0, 60)))
    return bytes(data)


def check(model, masking, failing, batch, report):
    found = {name: value.numpy() for name, value in masking(image_bytes=batch).items()}
    valid = found["valid"]
    assert not found["codes"][~valid].any()
    report["valid"] += int(valid.sum())
    # A few of each batch, for Keras takes longer.
    for place in np.flatnonzero(valid)[:4]:
        image = decode_and_resize(batch[place], SHAPE).numpy()
        assert (model.encode(image[None]) == found["codes"][place]).all(), batch[place]
        report["compared_with_keras"] += 1
    if report["strings"] % (20 * FLAGS.batch_size) == 0 and not valid.all():
        try:
            failing(image_bytes=batch)
        except tf.errors.InvalidArgumentError as error:
            number = int(re.search(r"image (\d+)", error.message)[1])
            assert number == np.flatnonzero(~valid)[0]
            report["errors_read"] += 1
        else:
            raise AssertionError("a bad file was taken")


def resident_mb():
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return round(pages * 4096 / 1e6)


if __name__ == "__main__":
    app.run(main)
