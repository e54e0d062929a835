"""Requests to `tfhash serve`, for `serving.py`: clients encode or search one image file at a time.

The clients run in processes of their own, so that they do not wait for the interpreter lock of the
benchmark. They connect first, and then begin together.
"""

import concurrent.futures
import contextlib
import multiprocessing
import re
import subprocess
import sys
import time

import numpy as np

from tfhash.index import HammingIndex
from tfhash.models import fingerprint
from tfhash.serving import Client

KINDS = ("encode", "search")

# Neighbors of a search.
K = 10

PROCESSES = 2

# Seconds until a server is ready, or the processes of the clients are.
PATIENCE = 120

_barrier = None


@contextlib.contextmanager
def client_processes():
    """The executor that `measure` takes. Its processes start when they are first used."""
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    barrier = context.Barrier(PROCESSES)
    with concurrent.futures.ProcessPoolExecutor(
        PROCESSES, mp_context=context, initializer=_keep, initargs=(barrier,)
    ) as executor:
        yield executor


def measure(model, folder, codes, photos, executor, clients, requests):
    """Measures a server of a model and an index.

    Args:
        model: `tfhash.models.HashingModel`.
        folder: `pathlib.Path` of a folder for the model and the index.
        codes: Packed codes of the index, whose ids are 0 to n - 1; n >= `K`.
        photos: List of contents of image files.
        executor: See `client_processes`.
        clients: Numbers of clients.
        requests: Requests of all clients together, >= each number of clients.

    Returns:
        A dictionary from each of `KINDS` to a dictionary from the number of clients, a string, to
        `summary`.

    Raises:
        RuntimeError: If a search does not find what the index finds.
    """
    model.save(folder / "model.keras")
    index = HammingIndex(model.bits, model=fingerprint(model))
    index.add(codes)
    index.save(folder / "codes.index")
    found = {kind: {} for kind in KINDS}
    with _server(folder / "model.keras", folder / "codes.index") as url:
        _check(url, index, photos)
        for count in clients:
            for kind in KINDS:
                found[kind][str(count)] = _ask(executor, url, kind, count, requests, photos)
    return found


def summary(spans):
    """Percentiles of requests in milliseconds, and images per second.

    Args:
        spans: Begin and end of each request in seconds on one clock, `float64 [n, 2]`, n >= 1.
    """
    milliseconds = 1000 * (spans[:, 1] - spans[:, 0])
    return {
        "p50": float(np.percentile(milliseconds, 50)),
        "p99": float(np.percentile(milliseconds, 99)),
        "images_per_second": float(len(spans) / (spans[:, 1].max() - spans[:, 0].min())),
    }


@contextlib.contextmanager
def _server(model_path, index_path):
    command = [sys.executable, "-m", "tfhash", "serve", f"--model={model_path}", "--port=0"]
    command += [f"--index={index_path}", "--name=model"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            addresses = (re.search(r"http://[\d.:]+", line) for line in server.stdout)
            url = next((found[0] for found in addresses if found), None)
            if url is None:
                raise RuntimeError("`tfhash serve` ended before it served. Its message is above")
            yield url
        finally:
            server.terminate()
            server.communicate()  # reads its last line


def _check(url, index, photos):
    with Client(url, "model") as client:
        client.wait_until_ready(PATIENCE)
        found, expected = client.search(photos, K), index.search(client.encode(photos), K)
    if not (
        np.array_equal(found.ids, expected.ids)
        and np.array_equal(found.distances, expected.distances)
    ):
        raise RuntimeError(
            "the server must find the items that its index finds for the codes of the same photos. "
            "Received others: nothing is measured until that is mended"
        )


def _ask(executor, url, kind, clients, requests, photos):
    each = requests // clients
    half = clients // 2
    jobs = [
        executor.submit(_ask_in_threads, url, kind, numbers, each, photos)
        for numbers in (range(half), range(half, clients))
    ]
    # As they end: after an error in one process, the other one waits in vain for `PATIENCE`.
    ended = concurrent.futures.as_completed(jobs)
    return summary(np.concatenate([job.result() for job in ended]))


def _keep(barrier):
    global _barrier
    _barrier = barrier


def _ask_in_threads(url, kind, numbers, each, photos):
    """Spans of the requests of the clients of one process, see `summary`."""

    def ask(client, i):
        photo = [photos[i % len(photos)]]
        return client.encode(photo) if kind == "encode" else client.search(photo, K)

    def ask_all(client, number):
        spans = np.empty((each, 2))
        for i in range(each):
            begin = time.perf_counter()  # one clock for all processes
            ask(client, number + i)
            spans[i] = begin, time.perf_counter()
        return spans

    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(url, "model")) for _ in numbers]
        # One client needs one process, and the other process has nothing to ask.
        threads = stack.enter_context(concurrent.futures.ThreadPoolExecutor(max(1, len(clients))))
        list(threads.map(ask, clients, numbers))  # connections
        _barrier.wait(PATIENCE)
        return np.concatenate([np.empty((0, 2)), *threads.map(ask_all, clients, numbers)])
