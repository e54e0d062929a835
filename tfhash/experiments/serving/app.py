"""The web application: routes, limits, and errors as JSON."""

import asyncio
import concurrent.futures
import os

from tfhash.errors import how_to_install

try:
    from starlette.applications import Starlette
    from starlette.convertors import StringConvertor, register_url_convertor
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect
    from starlette.responses import Response
    from starlette.routing import Route
except ImportError as error:
    raise ImportError(
        f"`tfhash serve` needs packages that are not installed ({error}). {how_to_install('serving')}"
    ) from error

from tfhash.experiments.serving import local
from tfhash.experiments.serving import service as answers
from tfhash.experiments.serving.batching import Batcher
from tfhash.experiments.serving.intake import Intake
from tfhash.experiments.serving.request_error import RequestError
from tfhash.experiments.serving.responses import as_json, of_bug

# Bytes of one request, and of all that are being answered.
MOST_BYTES = 64 * 2**20
MOST_BYTES_AT_ONCE = 256 * 2**20
# Requests that are being answered.
MOST_REQUESTS = 256

# Without a type of its own, curl sends the second one.
_CONTENT_TYPES = ("application/json", "application/x-www-form-urlencoded", "text/plain", "")


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
        self._intake = Intake(
            most_bytes, most_bytes_at_once, most_requests, "Send fewer images in a request"
        )
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
        # By any name, also for a local server: it tells nothing but that it runs.
        del request
        return as_json({"status": "ok"})

    async def status(self, request):
        return await self._answered(request, self._status)

    async def metadata(self, request):
        return await self._answered(request, self._metadata)

    async def predict(self, request):
        return await self._answered(request, self._predict)

    async def _answered(self, request, answer):
        try:
            if self._is_local:
                local.check_request(request)
            self._check_model(request)
            return await answer(request)
        except RequestError as error:
            return as_json({"error": error.message}, error.status, error.headers)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        except Exception as error:
            return of_bug(error, "serve")

    async def _status(self, request):
        del request
        version = {
            "version": str(answers.VERSION),
            "state": "AVAILABLE",
            "status": {"error_code": "OK", "error_message": ""},
        }
        return as_json({"model_version_status": [version]})

    async def _metadata(self, request):
        del request
        return as_json(self._service.metadata())

    async def _predict(self, request):
        _check_headers(request)
        async with self._intake.admitted() as admit:
            body = await self._intake.body(request, admit)
            asked = await self._in(self._reader, self._service.read, body)
            del body
            rows, valid = [], []
            for start in range(0, len(asked), self._max_batch):
                end = min(start + self._max_batch, len(asked))
                images, can_be_read = await self._in(
                    self._threads, self._service.pixels, asked, start, end
                )
                rows.append(await asyncio.wrap_future(self._batcher.submit(images)))
                valid.append(can_be_read)
            answer = await self._in(self._threads, self._service.answer, asked, rows, valid)
        return Response(answer, media_type="application/json")

    def _check_model(self, request):
        name, version = (request.path_params.get(key) for key in ("name", "version"))
        if name != self._service.name:
            raise RequestError(
                f"no model {name!r:.200}. This server has {self._service.name!r}", 404
            )
        if version is not None and version != str(answers.VERSION):
            raise RequestError(
                f"there is no version {version!r:.200} of {name!r}. This server has "
                f"{answers.VERSION}",
                404,
            )

    async def _in(self, threads, function, *arguments):
        return await asyncio.get_running_loop().run_in_executor(threads, function, *arguments)


class _Part(StringConvertor):
    """A name or a version. With a colon, GET of `NAME:predict` would ask for a model of this name."""

    regex = "[^/:]+"


register_url_convertor("part", _Part())


def _routes(app):
    routes = [Route("/healthz", app.health)]
    for path in ("/v1/models/{name:part}", "/v1/models/{name:part}/versions/{version:part}"):
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


async def _on_http_error(request, error):
    message = error.detail
    if error.status_code == 404:
        message = (
            f"there is nothing at {request.scope['path']:.200}. This server has /v1/models/NAME, "
            "/v1/models/NAME/metadata, /v1/models/NAME:predict and /healthz"
        )
    elif error.status_code == 405:
        message = (
            f"{request.scope['path']:.200} accepts only {error.headers['Allow']}. Received: "
            f"{request.method:.20}"
        )
    return as_json({"error": message}, error.status_code, error.headers)


async def _on_bug(request, error):
    del request
    return of_bug(error, "serve")
