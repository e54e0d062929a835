"""Names and addresses of this machine that no other one can reach."""

import ipaddress


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
