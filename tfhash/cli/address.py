"""Where a server listens, and a warning if other machines reach it."""

import dataclasses
import sys

from tfhash.experiments.settings import Settings, setting


@dataclasses.dataclass(frozen=True)
class Host(Settings):
    host: str = setting(
        "127.0.0.1",
        "Address to listen on; 0.0.0.0 is all of this machine. There is no password.",
    )


def port_setting(default):
    """The field `port` of a server that listens on `default`."""
    return setting(default, "Port to listen on; 0 is any that is free.", at_least=0, at_most=65535)


def warn_of_other_machines(listening, host, may):
    """Warns if a socket answers other machines.

    Args:
        listening: The socket.
        host: What `--host` says.
        may: What others may do, as "encode and search".
    """
    from tfhash.experiments.serving.local import is_local

    if not is_local(listening.getsockname()[0]):
        print(
            f"warning: --host={host} lets every machine that reaches this one {may}, without a password",
            file=sys.stderr,
        )
