"""Serving: images per second of the exported signatures, search in a SavedModel, and `tfhash serve`.

Signatures run in the process as TensorFlow Serving runs them, by a session on the SavedModel. `encode` takes
pixels and is compared with `model.predict` on the same batch; `encode_bytes` takes JPEG files of four
times the pixels, and `decode` is the decoding in it alone. All alternate, and ratios are taken within a
round. Then clients in processes of their own ask `tfhash serve` for one image at a time: for its code, and
for its nearest items.

    python benchmarks/serving.py
"""

import pathlib
import tempfile

import keras
import numpy as np
import serving_requests
import serving_tables
import tensorflow as tf
from absl import app, flags
from timing import divide, rounds

from tfhash import files
from tfhash.data.guarded import decode_batch_or_fail
from tfhash.experiments import environment
from tfhash.export import export_saved_model
from tfhash.models import HashingModel, build_backbone

BITS, K = 64, serving_requests.K

FLAGS = flags.FLAGS
flags.DEFINE_multi_string("networks", ["MobileNetV3Small:224", "convnet:32"], "NAME:SIDE.")
flags.DEFINE_integer("batch_size", 32, "Images in a batch.")
flags.DEFINE_integer("items", 1_000_000, "Codes of 64 bits to search.", lower_bound=K)
flags.DEFINE_integer("repeats", 7, "Rounds.", lower_bound=1)
flags.DEFINE_multi_integer("clients", [1, 8, 32], "Clients of `tfhash serve`.", lower_bound=1)
flags.DEFINE_integer("requests", 600, "Requests of all clients together, of each kind.")
flags.DEFINE_string("output", "benchmarks/results/serving.json", "Result file.")


@flags.multi_flags_validator(["clients", "requests"], "each client must have a request")
def _each_client_has_a_request(values):
    return max(values["clients"]) <= values["requests"]


def main(_):
    report = {
        "settings": {
            name: FLAGS[name].value for name in ("batch_size", "items", "repeats", "requests")
        },
        "unit": "images per second; milliseconds for searches and requests",
        "networks": {},
        "search": {},
        "requests": {},
        "search_requests": {},
        **environment.describe(["tensorflow-serving-api", "uvicorn"]),
    }
    codes = np.random.default_rng(0).integers(0, 256, (FLAGS.items, BITS // 8), "uint8")
    with tempfile.TemporaryDirectory() as folder, serving_requests.client_processes() as executor:
        for network in FLAGS.networks:
            directory = pathlib.Path(folder, network.replace(":", "-"))
            model, photos = make(network)
            database = None
            if network == FLAGS.networks[-1]:
                database = codes, None, None
            version = export_saved_model(model, directory, database=database)
            signatures = tf.saved_model.load(version).signatures
            report["networks"][network] = measure(model, signatures, photos)
            if database is not None:
                report["search"] = measure_search(signatures, photos)
            asked = serving_requests.measure(
                model, directory, codes, photos, executor, FLAGS.clients, FLAGS.requests
            )
            report["requests"][network] = asked["encode"]
            report["search_requests"][network] = asked["search"]
            files.write_json(pathlib.Path(FLAGS.output), report)
            print(f"{network} done", flush=True)
    for table in (serving_tables.networks, serving_tables.searches, serving_tables.requests):
        print(table(report))


def make(network):
    """A network with random weights, and JPEG files twice as wide and high as its input."""
    name, side = network.split(":")
    keras.utils.set_random_seed(0)
    model = HashingModel(build_backbone(name, (int(side), int(side), 3)), BITS, num_classes=10)
    model.build((None, int(side), int(side), 3))
    rng = np.random.default_rng(0)
    # Photos are smooth, and noise would take a decoder longer.
    coarse = rng.integers(0, 256, (FLAGS.batch_size, 12, 12, 3)).astype("float32")
    pixels = tf.image.resize(coarse, (2 * int(side), 2 * int(side)), "bicubic")
    pixels = tf.cast(tf.clip_by_value(pixels, 0, 255), tf.uint8)
    return model, [tf.io.encode_jpeg(image, quality=90).numpy() for image in pixels]


def measure(model, signatures, photos):
    shape = model.image_shape
    images = decode_batch_or_fail(photos, shape)
    array, contents = images.numpy(), tf.constant(photos)
    calls = {
        "predict": lambda: model.predict(array, batch_size=len(array), verbose=0),
        "encode": lambda: signatures["encode"](images=images),
        "encode_bytes": lambda: signatures["encode_bytes"](image_bytes=contents),
        "decode": lambda: decode_batch_or_fail(contents, shape),
    }
    for call in calls.values():
        call()
    seconds = rounds(calls, FLAGS.repeats)
    rates = {name: [len(photos) / second for second in found] for name, found in seconds.items()}
    return {
        **rates,
        "encode_times_predict": divide(seconds["predict"], seconds["encode"]),
        "decoding_share": divide(seconds["decode"], seconds["encode_bytes"]),
    }


def measure_search(signatures, photos):
    """Milliseconds of one query and of a batch, less those of encoding."""
    found = {}
    for count in (1, len(photos)):
        contents, k = tf.constant(photos[:count]), tf.fill([count], K)
        calls = {
            "encode": lambda contents=contents: signatures["encode_bytes"](image_bytes=contents),
            "search": lambda contents=contents, k=k: signatures["search_bytes"](
                image_bytes=contents, k=k
            ),
        }
        for call in calls.values():
            call()
        seconds = rounds(calls, FLAGS.repeats)
        pairs = zip(seconds["search"], seconds["encode"])
        found[str(count)] = [1000 * (search - encode) for search, encode in pairs]
    return found


if __name__ == "__main__":
    app.run(main)
