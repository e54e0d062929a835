"""Which shards of a directory are made again, and which files are removed."""

import dataclasses

import pytest

pytest.importorskip("apache_beam", reason="needs the extra beam: pip install '.[beam]'")

from tfhash.beam import storage
from tfhash.beam.directory import Directory
from tfhash.beam.elements import as_block, code_of
from tfhash.index import shards

PARTS = [[["a.png", 10, 1], ["b.png", 10, 1]], [["c.png", 10, 1]]]
MANIFEST = shards.Manifest(8, "model", "m.keras", "", {"kind": "files"}, "digest", "parquet", 2)


def make(directory, pending, bad=()):
    for number in pending:
        entries, digest = directory.entries(number)
        codes = [code_of(name, b"\0") for name, *_ in entries if name not in dict(bad)]
        here = [(name, reason) for name, reason in bad if name in [entry[0] for entry in entries]]
        directory.write_shard(number, as_block(codes, 8), here, digest)


@pytest.fixture
def directory(tmp_path):
    """A complete directory of three codes."""
    directory = Directory(str(tmp_path), MANIFEST)
    make(directory, directory.begin(PARTS))
    items, bad = directory.collect()
    assert (items, bad) == (3, [])
    directory.complete(items, len(bad))
    return directory


def test_a_complete_directory_has_nothing_to_make(directory):
    assert directory.begin(PARTS) == []
    assert shards.read_manifest(directory.path).complete


@pytest.mark.parametrize("removed", [0, 1, 3, 5])
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_overwrite_that_was_killed_keeps_no_codes_of_the_old_model(
    directory, monkeypatch, removed, overwrite
):
    other = Directory(directory.path, dataclasses.replace(MANIFEST, model="other"))
    remove = storage.remove

    def killed(paths):
        for path in paths:
            if not path.endswith(shards.MANIFEST):
                killed.left -= 1
                if killed.left < 0:
                    raise KeyboardInterrupt
            remove([path])

    killed.left = removed
    monkeypatch.setattr(storage, "remove", killed)
    with pytest.raises(KeyboardInterrupt):
        other.begin(PARTS, True)
    monkeypatch.undo()
    assert other.begin(PARTS, overwrite) == [0, 1]
    assert other.begin(PARTS) == [0, 1]


@pytest.mark.parametrize(
    "change",
    [{"model": "other"}, {"source": {"kind": "files", "root": "elsewhere"}}, {"bits": 7}],
)
def test_a_shard_of_something_else_does_not_count(directory, change):
    other = Directory(directory.path, dataclasses.replace(MANIFEST, **change))
    storage.write(storage.join(directory.path, shards.MANIFEST), other.manifest.to_json())
    assert other.begin(PARTS) == [0, 1]


def test_files_of_others_are_left_alone(directory, tmp_path):
    others = ["codes-old.parquet", "codes-1-of-2.parquet", "codes-00000-of-00002.csv", "a.report"]
    for name in others:
        (tmp_path / name).write_text("mine")
    (tmp_path / "codes-00004-of-00005.tfrecord").write_text("of another number of shards")
    assert directory.begin(PARTS, True) == [0, 1]
    expected = [*others, shards.MANIFEST]
    expected += [shards.shard_name(number, 2, "inputs") for number in range(2)]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(expected)
    assert all((tmp_path / name).read_text() == "mine" for name in others)


def test_files_are_removed_by_name_and_not_by_pattern(tmp_path):
    folder = tmp_path / "20[12]*?"
    folder.mkdir()
    (tmp_path / "201a").mkdir()
    for path in (folder / "a", tmp_path / "201a" / "a"):
        path.write_text("")
    storage.remove([str(folder / "a"), str(folder / "gone")])
    storage.remove([])
    assert not (folder / "a").exists()
    assert (tmp_path / "201a" / "a").exists()


def test_shards_with_bad_inputs_are_made_again_where_they_are_not_left_out(directory):
    make(directory, [1], bad=[("c.png", "permission denied")])
    assert directory.begin(PARTS) == []
    assert directory.collect() == (2, [("c.png", "permission denied")])
    assert directory.begin(PARTS, retry_bad=True) == [1]
    assert not shards.read_manifest(directory.path).complete
    # A run that starts again with what is left, or was killed.
    assert directory.begin(PARTS) == [1]
    make(directory, [1], bad=[("c.png", "still bad")])
    # The loop of a run ends.
    assert directory.begin(PARTS) == []
    assert directory.collect() == (2, [("c.png", "still bad")])
