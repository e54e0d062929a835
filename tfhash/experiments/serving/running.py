"""Runs a web application until it is told to stop."""

import contextlib
import signal
import socket
import threading

# Seconds that requests have to be finished after the server was told to stop.
LONGEST_STOP = 60

_STOPPING = (signal.SIGINT, signal.SIGTERM)


def listen(host, port):
    """A socket that listens.

    Args:
        host: Name or address of this machine.
        port: Number of the port; 0 for any that is free.

    Raises:
        OSError: If the port is taken, or the address is not of this machine.
    """
    listening = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )[0]
        # With its protocol: asyncio sends at once only where it knows that it is TCP. Otherwise each
        # answer takes 40 milliseconds.
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(1024)
        return listening
    except OSError as error:
        if listening is not None:
            listening.close()
        reason = error.strerror or str(error)
        raise OSError(
            f"cannot listen on {host}, port {port}: {reason}. Give another `port` or `host`"
        ) from error


def url_of(listening):
    """The address of a listening socket, as a client needs it."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(app, listening, when_ready):
    """Answers requests until SIGTERM or SIGINT comes, and then those that have begun.

    Args:
        app: Has `asgi`, a web application, and `close()`, which is called at the end.
        listening: What `listen` returned. It is closed.
        when_ready: Function that is called before the first request is answered.
    """
    try:
        when_ready()
        with _signals_end_nothing():
            server_of(app).run(sockets=[listening])
    finally:
        app.close()
        listening.close()


def server_of(app):
    """The server of a web application, of uvicorn, not started yet."""
    import uvicorn

    config = uvicorn.Config(
        app.asgi,
        log_level="error",
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=LONGEST_STOP,
    )
    return uvicorn.Server(config)


@contextlib.contextmanager
def _signals_end_nothing():
    """Keeps what uvicorn does when it has stopped from ending the process with the signal's status."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: signal.signal(each, lambda *_: None) for each in _STOPPING}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
