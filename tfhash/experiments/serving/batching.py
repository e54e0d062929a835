"""One thread that runs a model on the images of several requests at once."""

import concurrent.futures
import queue
import threading
import time

import numpy as np

_END = object()


class Batcher:
    """Puts images of concurrent requests together.

    Args:
        run: Function from images `uint8 [n, height, width, channels]`, 1 <= n <= `max_batch`, to a
            dictionary of arrays with a row for each. It is called in one thread.
        max_batch: Images that the model takes at once, >= 1.
        timeout: Seconds that images wait at most for others, >= 0.

    Example:

    >>> batcher = Batcher(lambda images: {"sum": images.sum(axis=(1, 2, 3))}, 32, 0.002)
    >>> batcher.submit(np.ones((2, 8, 8, 1), "uint8")).result()["sum"].tolist()
    [64, 64]
    >>> batcher.close()
    """

    def __init__(self, run, max_batch, timeout):
        self._run, self._max_batch, self._timeout = run, max_batch, timeout
        self._waiting: queue.SimpleQueue = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="tfhash-batcher", daemon=True)
        self._thread.start()

    def submit(self, images):
        """Has the model run on images.

        Args:
            images: `uint8 [n, height, width, channels]`, n <= `max_batch`.

        Returns:
            `concurrent.futures.Future` of the rows of the dictionary for these images. Cancel it, and
            the model does not see them unless it already runs.

        Raises:
            ValueError: If there are more than `max_batch`.
            RuntimeError: If the batcher is closed.
        """
        if len(images) > self._max_batch:
            raise ValueError(f"at most {self._max_batch} images fit. Received: {len(images)}")
        future: concurrent.futures.Future = concurrent.futures.Future()
        with self._lock:
            if self._is_closed:
                raise RuntimeError("the batcher is closed")
            self._waiting.put((images, future))
        return future

    def close(self):
        """Runs what was submitted, then ends the thread."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._waiting.put(_END)
        self._thread.join()

    def _work(self):
        following = None
        while True:
            first = self._waiting.get() if following is None else following
            if first is _END:
                return
            batch, following = self._gather(first)
            self._answer(batch)

    def _gather(self, first):
        """A batch that begins with `first`, and what came but did not fit, or `None`."""
        batch, count = [first], len(first[0])
        deadline = time.monotonic() + self._timeout
        while count < self._max_batch:
            try:
                following = self._waiting.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            if following is _END or count + len(following[0]) > self._max_batch:
                return batch, following
            batch.append(following)
            count += len(following[0])
        return batch, None

    def _answer(self, batch):
        # A client that has gone cancels its future, which then takes no result.
        batch = [each for each in batch if each[1].set_running_or_notify_cancel()]
        if not batch:
            return
        try:
            outputs = self._run(np.concatenate([images for images, _ in batch]))
        except Exception as error:
            for _, future in batch:
                future.set_exception(error)
            return
        start = 0
        for images, future in batch:
            end = start + len(images)
            future.set_result({name: rows[start:end] for name, rows in outputs.items()})
            start = end
