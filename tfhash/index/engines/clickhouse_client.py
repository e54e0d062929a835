"""ClickHouse's HTTP interface.

clickhouse-connect reads settings that servers before version 20 do not have. The statements of an
index need no more than this.
"""

import re

from tfhash.errors import how_to_install
from tfhash.index.engines import clickhouse_sql
from tfhash.index.engines.errors import EngineError, ServerError

# A shard that is down is an error (279), never a partial answer. Rows are in their shards, and an
# answer is complete, before it begins.
_SETTINGS = {
    **clickhouse_sql.SETTINGS,
    "skip_unavailable_shards": 0,
    "insert_distributed_sync": 1,
    "wait_end_of_query": 1,
}


def as_server_error(text):
    """The error of an answer that begins with "Code: 57, ..." """
    code = re.search(r"Code: (\d+)", text)
    return ServerError(text.strip().partition("\n")[0], int(code[1]) if code else 0)


class HttpClient:
    """A server of ClickHouse.

    Args:
        address: `Address`.
        timeout: Seconds that a statement may take.
    """

    def __init__(self, address, timeout):
        self._requests = _requests()
        self._address, self._timeout = address, timeout
        is_secure = address.options.get("secure", "").lower() in ("1", "true")
        port = address.port or (8443 if is_secure else 8123)
        host = f"[{address.host}]" if ":" in address.host else address.host
        self._url = f"{'https' if is_secure else 'http'}://{host}:{port}/"
        self._session = self._requests.Session()
        # No proxy, and no password but the one in the URL.
        self._session.trust_env = False
        # As text, they would have to be Latin-1.
        self._session.headers["X-ClickHouse-User"] = (address.user or "default").encode()
        self._session.headers["X-ClickHouse-Key"] = address.password.encode()
        self._settings = {
            "database": address.database or "default",
            "max_execution_time": int(timeout) + 1,
            **_SETTINGS,
        }

    def query(self, statement):
        """Runs a statement and returns its answer in bytes."""
        return self._post({}, statement.encode())

    def set(self, name, value):
        """Changes a setting for all statements that follow."""
        self._settings[name] = value

    def insert(self, statement, rows):
        """Runs an INSERT with rows in its format."""
        self._post({"query": statement}, rows)

    def close(self):
        """Closes the connections."""
        self._session.close()

    def _post(self, parameters, body):
        try:
            answer = self._session.post(
                self._url,
                params=self._settings | parameters,
                data=body,
                timeout=(10, self._timeout + 10),
            )
        except self._requests.exceptions.InvalidHeader:
            # The message shows the header.
            raise EngineError(
                f"user or password of {self._address.shown} cannot be sent: expected no line break "
                "in it and no white space at its beginning. Give another user"
            ) from None
        except self._requests.RequestException as error:
            reason = self._address.without_password(str(error))
            raise EngineError(f"no answer from {self._address.shown}: {reason}") from None
        if answer.status_code != 200:
            text = self._address.without_password(answer.text)
            raise as_server_error(text or f"HTTP status {answer.status_code}")
        return answer.content


def _requests():
    try:
        import requests
    except ImportError as error:
        raise ImportError(
            f"clickhouse:// needs requests. {how_to_install('clickhouse')}"
        ) from error
    return requests
