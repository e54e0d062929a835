"""ClickHouse embedded in this process."""

import pathlib

from tfhash.errors import how_to_install
from tfhash.index.engines import clickhouse, clickhouse_sql
from tfhash.index.engines.clickhouse_client import as_server_error
from tfhash.index.engines.errors import EngineError


def open_store(url, table, bits, model, timeout):
    """Opens an index, or makes it; see `tfhash.index.connect`."""
    path = url.partition("://")[2]
    if not path or "?" in path:
        raise ValueError(f"`url` must be chdb://PATH, with no ? in it. Received: url={url!r}")
    path = pathlib.Path(path).absolute()
    if bits is None and not path.is_dir():
        raise FileNotFoundError(f"{path} does not exist. Give `bits` to make it")
    path.parent.mkdir(parents=True, exist_ok=True)
    where = f"the table {table} at chdb://{path}"
    return clickhouse.opened(ChdbClient(path, timeout), where, table, bits, model, None)


class ChdbClient:
    """A folder of tables, which one process can open at a time.

    Args:
        path: The folder.
        timeout: Seconds that a statement may take.
    """

    def __init__(self, path, timeout):
        session = _session()
        try:
            self._session = session.Session(str(path))
        except RuntimeError as error:
            raise EngineError(
                f"chDB cannot open {path}: {error}. Another process may have it open, or this one "
                "another folder; close that first"
            ) from None
        settings = {"max_execution_time": int(timeout) + 1, **clickhouse_sql.SETTINGS}
        for name, value in settings.items():
            self.set(name, value)

    def query(self, statement):
        """Runs a statement and returns its answer in bytes."""
        try:
            return self._session.query(statement, "RowBinary").bytes()
        # Its own errors are no common class.
        except Exception as error:
            raise as_server_error(str(error)) from None

    def set(self, name, value):
        """Changes a setting for all statements that follow."""
        self.query(f"SET {name} = {clickhouse_sql.quoted(str(value))}")

    def insert(self, statement, rows):
        """Runs an INSERT with rows in its format."""
        command, _, kind = statement.partition(" FORMAT ")
        try:
            with self._session.send_insert(command, kind) as stream:
                stream.append(rows)
                stream.finish()
        except Exception as error:
            raise as_server_error(str(error)) from None

    def close(self):
        """Closes the folder."""
        self._session.close()


def _session():
    try:
        from chdb import session
    except ImportError as error:
        raise ImportError(f"chdb:// needs chdb. {how_to_install('chdb')}") from error
    return session
