"""Folders and patterns are divided into a root and names below it."""

import pytest

pytest.importorskip("apache_beam", reason="needs the extra beam: pip install '.[beam]'")

from tfhash.beam import inputs


@pytest.fixture
def folder(tmp_path):
    """A folder whose name would be a pattern."""
    (tmp_path / "[20]*?" / "deep").mkdir(parents=True)
    for name in ("a.png", "deep/b.png"):
        (tmp_path / "[20]*?" / name).write_bytes(b"image")
    return tmp_path / "[20]*?"


@pytest.mark.parametrize("ending", ["", "/"])
def test_a_folder_may_have_wildcards_in_its_name(folder, ending):
    found = inputs.of_images(f"{folder}{ending}", 10)
    assert found.folder == str(folder)
    assert [name for name, *_ in found.shards[0]] == ["a.png", "deep/b.png"]


def test_a_pattern_is_one_where_there_is_no_such_folder(folder):
    found = inputs.of_images(f"{folder.parent}/**/b.*", 10)
    assert found.folder == str(folder.parent)
    assert [name for name, *_ in found.shards[0]] == ["[20]*?/deep/b.png"]


def test_a_folder_of_records_is_refused(folder):
    with pytest.raises(ValueError, match="must be a file or a pattern"):
        inputs.of_records(str(folder), None, None)
    with pytest.raises(FileNotFoundError, match="There are none"):
        inputs.of_records(f"{folder.parent}/none.tfrecord", None, None)
