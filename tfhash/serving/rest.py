"""Requests to the REST interface of TensorFlow Serving, which `tfhash serve` has too."""

import base64
import json
import urllib.parse

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import (
    ConnectTimeoutError,
    MaxRetryError,
    NewConnectionError,
    ReadTimeoutError,
)
from urllib3.util import Retry

from tfhash.serving import errors

# Seconds: the wait before the second retry, which doubles from one to the next; what chance adds to
# each; and the longest wait, even where a server asks for more.
_WAIT, _JITTER, _LONGEST_WAIT = 0.1, 0.1, 10.0

_BUSY = (429, 503)


class RestTransport:
    """A model of a server; see `tfhash.serving.Client` for the arguments."""

    def __init__(self, url, model_name, version, timeout, retries):
        self.url = url.rstrip("/")
        self._timeout = timeout
        name = urllib.parse.quote(model_name, safe="")
        self._path = f"{self.url}/v1/models/{name}"
        if version is not None:
            self._path += f"/versions/{version}"
        self._model = f"{model_name!r}" + ("" if version is None else f", version {version},")
        self._session = _session(url, _Retries.times(retries))
        # For `wait_until_ready`, which retries by itself.
        self._impatient = _session(url, 0)

    def predict(self, signature, inputs):
        """Outputs of a signature, a dictionary from a name to nested lists."""
        body = {
            "signature_name": signature,
            "inputs": {name: _as_json(value) for name, value in inputs.items()},
        }
        answer = self._ask(
            self._session.post,
            f"{self._path}:predict",
            self._timeout,
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        outputs = answer.get("outputs")
        if not isinstance(outputs, dict):
            raise errors.unreadable(self.url, "it has no `outputs` by name")
        return outputs

    def states(self, timeout):
        """The state of each version, a list of strings."""
        answer = self._ask(self._impatient.get, self._path, timeout)
        try:
            return [str(version["state"]) for version in answer["model_version_status"]]
        except (KeyError, TypeError):
            raise errors.unreadable(self.url, "it has no `model_version_status`") from None

    def metadata(self):
        """See `tfhash.serving.Client.metadata`."""
        answer = self._ask(self._session.get, f"{self._path}/metadata", self._timeout)
        try:
            signatures = answer["metadata"]["signature_def"]["signature_def"]
            return {
                "version": int(answer["model_spec"]["version"]),
                "signatures": {
                    name: {
                        side: {key: _dtype_and_shape(info) for key, info in found[side].items()}
                        for side in ("inputs", "outputs")
                    }
                    for name, found in signatures.items()
                    # TensorFlow's own, which initializes a model and takes nothing.
                    if not name.startswith("__")
                },
            }
        except (KeyError, TypeError, ValueError, AttributeError):
            raise errors.unreadable(self.url, "it has no `signature_def`") from None

    def close(self):
        self._session.close()
        self._impatient.close()

    def _ask(self, method, address, timeout, **options):
        try:
            response = method(address, timeout=timeout, allow_redirects=False, **options)
        except requests.Timeout:
            raise errors.too_slow(self.url, timeout) from None
        except requests.RequestException as error:
            raise errors.no_answer(self.url, _reason(error)) from error
        # Names of files may be no valid UTF-8. They come back as `os.fsdecode` would give them.
        text = response.content.decode("utf-8", "surrogateescape")
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):
            answer = None
        if response.status_code != 200:
            said = answer.get("error") if isinstance(answer, dict) else None
            said = said if isinstance(said, str) else text[:500]
            raise errors.refusal(self.url, response.status_code, said, self._model)
        if not isinstance(answer, dict):
            raise errors.unreadable(self.url, f"no JSON object, but {text[:60]!r}")
        return answer


class _Retries(Retry):
    """Retries where a connection failed or the server is busy, and only there."""

    RETRY_AFTER_STATUS_CODES = frozenset(_BUSY)

    @classmethod
    def times(cls, retries):
        return cls(
            total=retries,
            allowed_methods=None,  # also POST: to encode and to search changes nothing
            status_forcelist=_BUSY,
            backoff_factor=_WAIT,
            backoff_jitter=_JITTER,
            backoff_max=_LONGEST_WAIT,
            raise_on_status=False,  # what the server said is in its last answer
        )

    def increment(
        self, method=None, url=None, response=None, error=None, _pool=None, _stacktrace=None
    ):
        if isinstance(error, ReadTimeoutError):
            raise error
        # A connection that is refused is a `NewConnectionError`, which urllib3 derives from this one.
        if isinstance(error, ConnectTimeoutError) and not isinstance(error, NewConnectionError):
            # Bare, it would pass through requests as an error of urllib3.
            raise MaxRetryError(_pool, url, error)
        return super().increment(method, url, response, error, _pool, _stacktrace)

    def parse_retry_after(self, retry_after):
        return min(super().parse_retry_after(retry_after), _LONGEST_WAIT)


def _session(url, retries):
    session = requests.Session()
    for prefix in ("http://", "https://"):
        session.mount(prefix, HTTPAdapter(max_retries=retries))
    # A proxy knows nothing of this machine.
    host = urllib.parse.urlsplit(url).hostname
    session.trust_env = host not in ("localhost", "127.0.0.1", "::1")
    return session


def _as_json(value):
    if isinstance(value, list):
        return [{"b64": base64.b64encode(contents).decode()} for contents in value]
    return value.tolist()


def _dtype_and_shape(info):
    dtype = info["dtype"].removeprefix("DT_").lower()
    shape = info["tensor_shape"]
    if shape.get("unknown_rank"):
        return dtype, None
    sides = [int(dim["size"]) for dim in shape.get("dim", [])]
    return dtype, tuple(None if side < 0 else side for side in sides)


def _reason(error):
    """What is behind an error of requests, which wraps that of urllib3, which wraps that of Python."""
    inner = getattr(error.args[0], "reason", error.args[0]) if error.args else error
    text = str(inner)
    # urllib3 puts the representation of its object first.
    return text.split(": ", 1)[-1] if text.startswith(("<", "HTTP")) else text
