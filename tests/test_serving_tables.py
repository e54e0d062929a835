"""Requests to `tfhash serve`: their percentiles and their table, by hand-worked values."""

import numpy as np
import pytest
import serving_requests
import serving_tables


def cell(p50, p99, rate):
    return {"p50": p50, "p99": p99, "images_per_second": rate}


def test_percentiles_are_those_of_each_request_and_the_rate_is_from_the_first_begin_to_the_last_end():
    # Two clients: one of 10 ms a request, and one of 30 ms that begins later.
    spans = np.array([[5.0, 5.01], [5.01, 5.02], [5.04, 5.07], [5.07, 5.1]])
    assert serving_requests.summary(spans) == pytest.approx(cell(20, 30, 4 / 0.1))
    # Interpolated between 98 requests of 1 ms and, as numbers 99 and 100, two of 2 and 3 ms.
    spans = np.zeros((100, 2))
    spans[:, 1] = [1e-3] * 98 + [2e-3, 3e-3]
    assert serving_requests.summary(spans) == pytest.approx(cell(1, 2.01, 100 / 3e-3))


def test_a_request_alone_is_its_own_percentiles():
    assert serving_requests.summary(np.array([[7.0, 7.25]])) == cell(250, 250, 4)


def test_searches_stand_beside_encoding_and_what_a_result_lacks_is_not_measured():
    report = {"requests": {"convnet:32": {"1": cell(1, 2, 3), "8": cell(4, 5, 1234)}}}
    head, _, *rows = serving_tables.requests(report).splitlines()
    assert head.count("`encode`: ") == head.count("`search`: ") == 3
    assert rows == [
        "| convnet, 32 | 1 | 1 | 2 | 3 | not measured | - | - |",
        "| convnet, 32 | 8 | 4 | 5 | 1.23e+03 | not measured | - | - |",
    ]
    report["search_requests"] = {
        "convnet:32": {"8": cell(6, 7, 8)},
        "other:8": {"1": cell(0, 0, 0)},
    }
    assert serving_tables.requests(report).splitlines()[2:] == [
        rows[0],
        "| convnet, 32 | 8 | 4 | 5 | 1.23e+03 | 6 | 7 | 8 |",
    ]
