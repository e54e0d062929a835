"""What is not an index in an engine, and what cannot work, is refused with the reason."""

import math
import sys
import traceback

import numpy as np
import pytest
from engine_cases import ENGINES, run
from hamming_cases import run_python

from tfhash.index import DamagedFileError, EngineError, IndexFileError, connect
from tfhash.index.engines.clickhouse_sql import table_ddl


@pytest.fixture(params=ENGINES)
def engine(request, places):
    return places[request.param]


CODES = np.array([[0, 0], [255, 15], [1, 0]], "uint8")


def test_an_index_is_only_opened_as_what_it_is(engine):
    index = engine.make(12)
    assert engine.again(index).bits == engine.again(index, bits=12).bits == 12
    with pytest.raises(ValueError, match="holds codes of 12 bits. Give bits=12"):
        engine.again(index, bits=13)
    with pytest.raises(FileNotFoundError, match="does not exist. Give `bits` to make it"):
        connect(engine.url, "absent")


@pytest.mark.parametrize("bits", [None, 64])
def test_tables_of_others_are_refused_and_left_alone(engine, bits):
    table = f"others_{engine.cluster}_{bits}".lower()
    kind = "" if engine.url.startswith("postgresql") else "ENGINE = Log"
    run(engine, f"CREATE TABLE {table} (id {'Int64' if kind else 'bigint'}) {kind}")
    run(engine, f"INSERT INTO {table} VALUES (7)")
    with pytest.raises(IndexFileError, match="is not an index of tfhash"):
        connect(engine.url, table, bits)
    # It still takes what it took.
    run(engine, f"INSERT INTO {table} VALUES (8)")


def test_a_table_of_others_that_cannot_be_counted_is_left_alone(engine):
    if engine.url.startswith("postgresql"):
        pytest.skip("PostgreSQL needs no count")
    table = f"uncounted_{engine.cluster}".lower()
    run(engine, table_ddl(f"{table}_rows", 64))
    run(engine, f"CREATE VIEW {table} AS SELECT * FROM {table}_rows")
    run(engine, f"RENAME TABLE {table}_rows TO {table}_moved")
    with pytest.raises(EngineError) as caught:
        connect(engine.url, table, bits=64, cluster=engine.cluster)
    assert (f"{table}__shard" in str(caught.value)) == bool(engine.cluster)
    run(engine, f"RENAME TABLE {table}_moved TO {table}_rows")
    # It still answers.
    run(engine, f"SELECT count() FROM {table}")


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ('"version": 1', '"version": 2', IndexFileError, "version 2 of the format, and this"),
        ('"version": 1', '"version": 0', DamagedFileError, "metadata have been changed"),
        ('"bits": 12', '"bits": 0', DamagedFileError, "metadata have been changed"),
        ('"bits": 12', '"bits": 70', DamagedFileError, "columns have been changed"),
        ("tfhash.index", "other.index", IndexFileError, "is not an index of tfhash"),
        ("{", "[", IndexFileError, "is not an index of tfhash"),
    ],
)
def test_metadata_that_do_not_fit_are_refused(engine, old, new, error, message):
    index = engine.make(12)
    table, text = engine.table(index), index._store.state().as_json().replace(old, new)
    if engine.url.startswith("postgresql"):
        run(engine, f"UPDATE {table}__metadata SET state = '{text}'")
    else:
        run(engine, f"CREATE VIEW {table}__head_5 AS SELECT '{text}' AS state")
    with pytest.raises(error, match=message):
        engine.again(index)


def test_rows_that_are_missing_are_an_error(engine):
    index = engine.make(12)
    index.add(CODES)
    table, state = engine.table(index), index._store.state()
    text = state.as_json().replace('"count": 3', '"count": 4')
    if engine.url.startswith("postgresql"):
        run(engine, f"UPDATE {table}__metadata SET state = '{text}'")
    else:
        run(engine, f"CREATE VIEW {table}__head_9 AS SELECT '{text}' AS state")
    with pytest.raises(DamagedFileError, match="gave 9 rows where its metadata expect 12"):
        index.search(CODES, 5)
    with pytest.raises(DamagedFileError, match="gave 3 rows where its metadata expect 4"):
        index.items()


def test_passwords_are_never_shown(places, caplog):
    secret = "s3cr%2Ft"
    urls = [
        f"clickhouse://ada:{secret}@127.0.0.1:1/photos",
        f"postgresql://ada:{secret}@127.0.0.1:1/photos",
        f"postgresql://ada:{secret}@127.0.0.1:x/photos",
        f"clickhouse://ada:{secret}@127.0.0.1:x/photos",
        "postgresql://ada:s3cr%ss@127.0.0.1:1/photos",
        f"clickhouse://ada:{secret}%0A@127.0.0.1:1/photos",
    ]
    for url in urls:
        if url.startswith("postgresql"):
            pytest.importorskip("psycopg")
        with pytest.raises((OSError, ValueError)) as caught:
            connect(url, "codes", bits=8)
        assert "s3cr" not in "".join(traceback.format_exception(caught.value)) + caplog.text


def test_hosts_users_and_passwords_go_into_the_request_as_http_needs_them(monkeypatch):
    requests, sent = pytest.importorskip("requests"), []

    def send(self, request, **_):
        sent.append(request)
        raise requests.ConnectionError

    monkeypatch.setattr(requests.Session, "send", send)
    with pytest.raises(EngineError, match=r"no answer from clickhouse://.*@\[::1\]/photos"):
        connect("clickhouse://ад:пароль@[::1]/photos", "codes", bits=8)
    assert sent[0].url.startswith("http://[::1]:8123/?")
    assert sent[0].headers["X-ClickHouse-User"] == "ад".encode()
    assert sent[0].headers["X-ClickHouse-Key"] == "пароль".encode()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("chdb://x", "a b"), "`table` must be a name"),
        (("chdb://x", 'a"; DROP TABLE b'), "`table` must be a name"),
        (("chdb://x", "x" * 41), "`table` must be a name of at most 40"),
        (("chdb://", "t", 8), "must be chdb://PATH"),
        (("mysql://x", "t"), "must begin with one of"),
        (("x.index", "t"), "must begin with one of"),
        (("chdb://x", "t", 0), "`bits` must be an integer >= 1"),
        (("chdb://x", "t", 8, 3), "`model` must be a string"),
        (("chdb://x", "t", 8, None, True), "`approximate` is for postgresql"),
        (("postgresql://x", "t", 8, None, False, "c"), "`cluster` is for clickhouse"),
        (("clickhouse://x", "t", 8, None, False, "a'b"), "`cluster` must be a name of at most 40"),
        *(
            ((f"{scheme}://x", "t", 8, None, False, None, timeout), "`timeout` must be a number of")
            for scheme in ("chdb", "clickhouse", "postgresql")
            for timeout in (0, 0.0009, 2_000_001, math.inf, math.nan, True, "60")
        ),
    ],
)
def test_arguments_that_cannot_work_are_refused_before_connecting(arguments, message):
    with pytest.raises(ValueError, match=message):
        connect(*arguments)


@pytest.mark.parametrize(
    ("module", "url", "extra"),
    [
        ("requests", "clickhouse://127.0.0.1:1", "clickhouse"),
        ("chdb", "chdb:///tmp/x", "chdb"),
        ("psycopg", "postgresql://127.0.0.1:1", "postgresql"),
    ],
)
def test_a_missing_client_is_an_error_that_names_the_extra(monkeypatch, module, url, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"pip install '.\[{extra}\]'"):
        connect(url, "t", bits=8)


def test_engines_are_imported_only_when_used():
    code = (
        "import sys, tfhash.index\n"
        "names = ('tensorflow', 'keras', 'jax', 'psycopg', 'requests', 'chdb')\n"
        "print([name for name in names if name in sys.modules])"
    )
    assert run_python(code).stdout == "[]\n"
