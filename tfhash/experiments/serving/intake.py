"""Bodies of requests, of bounded size, number and time."""

import asyncio
import contextlib

from tfhash.experiments.serving.request_error import RequestError

# Seconds that a client may take to send a request.
LONGEST_SENDING = 60

# What a client that comes too early is told.
_LATER = {"Retry-After": "1"}


class Intake:
    """Takes in requests, up to some at a time.

    Args:
        most_bytes: Bytes of one request.
        most_bytes_at_once: Bytes of all requests that are being answered.
        most_requests: Number of requests that are being answered.
        remedy: What a client does whose request is too large, a sentence.
    """

    def __init__(self, most_bytes, most_bytes_at_once, most_requests, remedy):
        self._most_bytes, self._most_bytes_at_once = most_bytes, most_bytes_at_once
        self._most_requests, self._remedy = most_requests, remedy
        self._bytes = self._requests = 0

    @contextlib.asynccontextmanager
    async def admitted(self):
        """Lets a request in unless there are too many; yields a function that takes its bytes.

        Raises:
            RequestError: If there are too many, or too many bytes.
        """
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

    async def body(self, request, admit):
        """The body of a request of Starlette.

        Args:
            request: The request.
            admit: What `admitted` yielded.

        Raises:
            RequestError: If it is too large, or takes too long to arrive.
        """
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self._most_bytes:
            self._refuse(int(announced))
        try:
            return await asyncio.wait_for(self._receive(request, admit), LONGEST_SENDING)
        except asyncio.TimeoutError:
            raise RequestError(
                f"a request must arrive within {LONGEST_SENDING} seconds. {self._remedy}", 408
            ) from None

    async def _receive(self, request, admit):
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > self._most_bytes:
                self._refuse(size)
            admit(len(part))
            parts.append(part)
        return b"".join(parts)

    def _refuse(self, size):
        raise RequestError(
            f"a request has at most {self._most_bytes:,} bytes. Received: {size:,} or more. "
            f"{self._remedy}",
            413,
        )
