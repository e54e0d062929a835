"""Names and addresses of this machine that no other one can reach, and who may ask by them."""

import ipaddress
import urllib.parse

from tfhash.experiments.serving.request_error import RequestError


def is_local(host):
    """Whether a name or an address leads to this machine alone.

    Args:
        host: String such as "localhost" or "127.0.0.1"; `None` and "" are not local.

    Example:

    >>> [is_local(host) for host in ("localhost", "127.0.0.1", "::1", "0.0.0.0", "photos.example")]
    [True, True, True, False, False]
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_request(request):
    """Refuses a request that calls this machine by a foreign name, or comes from a foreign web page.

    A browser lets a page of another machine ask through a name that leads here, and post what it likes.

    Args:
        request: A request of Starlette.

    Raises:
        RequestError: If it is one.
    """
    try:
        host = request.url.hostname
    except ValueError:  # no address at all
        host = request.headers.get("host")
    if not is_local(host):
        raise RequestError(
            f"this server must be called as localhost or 127.0.0.1. Received: {host or '':.200}. "
            "Start it with --host to serve others",
            403,
        )
    # Browsers send it; curl and the client do not.
    origin = request.headers.get("origin")
    if origin is not None and not is_local(_host_of(origin)):
        raise RequestError(
            f"this server answers to no web page of another machine. Received: Origin: "
            f"{origin:.200}. Start it with --host to serve others",
            403,
        )
    # Images that a foreign page embeds are requested without Origin. Links may lead here.
    fetched = request.headers.get("sec-fetch-site"), request.headers.get("sec-fetch-mode")
    if fetched[0] == "cross-site" and fetched[1] != "navigate":
        raise RequestError(
            "this server answers to no web page of another machine. Received: Sec-Fetch-Site: "
            "cross-site. Start it with --host to serve others",
            403,
        )


def _host_of(origin):
    try:
        return urllib.parse.urlsplit(origin).hostname  # that of "null" is `None`
    except ValueError:
        return None
