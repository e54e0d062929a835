"""The web application: routes, limits, and errors as JSON."""

import asyncio
import concurrent.futures
import functools
import os
import pathlib

from tfhash.errors import how_to_install

try:
    import uvicorn  # noqa: F401
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect
    from starlette.responses import Response
    from starlette.routing import Route
except ImportError as error:
    raise ImportError(
        f"`tfhash demo` needs packages that are not installed ({error}). {how_to_install('demo')}"
    ) from error

from tfhash.experiments.demo_page import pictures
from tfhash.experiments.demo_page.gallery import UnavailableError
from tfhash.experiments.serving import local
from tfhash.experiments.serving.intake import Intake
from tfhash.experiments.serving.request_error import RequestError
from tfhash.experiments.serving.responses import as_json, of_bug

# Bytes of an image that is dropped, and how many are taken in at a time.
MOST_BYTES = 32 * 2**20
MOST_UPLOADS = 8

# Thumbnails that are kept, of some 20 kB each.
_KEPT = 500

_STATIC = pathlib.Path(__file__).parent / "static"
_FILES = {
    "/": ("index.html", "text/html"),
    "/demo.css": ("demo.css", "text/css"),
    "/demo.js": ("demo.js", "text/javascript"),
    "/code.js": ("code.js", "text/javascript"),
}

# The page needs nothing from elsewhere, and no other page may show it or its pictures.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # A file may go or change.
    "Cache-Control": "no-store",
}


class App:
    """The page and what it asks for.

    Args:
        gallery: `Gallery`.
        answers: `Answers` of it.
        is_local: Whether to answer only to clients that call this machine by a local name, and to no
            page of another machine.
        most_bytes: Bytes of an image that is dropped.

    Attributes:
        asgi: The application, for a server such as uvicorn.
    """

    def __init__(self, gallery, answers, is_local=True, most_bytes=MOST_BYTES):
        self._gallery, self._answers, self._is_local = gallery, answers, is_local
        self._most_bytes = most_bytes
        self._intake = Intake(
            most_bytes, MOST_UPLOADS * most_bytes, MOST_UPLOADS, "Drop a smaller file"
        )
        self._thumbnail = functools.lru_cache(_KEPT)(lambda item, stamp: gallery.thumbnail(item))
        pictures.warm_up()
        # A search does not wait for the pictures of the last one, nor for groups, which take minutes.
        self._joins = concurrent.futures.ThreadPoolExecutor(1)
        self._searches = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
        self._pictures = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
        get = {
            "/api/about": self._about,
            "/api/codes/{item}": self._indexed,
            "/api/neighbors": self._neighbors,
            "/api/groups": self._groups,
            "/thumbnails/{item}": self._show,
            **{path: functools.partial(self._file, *file) for path, file in _FILES.items()},
        }
        routes = [Route(path, self._answering(answer)) for path, answer in get.items()]
        routes.append(Route("/api/codes", self._answering(self._encode), methods=["POST"]))
        self.asgi = Starlette(
            routes=routes, exception_handlers={HTTPException: _on_http_error, Exception: _on_bug}
        )
        self.asgi.router.redirect_slashes = False

    def close(self):
        """Ends the threads, after what they are at. What waits for them is dropped."""
        for threads in (self._joins, self._searches, self._pictures):
            threads.shutdown(cancel_futures=True)

    def _answering(self, answer):
        async def respond(request):
            try:
                if self._is_local:
                    local.check_request(request)
                response = await answer(request)
            except RequestError as error:
                response = as_json({"error": error.message}, error.status, error.headers)
            except ClientDisconnect:
                response = Response(status_code=400)  # nobody reads it
            except Exception as error:
                response = of_bug(error, "demo")
            response.headers.update(_HEADERS)
            return response

        return respond

    async def _file(self, name, media_type, request):
        del request
        return Response((_STATIC / name).read_bytes(), media_type=media_type)

    async def _about(self, request):
        del request
        about = await self._in(self._searches, self._answers.about)
        return as_json(about | {"most_bytes": self._most_bytes})

    async def _encode(self, request):
        async with self._intake.admitted() as admit:
            body = await self._intake.body(request, admit)
            return as_json(await self._in(self._searches, self._answers.encode, body))

    async def _indexed(self, request):
        return as_json(await self._in(self._searches, self._answers.indexed, _item(request)))

    async def _neighbors(self, request):
        code, k, radius = _text(request, "code"), _number(request, "k"), _number(request, "radius")
        return as_json(await self._in(self._searches, self._answers.neighbors, code, k, radius))

    async def _groups(self, request):
        radius = _number(request, "radius")
        return as_json(await self._in(self._joins, self._answers.groups, radius))

    async def _show(self, request):
        jpeg = await self._in(self._pictures, self._shown, _item(request))
        return Response(jpeg, media_type="image/jpeg")

    def _shown(self, item):
        try:
            return self._thumbnail(item, self._gallery.stamp(item))
        except UnavailableError as error:
            raise RequestError(f"image {item} is not shown: {error}", 404) from None

    async def _in(self, threads, function, *arguments):
        return await asyncio.get_running_loop().run_in_executor(threads, function, *arguments)


def _item(request):
    """The id in a path. Anything else than an id leads nowhere."""
    item = request.path_params["item"]
    if not (item.isascii() and item.removeprefix("-").isdecimal() and len(item) <= 20):
        raise RequestError(f"there is no image {item!r:.100} in the index", 404)
    number = int(item)
    if not -(2**63) <= number < 2**63:
        raise RequestError(f"there is no image {item} in the index", 404)
    return number


def _text(request, name):
    value = request.query_params.get(name)
    if value is None:
        raise RequestError(f"`{name}` must be given")
    return value


def _number(request, name):
    value = _text(request, name)
    if not (value.isascii() and value.isdecimal() and len(value) <= 18):
        raise RequestError(f"`{name}` must be an integer >= 0. Received: {value!r:.100}")
    return int(value)


async def _on_http_error(request, error):
    message = error.detail
    if error.status_code == 404:
        message = f"there is nothing at {request.scope['path']:.200}"
    return as_json({"error": message}, error.status_code, {**(error.headers or {}), **_HEADERS})


async def _on_bug(request, error):
    del request
    return of_bug(error, "demo")
