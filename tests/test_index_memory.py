"""An index takes the memory that it promises, and no more for long."""

import gc
import os
import resource
import tracemalloc

import numpy as np
import pytest
from index_cases import check_search, make_codes

import tfhash_ops
from tfhash.index import DamagedFileError, HammingIndex, storage

pytestmark = pytest.mark.skipif(
    not tfhash_ops.is_compiled(), reason="installed with TFHASH_BUILD_OPS=0"
)


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("bits", [8, 16, 32, 56, 64, 130])
def test_the_bound_of_memory_holds_after_every_removal(rng, bits, compact):
    count = 70_000
    index = HammingIndex(bits, compact=compact)
    codes = make_codes(rng, count, bits)
    ids = rng.permutation(index.add(codes))
    for part in np.split(ids, np.cumsum([1, 999, 2_000, 5_000, 7_000, 8_000])):
        left = len(index)
        of_codes, of_ids = left * codes.shape[1], 8 * left
        bound = 1.25 * (of_codes + of_ids) if compact else 5 * of_codes + of_ids
        assert index.nbytes <= bound
        index.remove(part)


def test_ids_are_listed_without_a_copy_of_the_codes(rng):
    index = HammingIndex(512)
    ids = index.add(make_codes(rng, 50_000, 512))
    tracemalloc.start()
    found = index.ids
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * ids.nbytes
    np.testing.assert_array_equal(found, ids)


def test_a_search_that_lacks_memory_for_its_results_keeps_none(rng, monkeypatch):
    index = HammingIndex(16, compact=True)
    index.add(np.zeros((20_000, 2), "uint8"))
    queries = np.zeros((50, 2), "uint8")

    class Full:
        def __getattr__(self, name):
            return getattr(np, name)

        def empty(self, *_):
            raise MemoryError

    def kilobytes():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize() // 1000

    index.within(queries, 1)
    before = kilobytes()
    monkeypatch.setattr("tfhash_ops.index.np", Full())
    for _ in range(20):
        with pytest.raises(MemoryError):
            index.within(queries, 1)
    # 20 times a million neighbors of 12 bytes.
    assert kilobytes() - before < 100_000


@pytest.fixture
def saved(rng, tmp_path):
    """Path of an index with names and an array of the user's, its codes and ids."""
    index = HammingIndex(128)
    codes = make_codes(rng, 20_000, 128)
    index.add(codes)
    index.add(codes[:1], names=["a"])
    index.attached = {"sizes": np.arange(3)}
    index.save(tmp_path / "index")
    return tmp_path / "index", *index.items()


def is_mapped(path):
    with open("/proc/self/maps") as file:
        return any(line.rstrip().endswith(os.fspath(path)) for line in file)


def test_the_arrays_of_a_file_that_was_read_are_freed_when_its_items_were_built_anew(saved):
    path, codes, ids = saved
    tracemalloc.start()
    index = HammingIndex.load(path, mmap=False)
    kept = tracemalloc.get_traced_memory()[0]
    assert kept > path.stat().st_size
    index.remove(ids[:10])
    index.verify()
    assert tracemalloc.get_traced_memory()[0] > 0.9 * kept
    index.remove(ids[10:10_000])
    gc.collect()
    assert tracemalloc.get_traced_memory()[0] < 0.1 * kept
    tracemalloc.stop()
    index.verify()
    check_search(index, codes[:2], codes[10_000:], ids[10_000:], 5)
    assert index.names_of([20_000]).tolist() == ["a"]
    assert index.attached["sizes"].tolist() == [0, 1, 2]


def test_a_search_that_began_before_keeps_the_arrays_of_the_file(saved):
    path, codes, ids = saved
    index = HammingIndex.load(path, mmap=False)
    with index._core.snapshot() as snapshot:
        index.remove(ids[:10_000])
        gc.collect()
        np.testing.assert_array_equal(snapshot.items()[0], codes)
        found = snapshot.search(codes[:5], 1, 1)
    assert found.distances.tolist() == [[0]] * 5
    assert found.indices.tolist() == [[0], [1], [2], [3], [4]]


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="Linux alone lists its maps")
def test_a_large_file_stays_mapped_until_its_checksums_have_been_compared(saved, monkeypatch):
    path, _, ids = saved
    index = HammingIndex(128)
    index.add(np.zeros((20_000, 16), "uint8"))
    index.save(path)
    monkeypatch.setattr(storage, "_CHECKED_BYTES", 0)
    loaded = HammingIndex.load(path)
    loaded.remove(ids[:10_000])
    assert is_mapped(path)
    loaded.verify()
    gc.collect()
    assert not is_mapped(path)
    loaded.verify()


def test_damage_of_a_large_file_is_found_after_its_items_were_built_anew(saved, monkeypatch):
    path, _, ids = saved
    index = HammingIndex(128, compact=True)
    index.add(np.zeros((20_000, 16), "uint8"))
    index.save(path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # of a code, so that all arrays agree
    path.write_bytes(content)
    monkeypatch.setattr(storage, "_CHECKED_BYTES", 0)
    loaded = HammingIndex.load(path)
    loaded.remove(ids[:10_000])
    with pytest.raises(DamagedFileError, match="the checksum of codes"):
        loaded.verify()
