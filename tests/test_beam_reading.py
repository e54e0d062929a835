"""What a worker reads, under which names, and what it does with files that it cannot read."""

import errno

import numpy as np
import pytest
import tensorflow as tf

pytest.importorskip("apache_beam", reason="needs the extra beam: pip install '.[beam]'")

from beam_file_system import SCHEME, Elsewhere

from tfhash.beam import inputs, storage
from tfhash.beam.reading import encode_shard


class StandIn:
    """An encoder whose codes are the names and contents of the files."""

    def decode(self, files):
        return [name for name, _ in files], np.array([contents for _, contents in files]), []

    def encode_images(self, names, images, batch_size):
        return list(zip(names, images.tolist()))


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Reads the files a and b, of which b raises an error."""
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode())
    real = storage.read

    def read(number):
        def failing(path):
            if path.endswith("b"):
                raise OSError(number, "so it is")
            return real(path)

        monkeypatch.setattr(storage, "read", failing)
        source = {"kind": "files", "root": str(tmp_path)}
        return encode_shard(StandIn(), source, [["a", 1, 0], ["b", 1, 0]], 10)

    return read


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENOTDIR, errno.EACCES])
def test_a_file_that_is_gone_or_not_permitted_is_bad(read, number):
    assert read(number) == ([("a", b"a")], [("b", "so it is")])


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE])
def test_a_file_that_may_be_read_another_time_fails_the_shard(read, number):
    with pytest.raises(OSError, match="b could not be read: so it is"):
        read(number)


@pytest.mark.parametrize("pattern", ["deep/a{}", "deep/*", "**/a{}"])
@pytest.mark.parametrize("packed", ["", "GZIP"])
@pytest.mark.parametrize("where", ["", "{}/bucket/", f"{SCHEME}bucket/"])
def test_items_of_records_are_named_by_file_and_number(
    tmp_path, monkeypatch, pattern, packed, where
):
    monkeypatch.setattr(Elsewhere, "root", str(tmp_path))
    (tmp_path / "bucket" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "bucket")
    ending = ".tfrecord.gz" if packed else ".tfrecord"
    with tf.io.TFRecordWriter(f"deep/a{ending}", packed) as file:
        for content in (b"x", b"y"):
            feature = {"image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[content]))}
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            file.write(example.SerializeToString())
    found = inputs.of_records(where.format(tmp_path) + pattern.format(ending), None, None)
    ((entry,),) = found.shards
    codes, bad = encode_shard(StandIn(), found.source, [entry], 10)
    folder = "deep/" if pattern.startswith("**") else ""
    names = [f"{folder}a{ending}/{number}" for number in range(2)]
    assert (codes, bad) == (list(zip(names, [b"x", b"y"])), [])
