"""What a worker does with files that it cannot read."""

import errno

import numpy as np
import pytest

pytest.importorskip("apache_beam", reason="needs the extra beam: pip install 'tfhash[beam]'")

from tfhash.beam import storage
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
