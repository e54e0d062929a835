"""Directories of codes: what is read, what is refused, and loading into an index."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
from commands import error_of
from engine_cases import ENGINES, SERVERS
from hamming_cases import run_python
from shard_cases import contents_of, together, write_directory

from tfhash.cli import main
from tfhash.experiments import ImageIndex
from tfhash.index import (
    DamagedFileError,
    EngineError,
    HammingIndex,
    IndexFileError,
    OtherModelError,
    add_shards,
    shard_files,
    shards,
)
from tfhash.index.engines import clickhouse, postgresql

pytest.importorskip("pyarrow", reason="needs the extra parquet: pip install '.[parquet]'")

# Loads a directory, four portions of three codes, and says what it added and what there is. It is
# killed by itself between two portions, or after a part of the third has been sent.
LOADER = """
import json, os, signal, sys
from tfhash.index import add_shards, connect, shards
from tfhash.index.engines import clickhouse, postgresql

url, table, path, point = sys.argv[1:]
shards.PORTION = clickhouse._ROWS = postgresql._ROWS = 1
index = connect(url, table, bits=16, model="m")

def dying(function, last):
    calls = []
    def counted(*arguments):
        calls.append(1)
        result = function(*arguments)
        if len(calls) == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return counted

if point == "between":
    index.add = dying(index.add, 2)
for module in (clickhouse, postgresql):
    if point == "within":
        module._rows = dying(module._rows, 8)
before = len(index)
added = add_shards(index, path)
codes, ids = index.items()
print(json.dumps([before, added, ids.tolist(), codes.tolist(), list(index.names_of(ids))]))
"""

KILLED_INDEX = """
import os, signal, sys
from tfhash.cli import main
from tfhash.index import shards

def killing(*arguments):
    if not later.pop():
        os.kill(os.getpid(), signal.SIGKILL)
    return function(*arguments)

module, name, later = {
    "read": (shards, "read_shard", [False, True]),
    "replace": (os, "replace", [False]),
}[sys.argv[1]]
function = getattr(module, name)
setattr(module, name, killing)
main(sys.argv[2:])
"""


@pytest.mark.parametrize("file_format", shard_files.FILE_FORMATS)
@pytest.mark.parametrize(("bits", "counts"), [(16, [3, 0, 5]), (1, [1]), (13, [0]), (200, [2, 2])])
def test_a_directory_is_read_as_it_was_written(tmp_path, file_format, bits, counts):
    written = write_directory(tmp_path, counts, bits, file_format)
    found = list(shards.blocks(tmp_path))
    assert len(found) == len(counts)
    for block, expected in zip(found, written):
        np.testing.assert_array_equal(block.ids, expected.ids)
        np.testing.assert_array_equal(block.codes, expected.codes)
        assert block.names == expected.names


def test_an_index_of_a_directory_has_its_ids_and_is_made_without_tensorflow(tmp_path, capsys):
    blocks = write_directory(tmp_path / "codes", [3, 5], folder="/photos")
    output = tmp_path / "photos.index"
    program = (
        "import sys\nfrom tfhash.cli import main\nstatus = main(sys.argv[1:])\n"
        "sys.exit(status or 'tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    command = ["index", f"--codes={tmp_path / 'codes'}", f"--output={output}"]
    subprocess.run([sys.executable, "-c", program, *command], check=True, capture_output=True)
    index = ImageIndex.load(output)
    ids, codes, names = together(blocks)
    assert contents_of(index.index) == dict(zip(ids.tolist(), zip(map(bytes, codes), names)))
    assert (index.origin.model, index.origin.folder) == ("m", "/photos")
    queries = ["search", f"--index={output}", f"--codes={tmp_path / 'codes'}", "-k=1"]
    assert main([*queries, "--format=csv"]) == 0
    assert names[-1] in capsys.readouterr().out


@pytest.mark.parametrize("point", ["read", "replace"])
def test_a_killed_index_of_a_directory_leaves_no_file_and_is_made_by_the_same_command(
    tmp_path, point
):
    """Killed while it reads the second shard, and before the file that it wrote gets its name."""
    blocks = write_directory(tmp_path / "codes", [3, 0, 4])
    folder = tmp_path / "made"
    command = ["index", f"--codes={tmp_path / 'codes'}", f"--output={folder / 'photos.index'}"]
    killed = run_python(KILLED_INDEX, point, *command)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not list(folder.glob("[!.]*"))
    assert main(command) == 0
    ids, codes, names = together(blocks)
    index = ImageIndex.load(folder / "photos.index").index
    assert contents_of(index) == dict(zip(ids.tolist(), zip(map(bytes, codes), names)))
    assert [path.name for path in folder.iterdir()] == ["photos.index"]


@pytest.mark.parametrize("name", ["file", *ENGINES])
def test_shards_are_added_once_however_often_they_are_loaded(places, tmp_path, name, monkeypatch):
    ids, codes, names = together(write_directory(tmp_path, [3, 0, 4]))
    monkeypatch.setattr(shards, "PORTION", 4)
    index = places[name].make(16, "m")
    assert add_shards(index, tmp_path) == 7
    assert add_shards(index, tmp_path) == 0
    index.remove(ids[:2])
    assert add_shards(index, tmp_path) == 2
    assert contents_of(index) == dict(zip(ids.tolist(), zip(map(bytes, codes), names)))


def test_codes_of_names_that_an_index_has_are_kept(tmp_path):
    (block,) = write_directory(tmp_path, [3])
    index = HammingIndex(bits=16, model="m")
    index.add(255 - block.codes[:1], block.ids[:1], block.names[:1])
    assert add_shards(index, tmp_path) == 2
    assert contents_of(index)[block.ids[0]] == (bytes(255 - block.codes[0]), block.names[0])
    index.remove(block.ids[:1])
    assert add_shards(index, tmp_path) == 1
    assert contents_of(index)[block.ids[0]] == (bytes(block.codes[0]), block.names[0])


@pytest.mark.parametrize("point", ["between", "within"])
@pytest.mark.parametrize("name", ENGINES)
def test_a_loader_that_was_killed_is_started_again_and_loads_each_code_once(
    places, tmp_path, name, point
):
    ids, codes, names = together(write_directory(tmp_path / "codes", [3, 3, 3, 3]))
    if name == "chdb":
        # Its folder belongs to one process at a time, so not to this one.
        pytest.importorskip("chdb", reason="needs the extra chdb: pip install '.[chdb]'")
        url, table = f"chdb://{tmp_path / 'chdb'}", "t"
    else:
        url, table = places[name].url, places[name].table(places[name].make(16, "m"))
    killed = run_python(LOADER, url, table, str(tmp_path / "codes"), point)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    again = run_python(LOADER, url, table, str(tmp_path / "codes"), "")
    assert again.returncode == 0, again.stderr
    before, added, *found = json.loads(again.stdout)
    assert (before, added) == (6, 6)
    order = np.argsort(ids)
    assert sorted(zip(*found)) == [(ids[i], codes[i].tolist(), names[i]) for i in order]


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_that_was_killed_while_codes_are_loaded_has_each_once(
    places, tmp_path, monkeypatch, name
):
    ids, codes, names = together(write_directory(tmp_path, [3, 3, 3]))
    place = places[name]
    index = place.make(16, "m")
    monkeypatch.setattr(shards, "PORTION", 1)
    for module in (clickhouse, postgresql):
        calls = []

        def killing(*arguments, rows=module._rows, calls=calls):
            calls.append(1)
            if len(calls) == 2:
                for server in place.servers:
                    server.kill()
            return rows(*arguments)

        monkeypatch.setattr(module, "_rows", killing)
    with pytest.raises(EngineError):
        add_shards(index, tmp_path)
    for server in place.servers:
        server.start()
    assert len(index) == 3
    assert add_shards(index, tmp_path) == 6
    assert contents_of(index) == dict(zip(ids.tolist(), zip(map(bytes, codes), names)))


def test_what_does_not_fit_an_index_is_refused_and_changes_nothing(tmp_path):
    blocks = write_directory(tmp_path, [3])
    with pytest.raises(ValueError, match="have 16 bits"):
        add_shards(HammingIndex(bits=8), tmp_path)
    with pytest.raises(OtherModelError, match="come from the model 'm'"):
        add_shards(HammingIndex(bits=16, model="other"), tmp_path)
    with pytest.raises(ValueError, match="Make an index with model='m'"):
        add_shards(HammingIndex(bits=16), tmp_path)
    index = HammingIndex(bits=16, model="m")
    index.add(blocks[0].codes[1:2], blocks[0].ids[1:2], ["another name"])
    with pytest.raises(ValueError, match="has an item of id"):
        add_shards(index, tmp_path)
    assert len(index) == 1


def test_a_directory_that_is_not_whole_is_refused(tmp_path, capsys):
    write_directory(tmp_path, [3, 4])
    shard = tmp_path / shards.shard_name(1, 2, "parquet")
    contents = shard.read_bytes()
    shard.write_bytes(contents[: len(contents) // 2])
    with pytest.raises(DamagedFileError, match="missing or damaged"):
        list(shards.blocks(tmp_path))
    shard.unlink()
    command = ["index", f"--codes={tmp_path}", f"--output={tmp_path / 'x.index'}"]
    assert "is missing or damaged" in error_of(capsys, *command)
    shard.write_bytes((tmp_path / shards.shard_name(0, 2, "parquet")).read_bytes())
    with pytest.raises(DamagedFileError, match="6 codes in place of 7"):
        list(shards.blocks(tmp_path))
    write_directory(tmp_path, [3, 4], complete=False)
    with pytest.raises(ValueError, match="is not complete"):
        list(shards.blocks(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"There is no .*manifest\.json"):
        list(shards.blocks(tmp_path / "nowhere"))


def test_codes_of_another_length_than_the_manifest_says_are_damage(tmp_path):
    write_directory(tmp_path, [3], bits=16)
    manifest = json.loads((tmp_path / shards.MANIFEST).read_text())
    for bits in (24, 15):
        (tmp_path / shards.MANIFEST).write_text(json.dumps({**manifest, "bits": bits}))
        with pytest.raises(DamagedFileError):
            list(shards.blocks(tmp_path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "reads up to 1"),
        ({"format": "other"}, "not the manifest"),
        ({"bits": "16"}, "not the manifest"),
        ({"more": 1}, "not the manifest"),
    ],
)
def test_a_manifest_of_something_else_is_refused(tmp_path, change, message):
    write_directory(tmp_path, [1])
    manifest = json.loads((tmp_path / shards.MANIFEST).read_text())
    (tmp_path / shards.MANIFEST).write_text(json.dumps({**manifest, **change}))
    with pytest.raises(IndexFileError, match=message):
        shards.read_manifest(tmp_path)


@pytest.mark.parametrize("most", [1, 3, 100])
def test_ids_that_come_twice_are_found_in_any_number_of_passes(most):
    columns = [np.array([5, 2**62, 0]), np.array([], np.int64), np.array([7, 9])]
    shards.check_distinct(lambda: iter(columns), most)
    with pytest.raises(ValueError, match="1 ids come more than once, the first is 5"):
        shards.check_distinct(lambda: iter([*columns, np.array([5])]), most)


def test_ids_depend_on_the_bytes_of_a_name_alone():
    # The first 63 bits of SHA-256 of "a", ca978112ca1bbdca...
    assert shards.id_of("a") == 0xCA978112CA1BBDCA >> 1
    assert shards.id_of("\udce9") != shards.id_of("é")
