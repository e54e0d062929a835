"""Directories of codes: what is read, what is refused, and loading into an index."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
from commands import error_of
from shard_cases import contents_of, together, write_directory

from tfhash.cli import main
from tfhash.experiments import ImageIndex
from tfhash.index import (
    DamagedFileError,
    HammingIndex,
    IndexFileError,
    OtherModelError,
    add_shards,
    connect,
    shard_files,
    shards,
)

pytest.importorskip("pyarrow", reason="needs the extra parquet: pip install 'tfhash[parquet]'")

LOADER = """
import os, signal, sys
from tfhash.index import add_shards, connect, shards

url, table, path = sys.argv[1:]
shards.PORTION = 1
index = connect(url, table, bits=16, model="m")
add, calls = index.add, []

def add_and_die(*arguments):
    add(*arguments)
    calls.append(1)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

index.add = add_and_die
add_shards(index, path)
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


@pytest.mark.parametrize("name", ["file", "postgresql"])
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


def test_a_loader_that_was_killed_is_started_again_and_loads_each_code_once(places, tmp_path):
    ids, codes, names = together(write_directory(tmp_path, [3, 3, 3, 3]))
    engine = places["postgresql"]
    table = engine.table(engine.make(16, "m"))
    command = [sys.executable, "-c", LOADER, engine.url, table, str(tmp_path)]
    killed = subprocess.run(command, check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    with connect(engine.url, table) as index:
        assert len(index) == 6
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
