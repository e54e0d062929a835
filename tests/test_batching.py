"""The batcher of `tfhash serve` gives each request its own rows, whatever becomes of the others."""

import threading

import numpy as np
import pytest

from tfhash.experiments.serving.batching import Batcher


def test_the_batcher_puts_together_what_waits_and_no_more_than_fits():
    started, go_on, batches = threading.Event(), threading.Event(), []

    def run(images):
        batches.append(len(images))
        started.set()
        go_on.wait(60)
        return {"value": images[:, 0]}

    batcher = Batcher(run, 4, 0)
    futures = [batcher.submit(np.full((1, 1), 0))]
    started.wait(60)
    futures += [batcher.submit(np.full((n, 1), n)) for n in (2, 1, 3, 4, 1)]
    go_on.set()
    values = [future.result(60)["value"].tolist() for future in futures]
    batcher.close()
    assert values == [[0], [2, 2], [1], [3, 3, 3], [4, 4, 4, 4], [1]]
    assert batches == [1, 3, 3, 4, 1]
    with pytest.raises(RuntimeError, match="closed"):
        batcher.submit(np.zeros((1, 1)))


def test_a_model_that_fails_fails_its_batch_alone():
    def run(images):
        if (images == 7).any():
            raise ZeroDivisionError
        return {"value": images}

    batcher = Batcher(run, 1, 0)
    wrong, right = batcher.submit(np.full((1, 1), 7)), batcher.submit(np.full((1, 1), 8))
    assert isinstance(wrong.exception(60), ZeroDivisionError)
    assert right.result(60)["value"] == 8
    with pytest.raises(ValueError, match="at most 1 images fit. Received: 2"):
        batcher.submit(np.zeros((2, 1)))
    batcher.close()


def test_what_is_cancelled_is_not_run_and_the_rest_is_answered():
    started, go_on, batches = threading.Event(), threading.Event(), []

    def run(images):
        batches.append(images[:, 0].tolist())
        started.set()
        go_on.wait(60)
        return {"value": images[:, 0]}

    batcher = Batcher(run, 2, 0)
    futures = [batcher.submit(np.full((1, 1), 0))]
    started.wait(60)
    futures += [batcher.submit(np.full((1, 1), i)) for i in range(1, 6)]
    # What runs goes on; one of a batch, and both of another.
    assert [futures[i].cancel() for i in (0, 1, 3, 4)] == [False, True, True, True]
    go_on.set()
    values = [futures[i].result(60)["value"].tolist() for i in (0, 2, 5)]
    batcher.close()
    assert values == [[0], [2], [5]]
    assert batches == [[0], [2], [5]]
