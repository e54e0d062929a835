"""Answers as JSON, and that of a fault of ours."""

import json
import sys

from starlette.responses import Response

from tfhash import errors


def as_json(value, status=200, headers=None):
    """A response of Starlette."""
    body = json.dumps(value).encode("ascii")
    return Response(body, status, headers, media_type="application/json")


def of_bug(error, command):
    """A fault of ours: its kind goes to the client, the rest to whoever runs the command."""
    print(
        f"tfhash {command}: error: {type(error).__name__}: {errors.in_words(error)}",
        file=sys.stderr,
    )
    return as_json({"error": f"the server failed ({type(error).__name__})"}, 500)
