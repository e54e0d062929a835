"""The web application: routes, limits, and errors as JSON."""

import asyncio
import concurrent.futures
import contextlib
import json
import os
import sys
import urllib.parse

try:
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect
    from starlette.responses import Response
    from starlette.routing import Route
except ImportError as error:
    raise ImportError(
        f"`tfhash serve` needs packages that are not installed ({error}). Run `pip install "
        "'tfhash[serving]'`"
    ) from error

from tfhash import errors
from tfhash.experiments.serving import service as answers
from tfhash.experiments.serving.batching import Batcher
from tfhash.experiments.serving.local import is_local
from tfhash.experiments.serving.request_error import RequestError

# Bytes of one request, and of all that are being answered.
MOST_BYTES = 64 * 2**20
MOST_BYTES_AT_ONCE = 256 * 2**20
# Requests that are being answered.
MOST_REQUESTS = 256
# Seconds that a client may take to send a request.
LONGEST_SENDING = 60

# Without a type of its own, curl sends the second one.
_CONTENT_TYPES = ("application/json", "application/x-www-form-urlencoded", "text/plain", "")

# What a client that comes too early is told.
_LATER = {"Retry-After": "1"}


class App:
    """The REST interface of TensorFlow Serving for a `Service`.

    Args:
        service: `tfhash.experiments.serving.service.Service`.
        max_batch: Images that the model takes at once, >= 1.
        batch_timeout: Seconds that images wait at most for those of other requests.
        is_local: Whether to answer only to clients that call this machine by a local name, and to no
            page of another machine: a browser lets such a page ask through a name that leads here,
            and post what it likes.
        most_bytes, most_bytes_at_once, most_requests: Limits, see the constants of this module.

    Attributes:
        asgi: The application, for a server such as uvicorn.
    """

    def __init__(
        self,
        service,
        max_batch=32,
        batch_timeout=0.002,
        is_local=True,
        most_bytes=MOST_BYTES,
        most_bytes_at_once=MOST_BYTES_AT_ONCE,
        most_requests=MOST_REQUESTS,
    ):
        self._service, self._max_batch, self._is_local = service, max_batch, is_local
        self._most_bytes, self._most_bytes_at_once = most_bytes, most_bytes_at_once
        self._most_requests = most_requests
        self._bytes = self._requests = 0
        self._batcher = Batcher(service.encode, max_batch, batch_timeout)
        # JSON takes up to 25 times its bytes until its pixels are an array, and holds the interpreter's
        # lock: one request is read at a time.
        self._reader = concurrent.futures.ThreadPoolExecutor(1)
        # Decoding takes a core; more threads than cores only take memory.
        self._threads = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
        self.asgi = Starlette(
            routes=_routes(self),
            exception_handlers={HTTPException: _on_http_error, Exception: _on_bug},
        )

    def close(self):
        """Ends the threads, after what they are at. What waits for them is dropped."""
        self._batcher.close()
        self._reader.shutdown(cancel_futures=True)
        self._threads.shutdown(cancel_futures=True)

    async def health(self, request):
        del request
        return _json({"status": "ok"})

    async def status(self, request):
        return await self._answered(request, self._status)

    async def metadata(self, request):
        return await self._answered(request, self._metadata)

    async def predict(self, request):
        return await self._answered(request, self._predict)

    async def _answered(self, request, answer):
        try:
            self._check_host(request)
            self._check_model(request)
            return await answer(request)
        except RequestError as error:
            return _json({"error": error.message}, error.status, error.headers)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        except Exception as error:
            return _bug(error)

    async def _status(self, request):
        del request
        version = {
            "version": str(answers.VERSION),
            "state": "AVAILABLE",
            "status": {"error_code": "OK", "error_message": ""},
        }
        return _json({"model_version_status": [version]})

    async def _metadata(self, request):
        del request
        return _json(self._service.metadata())

    async def _predict(self, request):
        _check_headers(request)
        async with self._admitted() as admit:
            body = await self._body(request, admit)
            asked = await self._in(self._reader, self._service.read, body)
            del body
            rows = [
                await self._encoded(asked, start, min(start + self._max_batch, len(asked)))
                for start in range(0, len(asked), self._max_batch)
            ]
            answer = await self._in(self._threads, self._service.answer, asked, rows)
        return Response(answer, media_type="application/json")

    async def _encoded(self, asked, start, end):
        images = await self._in(self._threads, self._service.pixels, asked, start, end)
        return await asyncio.wrap_future(self._batcher.submit(images))

    @contextlib.asynccontextmanager
    async def _admitted(self):
        """Lets a request in unless there are too many; yields a function that takes its bytes."""
        if self._requests >= self._most_requests:
            raise RequestError(
                f"the server is answering {self._requests} requests, which is all it takes. Send "
                "this one again later",
                503,
                _LATER,
            )
        held = 0

        def admit(count):
            nonlocal held
            if self._bytes + count > self._most_bytes_at_once:
                raise RequestError(
                    f"the server is answering requests of {self._bytes:,} bytes and takes "
                    f"{self._most_bytes_at_once:,}. Send this one again later",
                    503,
                    _LATER,
                )
            self._bytes += count
            held += count

        self._requests += 1
        try:
            yield admit
        finally:
            self._requests -= 1
            self._bytes -= held

    async def _body(self, request, admit):
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self._most_bytes:
            self._refuse_body(int(announced))
        try:
            return await asyncio.wait_for(self._receive(request, admit), LONGEST_SENDING)
        except asyncio.TimeoutError:
            raise RequestError(
                f"a request must arrive within {LONGEST_SENDING} seconds. Send fewer images", 408
            ) from None

    async def _receive(self, request, admit):
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > self._most_bytes:
                self._refuse_body(size)
            admit(len(part))
            parts.append(part)
        return b"".join(parts)

    def _refuse_body(self, size):
        raise RequestError(
            f"a request has at most {self._most_bytes:,} bytes. Received: {size:,} or more. Send "
            "fewer images in a request",
            413,
        )

    def _check_host(self, request):
        if not self._is_local:
            return
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

    def _check_model(self, request):
        name, version = (request.path_params.get(key) for key in ("name", "version"))
        if name != self._service.name:
            raise RequestError(
                f"there is no model {name!r:.200}. This server has {self._service.name!r}", 404
            )
        if version is not None and version != str(answers.VERSION):
            raise RequestError(
                f"there is no version {version!r:.200} of {name!r}. This server has "
                f"{answers.VERSION}",
                404,
            )

    async def _in(self, threads, function, *arguments):
        return await asyncio.get_running_loop().run_in_executor(threads, function, *arguments)


def _routes(app):
    routes = [Route("/healthz", app.health)]
    for path in ("/v1/models/{name}", "/v1/models/{name}/versions/{version}"):
        routes += [
            Route(f"{path}:predict", app.predict, methods=["POST"]),
            Route(f"{path}/metadata", app.metadata),
            Route(path, app.status),
        ]
    return routes


def _check_headers(request):
    content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if content_type not in _CONTENT_TYPES:
        raise RequestError(
            f"the body must be JSON, application/json. Received: {content_type:.100}. Send image "
            'files as {"b64": "..."}, in base64',
            415,
        )
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise RequestError(f"the body must not be compressed. Received: {encoding:.100}", 415)


def _host_of(origin):
    try:
        return urllib.parse.urlsplit(origin).hostname  # that of "null" is `None`
    except ValueError:
        return None


def _json(value, status=200, headers=None):
    body = json.dumps(value).encode("ascii")
    return Response(body, status, headers, media_type="application/json")


async def _on_http_error(request, error):
    message = error.detail
    if error.status_code == 404:
        message = (
            f"there is nothing at {request.scope['path']:.200}. This server has /v1/models/NAME, "
            "/v1/models/NAME/metadata, /v1/models/NAME:predict and /healthz"
        )
    elif error.status_code == 405:
        message = f"{request.method:.20} is not allowed at {request.scope['path']:.200}"
    return _json({"error": message}, error.status_code, error.headers)


async def _on_bug(request, error):
    del request
    return _bug(error)


def _bug(error):
    """A fault of ours: its kind goes to the client, the rest to whoever runs the server."""
    print(f"tfhash serve: error: {type(error).__name__}: {errors.in_words(error)}", file=sys.stderr)
    return _json({"error": f"the server failed ({type(error).__name__})"}, 500)
