"""Formats the results of `serving.py` as Markdown tables."""

from tables import header, row, spread

NETWORK_COLUMNS = (
    "network, side in pixels",
    "`model.predict`, images/s",
    "`encode`, images/s",
    "`encode` / `predict`",
    "`encode_bytes`, images/s",
    "share of decoding",
)

REQUEST_COLUMNS = (
    "network, side in pixels",
    "clients",
    "median, ms",
    "99th percentile, ms",
    "images/s",
)


def networks(report):
    """Images per second of the signatures."""
    keys = ("predict", "encode", "encode_times_predict", "encode_bytes", "decoding_share")
    rows = (
        row([_name(network), *(spread(cell[key]) for key in keys)])
        for network, cell in report["networks"].items()
    )
    return header(NETWORK_COLUMNS) + "".join(rows)


def searches(report):
    """Milliseconds that a search takes beside encoding."""
    rows = (row([queries, spread(found)]) for queries, found in report["search"].items())
    return header(["queries", "milliseconds"]) + "".join(rows)


def requests(report):
    """Milliseconds of requests to `tfhash serve`."""
    rows = (
        row([_name(network), clients, *(f"{cell[key]:.3g}" for key in _PERCENTILES)])
        for network, cells in report["requests"].items()
        for clients, cell in cells.items()
    )
    return header(REQUEST_COLUMNS) + "".join(rows)


_PERCENTILES = ("p50", "p99", "images_per_second")


def _name(network):
    return network.replace(":", ", ")
