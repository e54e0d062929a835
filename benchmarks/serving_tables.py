"""Formats the results of `serving.py` as Markdown tables."""

from tables import NOT_MEASURED, header, row, spread

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
    *(
        f"`{kind}`: {figure}"
        for kind in ("encode", "search")
        for figure in ("median, ms", "99th percentile, ms", "images/s")
    ),
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
    """Milliseconds of requests to `tfhash serve` that encode, and beside them those that search."""
    searches = report.get("search_requests", {})
    rows = (
        row([_name(network), clients, *_asked(cell), *_asked(found.get(clients))])
        for network, cells in report["requests"].items()
        for found in [searches.get(network, {})]
        for clients, cell in cells.items()
    )
    return header(REQUEST_COLUMNS) + "".join(rows)


def _asked(cell):
    if cell is None:
        return [NOT_MEASURED, "-", "-"]
    return [f"{cell[key]:.3g}" for key in ("p50", "p99", "images_per_second")]


def _name(network):
    return network.replace(":", ", ")
