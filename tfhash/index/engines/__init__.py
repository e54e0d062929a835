"""The index in an engine that people run already: ClickHouse, chDB or PostgreSQL.

    import tfhash.index

    index = tfhash.index.connect("postgresql://ada@127.0.0.1/photos", "codes", bits=64)
    index.add(codes, names=file_names)
    distances, ids = index.search(queries, k=10)

Needs neither TensorFlow nor Keras, and the engine's client only when it connects.
"""

from tfhash import codes as code_layout
from tfhash.index.engines import chdb, clickhouse, metadata, postgresql
from tfhash.index.engines.clickhouse_sql import shard_ddl
from tfhash.index.engines.engine_index import ApproximateItems, EngineIndex
from tfhash.index.engines.errors import EngineError, OtherWriterError

__all__ = [
    "ApproximateItems",
    "EngineError",
    "EngineIndex",
    "OtherWriterError",
    "connect",
    "shard_ddl",
]


def connect(url, table, bits=None, model=None, approximate=False, cluster=None, timeout=600):
    """Opens an index in the tables of an engine, or makes it.

    Args:
        url: `chdb://PATH` for ClickHouse embedded in this process, with its tables in a folder;
            `clickhouse://user:password@host:port/database` for ClickHouse's HTTP interface, with
            `?secure=true` for HTTPS; or `postgresql://user:password@host:port/database`.
        table: Name of the table of codes. The names of further tables begin with it and two
            underscores.
        bits: Number of bits of a code, >= 1. Makes the tables if there are none. By default, they
            must exist.
        model: What makes the codes, a string such as the fingerprint of a model; an index of
            another one is refused. By default, any will do.
        approximate: Whether `search` may miss items and goes through pgvector's HNSW graph, which
            is made if there is none. For PostgreSQL.
        cluster: Name of a cluster in ClickHouse's configuration whose servers share the codes;
            each needs the table that `shard_ddl` describes.
        timeout: Seconds that a statement may take, from 0.001 to 2,000,000.

    Returns:
        `EngineIndex`, with the calls of `HammingIndex`.

    Raises:
        ValueError: If an argument does not fit the engine or the index.
        FileNotFoundError: If there are no tables and no `bits`.
        IndexFileError: If the table is not an index, damaged (`DamagedFileError`), or of a newer
            version.
        OtherModelError: If its codes come from another model.
        EngineError: If the engine cannot be reached, or not all of it.
        ImportError: If the engine's client is not installed; the message names the extra.

    Example:

    >>> connect("sqlite://codes.db", "codes", bits=64)
    Traceback (most recent call last):
    ValueError: `url` must begin with one of chdb://, clickhouse://, postgresql://. Received: sqlite://...
    """
    scheme, separator, _ = str(url).partition("://")
    metadata.check_name("table", table)
    bits = None if bits is None else code_layout.check_bits(bits)
    if model is not None and not isinstance(model, str):
        raise ValueError(f"`model` must be a string. Received: model={model!r}")
    is_number = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
    # PostgreSQL takes milliseconds as an integer of 32 bits.
    if not is_number or not 0.001 <= timeout <= 2_000_000:
        raise ValueError(
            "`timeout` must be a number of seconds from 0.001 to 2,000,000. Received: "
            f"timeout={timeout!r}"
        )
    if approximate and scheme != "postgresql":
        raise ValueError(
            f"`approximate` is for postgresql://. Received: approximate=True for {scheme}://, "
            "whose searches are exact"
        )
    if cluster is not None and scheme != "clickhouse":
        raise ValueError(
            f"`cluster` is for clickhouse://. Received: cluster={cluster!r} for {scheme}://, which "
            "is one machine"
        )
    if separator and scheme == "chdb":
        store = chdb.open_store(url, table, bits, model, timeout)
    elif separator and scheme == "clickhouse":
        store = clickhouse.open_store(url, table, bits, model, cluster, timeout)
    elif separator and scheme == "postgresql":
        store = postgresql.open_store(url, table, bits, model, bool(approximate), timeout)
    else:
        raise ValueError(
            "`url` must begin with one of chdb://, clickhouse://, postgresql://. Received: "
            f"{scheme if separator else '...'}://..."
        )
    return EngineIndex(store)
