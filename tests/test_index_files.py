"""Indexes come back from files as they were, and damaged files are refused."""

import json
import os
import struct

import numpy as np
import pytest
from index_cases import check_search, check_within, make_codes, parts_of, sealed

import tfhash_ops
import tfhash_ops.index as core
from tfhash.index import DamagedFileError, HammingIndex, IndexFileError, OtherModelError, storage
from tfhash.index.reference import NumpyIndex


def make_index(rng, count=20_000, bits=32, layout="clustered", **options):
    index = HammingIndex(bits, **options)
    codes = make_codes(rng, count, bits, layout)
    ids = index.add(codes, ids=rng.permutation(2 * count)[:count])
    return index, codes, ids


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("count", [0, 1, 3_000, 30_000])
@pytest.mark.parametrize("bits", [13, 64, 130])
def test_an_index_comes_back_as_it_was(rng, tmp_path, bits, count, compact, mmap):
    index, codes, ids = make_index(rng, count, bits, compact=compact, model="m")
    index.add(codes[:5], names=["a", "b", "", "é", "\udcff"][: len(codes[:5])])
    index.remove(ids[5:9])
    codes, ids = index.items()
    path = tmp_path / "index"
    index.save(path)
    loaded = HammingIndex.load(path, mmap=mmap)
    for name in ("bits", "compact", "model", "names"):
        assert getattr(loaded, name) == getattr(index, name)
    np.testing.assert_array_equal(loaded.codes, codes)
    np.testing.assert_array_equal(loaded.ids, ids)
    loaded.verify()
    queries = make_codes(rng, 3, bits)
    check_search(loaded, queries, codes, ids, 10)
    check_within(loaded, queries, codes, ids, 2)
    # Ids go on, and what was loaded can be changed and saved over itself.
    assert loaded.add(queries).tolist() == index.add(queries).tolist()
    loaded.remove(ids[:7])
    loaded.save(path)
    again = HammingIndex.load(path)
    np.testing.assert_array_equal(again.ids, loaded.ids)
    np.testing.assert_array_equal(again.codes, loaded.codes)
    check_search(loaded, queries, *loaded.items(), 3)


def test_ids_go_on_after_an_index_became_empty(rng, tmp_path):
    index, codes, ids = make_index(rng, 10)
    index.remove(ids)
    index.save(tmp_path / "index")
    assert HammingIndex.load(tmp_path / "index").add(codes[:1]) == ids.max() + 1


def test_an_index_can_be_read_without_the_compiled_library(rng, tmp_path, monkeypatch):
    index, codes, ids = make_index(rng)
    index.save(tmp_path / "index")
    monkeypatch.setattr(tfhash_ops, "is_compiled", lambda: False)
    loaded = HammingIndex.load(tmp_path / "index")
    assert isinstance(loaded._core, NumpyIndex)
    check_search(loaded, codes[:2], codes, ids, 5)


def test_the_package_safetensors_reads_an_index(rng, tmp_path):
    safetensors = pytest.importorskip("safetensors", reason="safetensors is not installed")
    index, codes, ids = make_index(rng, model="m")
    index.save(tmp_path / "index")
    with safetensors.safe_open(tmp_path / "index", "numpy") as file:
        metadata = file.metadata()
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert (metadata["format"], metadata["bits"], metadata["model"]) == ("tfhash.index", "32", "m")
    np.testing.assert_array_equal(arrays["ids"], np.sort(ids))
    np.testing.assert_array_equal(np.unique(arrays["codes"], axis=0), np.unique(codes, axis=0))


def test_codes_of_another_model_are_refused_unless_asked_for(rng, tmp_path):
    make_index(rng, 10, model="cats")[0].save(tmp_path / "index")
    with pytest.raises(OtherModelError, match="come from the model 'cats'. Expected: 'dogs'"):
        HammingIndex.load(tmp_path / "index", model="dogs")
    assert len(HammingIndex.load(tmp_path / "index", model="cats")) == 10
    assert len(HammingIndex.load(tmp_path / "index")) == 10


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("count", [0, 3_000])
def test_arrays_of_the_users_own_come_back_whatever_they_are_called(rng, tmp_path, count, mmap):
    index, *_ = make_index(rng, count)
    attached = {
        "codes": np.arange(3, dtype=np.int64),
        "ids": np.zeros((0, 2), np.uint64),
        "a \udcff:\n": np.frombuffer(b"any text", np.uint8),
    }
    index.attached = dict(attached)
    index.save(tmp_path / "index")
    loaded = HammingIndex.load(tmp_path / "index", mmap=mmap)
    assert sorted(loaded.attached) == sorted(attached)
    for name, array in attached.items():
        np.testing.assert_array_equal(loaded.attached[name], array)
        assert loaded.attached[name].dtype == array.dtype
    np.testing.assert_array_equal(loaded.codes, index.codes)
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "index").read_bytes()
    content = (tmp_path / "index").read_bytes().replace(b"any text", b"new text")
    (tmp_path / "index").write_bytes(content)
    with pytest.raises(DamagedFileError, match="the checksum of attached:a"):
        HammingIndex.load(tmp_path / "index")


def test_arrays_that_a_file_cannot_hold_are_refused(rng, tmp_path):
    index, *_ = make_index(rng, 10)
    index.attached = {"sizes": np.zeros(3, "float32")}
    with pytest.raises(ValueError, match="must be uint8, uint32, int64, uint64. Received: float32"):
        index.save(tmp_path / "index")


def test_a_failed_save_leaves_the_old_file(rng, tmp_path, monkeypatch):
    index, codes, _ = make_index(rng, 100)
    index.save(tmp_path / "index")
    before = (tmp_path / "index").read_bytes()
    index.add(codes)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left on device"):
        index.save(tmp_path / "index")
    assert (tmp_path / "index").read_bytes() == before
    assert os.listdir(tmp_path) == ["index"]


def test_files_that_are_no_index_are_refused_by_what_they_are(rng, tmp_path):
    index, *_ = make_index(rng, 3_000)
    index.save(tmp_path / "index")
    content = (tmp_path / "index").read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = content[8 : 8 + length]
    other = b'{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
    cases = [
        (b"", "is cut off: it has 0 bytes"),
        (content[:5], "is cut off: it has 5 bytes"),
        (content[: 8 + length // 2], "is cut off: its header has"),
        (content[:-1], "is cut off: it has"),
        (content[: 8 + length], "is cut off: it has"),
        (content + b"x", "is not an index of tfhash, or damaged: it has"),
        (b"\x89PNG\r\n\x1a\n" + content, "does not begin with the length of a header"),
        (struct.pack("<Q", 64) + b"\x00" * 64, "its header is not JSON"),
        (struct.pack("<Q", 2) + b"[]", "its header is not an object of JSON"),
        (struct.pack("<Q", 9000) + b"[" * 9000, "its header is not JSON"),
        (struct.pack("<Q", len(other)) + other + b"x", "but another file of tensors"),
        (content.replace(b'"version":"1"', b'"version":"2"'), "version 2 of the format, and this"),
        (content.replace(b'"bits":"32"', b'"bits":"31"'), "its header has been changed"),
        (content[:-1] + bytes([content[-1] ^ 1]), "the checksum of .* does not match"),
    ]
    assert header in content
    for changed, message in cases:
        (tmp_path / "changed").write_bytes(changed)
        with pytest.raises(IndexFileError, match=message):
            HammingIndex.load(tmp_path / "changed")
    with pytest.raises(FileNotFoundError):
        HammingIndex.load(tmp_path / "missing")


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("shape", [[0] * 100, [1] * 33, [0, 2**59, 2**59], [0, 2**30, 2**31], [[]]])
def test_shapes_that_numpy_would_refuse_are_refused(tmp_path, shape, mmap):
    header = {
        "__metadata__": {},
        "x": {"dtype": "U8", "shape": shape, "data_offsets": [0, int(0 not in shape)]},
    }
    (tmp_path / "index").write_bytes(sealed(header, b"\0" * (0 not in shape)))
    with pytest.raises(IndexFileError, match="its header does not describe x"):
        HammingIndex.load(tmp_path / "index", mmap=mmap)


@pytest.mark.parametrize("count", [0, 1, 9_000])
@pytest.mark.parametrize("next_id", [0, -2, -1, 8_999, 9_000, 2**63 - 1, 2**63])
def test_a_next_id_that_would_repeat_ids_is_damage(rng, tmp_path, count, next_id):
    index = HammingIndex(64)
    index.add(make_codes(rng, count, 64))
    index.save(tmp_path / "index")
    header, arrays = parts_of((tmp_path / "index").read_bytes())
    header["__metadata__"]["next_id"] = str(next_id)
    (tmp_path / "index").write_bytes(sealed(header, arrays))
    # -1: the largest id of 64 bits was used.
    if next_id == -1 or count <= next_id < 2**63:
        loaded = HammingIndex.load(tmp_path / "index")
        loaded.verify()
        loaded.save(tmp_path / "index")
        assert len(HammingIndex.load(tmp_path / "index")) == count
    else:
        with pytest.raises(DamagedFileError, match="next id|out of range"):
            HammingIndex.load(tmp_path / "index")


@pytest.mark.parametrize("is_compiled", [True, False])
def test_verify_finds_a_next_id_that_would_repeat_ids(rng, is_compiled):
    index = HammingIndex(64)
    if not is_compiled:
        index._core = NumpyIndex(64, False)
    elif not tfhash_ops.is_compiled():
        pytest.skip("tfhash was installed with TFHASH_BUILD_OPS=0")
    arrays = {"ids": np.arange(5), "codes": make_codes(rng, 5, 64)}
    index._core.open(arrays, 0, 0, 4)
    with pytest.raises(DamagedFileError, match="the next id is not after the largest one"):
        index.verify()


@pytest.mark.parametrize(
    ("model", "attached", "message"),
    [
        ("x" * 2**20, {}, r"at most 1,048,576 bytes. Received: 1,\d+,\d+ bytes for 1,048,576 char"),
        ("", {f"array {i}": np.zeros(1, "uint8") for i in range(12_000)}, "12,000 arrays"),
        ("", {"x": np.zeros((0, 2**61), "uint8")}, "dimensions, each smaller than"),
        ("", {"x": np.zeros([1] * 32 + [0] * (int(np.__version__[0]) > 1), "uint8")}, "at most 32"),
    ],
)
def test_what_load_would_refuse_is_not_saved(rng, tmp_path, model, attached, message):
    if "x" in attached and attached["x"].ndim == 32:
        pytest.skip("this NumPy has no more than 32 dimensions")
    make_index(rng, 10)[0].save(tmp_path / "index")
    before = (tmp_path / "index").read_bytes()
    index, *_ = make_index(rng, 10, model=model)
    index.attached = attached
    with pytest.raises(ValueError, match=message):
        index.save(tmp_path / "index")
    assert (tmp_path / "index").read_bytes() == before
    assert os.listdir(tmp_path) == ["index"]


@pytest.mark.skipif(not tfhash_ops.is_compiled(), reason="installed with TFHASH_BUILD_OPS=0")
@pytest.mark.parametrize("layout", ["clustered", "random", "few"])
def test_damaged_arrays_give_errors_or_wrong_answers_and_never_crash(
    rng, tmp_path, layout, monkeypatch
):
    index, codes, _ = make_index(rng, 30_000, 60, layout)
    index.save(tmp_path / "index")
    # As for files so large that they are not checked when they are loaded.
    monkeypatch.setattr(storage, "_CHECKED_BYTES", 0)
    arrays, metadata = storage.read(tmp_path / "index", mapped=False)
    names = list(arrays)
    refused = 0
    for i in range(250):
        name = names[i % len(names)]
        changed = dict(arrays)
        changed[name] = array = arrays[name].copy()
        some = rng.integers(0, len(array), 1 + 30 * (i % 3))
        largest = np.iinfo(array.dtype).max
        values = rng.integers(0, largest, (len(some), *array.shape[1:]), array.dtype, endpoint=True)
        array[some] = values
        damaged = core.CompiledIndex(60, False)
        layout_of = [int(metadata[key]) for key in ("pieces", "key_bits", "next_id")]
        damaged.open(changed, *layout_of)
        with damaged.snapshot() as snapshot:
            calls = [
                lambda s=snapshot: s.search(codes[:3], 10, 1),
                lambda s=snapshot: s.search(codes[:1], s.count, 1),
                lambda s=snapshot: s.within(codes[:3], 3, 1),
                lambda s=snapshot: s.items(),
                lambda d=damaged: d.remove(np.array([5]), 1),
                lambda d=damaged: d.add(codes[:20_000], None, 1),
            ]
            for call in calls:
                try:
                    call()
                except (core.DamagedError, core.UnknownIdsError, core.NoMoreIdsError):
                    refused += 1
            # Another code may be a valid one; checksums tell.
            if array.dtype != np.uint8 and not np.array_equal(array, arrays[name]):
                with pytest.raises(core.DamagedError):
                    snapshot.validate()
    assert refused > 0


def test_verify_finds_damage_in_large_files(rng, tmp_path, monkeypatch):
    index, *_ = make_index(rng)
    path = tmp_path / "index"
    index.save(path)
    content = bytearray(path.read_bytes())
    content[-100] ^= 4
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match="the checksum of"):
        HammingIndex.load(path)
    monkeypatch.setattr(storage, "_CHECKED_BYTES", 0)
    loaded = HammingIndex.load(path)
    with pytest.raises(DamagedFileError, match="the checksum of"):
        loaded.verify()


def test_metadata_describe_the_index(rng, tmp_path):
    index, *_ = make_index(rng, 3_000, model="m")
    index.save(tmp_path / "index")
    content = (tmp_path / "index").read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    metadata = json.loads(content[8 : 8 + length])["__metadata__"]
    assert metadata["count"] == "3000"
    assert metadata["version"] == "1"
    assert int(metadata["next_id"]) == index.ids.max() + 1
