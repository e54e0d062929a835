"""Serving: images per second of the exported signatures, search in a SavedModel, and `tfhash serve`.

Signatures run in the process as TensorFlow Serving runs them, by a session on the SavedModel. `encode` takes
pixels and is compared with `model.predict` on the same batch; `encode_bytes` takes JPEG files of four
times the pixels, and `decode` is the decoding in it alone. All alternate, and ratios are taken within a
round. Then clients in processes of their own ask `tfhash serve` for one image at a time.

    python benchmarks/serving.py
"""

import concurrent.futures
import multiprocessing
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import keras
import numpy as np
import serving_tables
import tensorflow as tf
from absl import app, flags
from timing import divide, rounds

from tfhash import files
from tfhash.data.guarded import decode_batch_or_fail
from tfhash.experiments import environment
from tfhash.export import export_saved_model
from tfhash.models import HashingModel, build_backbone
from tfhash.serving import Client

FLAGS = flags.FLAGS
flags.DEFINE_multi_string("networks", ["MobileNetV3Small:224", "convnet:32"], "NAME:SIDE.")
flags.DEFINE_integer("batch_size", 32, "Images in a batch.")
flags.DEFINE_integer("items", 1_000_000, "Codes of 64 bits to search.")
flags.DEFINE_integer("repeats", 7, "Rounds.", lower_bound=1)
flags.DEFINE_multi_integer("clients", [1, 8, 32], "Clients of `tfhash serve`.")
flags.DEFINE_integer("requests", 600, "Requests of all clients together.")
flags.DEFINE_string("output", "benchmarks/results/serving.json", "Result file.")

BITS, K = 64, 10


def main(_):
    report = {
        "settings": {
            name: FLAGS[name].value for name in ("batch_size", "items", "repeats", "requests")
        },
        "unit": "images per second; milliseconds for searches and requests",
        "networks": {},
        "search": {},
        "requests": {},
        **environment.describe(["tensorflow-serving-api", "uvicorn"]),
    }
    with tempfile.TemporaryDirectory() as folder:
        for network in FLAGS.networks:
            directory = pathlib.Path(folder, network.replace(":", "-"))
            model, photos = make(network)
            database = None
            if network == FLAGS.networks[-1]:
                rng = np.random.default_rng(0)
                database = rng.integers(0, 256, (FLAGS.items, BITS // 8), "uint8"), None, None
            version = export_saved_model(model, directory, database=database)
            signatures = tf.saved_model.load(version).signatures
            report["networks"][network] = measure(model, signatures, photos)
            if database is not None:
                report["search"] = measure_search(signatures, photos)
            model.save(directory / "model.keras")
            report["requests"][network] = measure_requests(directory / "model.keras", photos)
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


def measure_requests(model_path, photos):
    """Percentiles of the milliseconds of requests, and images per second, by number of clients."""
    command = [sys.executable, "-m", "tfhash", "serve", f"--model={model_path}", "--port=0"]
    with subprocess.Popen([*command, "--name=model"], stdout=subprocess.PIPE, text=True) as server:
        try:
            url = next(m[0] for line in server.stdout if (m := re.search(r"http://[\d.:]+", line)))
            Client(url, "model").wait_until_ready(120)
            return {str(count): ask(url, count, photos) for count in FLAGS.clients}
        finally:
            server.terminate()
            server.communicate()  # reads its last line


def ask(url, clients, photos):
    each = FLAGS.requests // clients
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    # In processes apart, so that clients do not wait for the interpreter lock of the benchmark.
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        shares = [clients // 2 + clients % 2, clients // 2]
        jobs = [pool.submit(ask_in_threads, url, n, each, photos) for n in shares if n]
        results = [job.result() for job in jobs]
    milliseconds = np.concatenate([found for found, _ in results])
    seconds = max(elapsed for _, elapsed in results)
    return {
        "p50": float(np.percentile(milliseconds, 50)),
        "p99": float(np.percentile(milliseconds, 99)),
        "images_per_second": len(milliseconds) / seconds,
    }


def ask_in_threads(url, clients, each, photos):
    def ask_one(number):
        taken = []
        with Client(url, "model") as client:
            client.encode([photos[0]])  # a connection
            for i in range(each):
                started = time.perf_counter()
                client.encode([photos[(number + i) % len(photos)]])
                taken.append(1000 * (time.perf_counter() - started))
        return taken

    started = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        found = list(pool.map(ask_one, range(clients)))
    return np.concatenate(found), time.perf_counter() - started


if __name__ == "__main__":
    app.run(main)
