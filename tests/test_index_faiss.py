"""The index and faiss give the same distances, and take each other's codes."""

import numpy as np
import pytest
from index_cases import make_codes

from tfhash.index import HammingIndex

faiss = pytest.importorskip("faiss", reason="faiss is not installed")


@pytest.mark.parametrize("bits", [8, 12, 48, 65])
def test_both_give_the_same_distances(rng, bits):
    codes, ids = make_codes(rng, 20_000, bits, "clustered"), rng.permutation(20_000) * 7
    index = HammingIndex(bits)
    index.add(codes, ids=ids)
    theirs = index.to_faiss()
    queries = make_codes(rng, 20, bits)
    distances, found = theirs.search(queries, 10)
    ours = index.search(queries, 10)
    np.testing.assert_array_equal(ours.distances, distances)
    # faiss orders ties by other rules.
    assert set(found[0].tolist()) <= set(ids.tolist())
    back = HammingIndex.from_faiss(theirs, bits=bits)
    np.testing.assert_array_equal(back.ids, index.ids)
    np.testing.assert_array_equal(back.codes, index.codes)


def test_a_flat_index_gets_ids_from_zero(rng):
    codes = make_codes(rng, 100, 16)
    flat = faiss.IndexBinaryFlat(16)
    flat.add(codes)
    index = HammingIndex.from_faiss(flat)
    assert index.bits == 16
    np.testing.assert_array_equal(index.ids, np.arange(100))
    np.testing.assert_array_equal(index.codes, codes)


def test_other_indexes_and_other_bits_are_refused(rng):
    with pytest.raises(ValueError, match="must be an IndexBinaryFlat.*Received: IndexBinaryHash"):
        HammingIndex.from_faiss(faiss.IndexBinaryHash(16, 8))
    with pytest.raises(ValueError, match="must fit the codes of 16 bits. Received: bits=17"):
        HammingIndex.from_faiss(faiss.IndexBinaryFlat(16), bits=17)
