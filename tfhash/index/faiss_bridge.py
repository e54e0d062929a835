"""Indexes of faiss and back, where faiss is installed."""

from typing import Any

import numpy as np

from tfhash import codes as code_layout
from tfhash.errors import how_to_install


def to_faiss(codes, ids):
    """Makes an exact index of faiss. See `HammingIndex.to_faiss`."""
    faiss = _import_faiss()

    flat = faiss.IndexBinaryFlat(8 * codes.shape[1])
    index = faiss.IndexBinaryIDMap2(flat)
    index.add_with_ids(codes, ids)
    return index


def from_faiss(given, bits):
    """Reads packed codes, ids, and the number of bits. See `HammingIndex.from_faiss`."""
    faiss = _import_faiss()

    index: Any = faiss.downcast_IndexBinary(given)
    ids = None
    if isinstance(index, (faiss.IndexBinaryIDMap, faiss.IndexBinaryIDMap2)):
        ids = faiss.vector_to_array(index.id_map).astype(np.int64)
        index = faiss.downcast_IndexBinary(index.index)
    if not isinstance(index, faiss.IndexBinaryFlat):
        raise ValueError(
            "`index` must be an IndexBinaryFlat, or one in an IndexBinaryIDMap or "
            f"IndexBinaryIDMap2. Received: {type(index).__name__}"
        )
    flat: Any = index
    bits = flat.d if bits is None else code_layout.check_bits(bits)
    if code_layout.packed_length(bits) * 8 != flat.d:
        raise ValueError(f"`bits` must fit the codes of {flat.d} bits. Received: bits={bits}")
    codes = faiss.vector_to_array(flat.xb).reshape(flat.ntotal, flat.d // 8)
    return codes, ids, bits


def _import_faiss():
    try:
        import faiss
    except ImportError as error:
        raise ImportError(f"faiss is not installed. {how_to_install('faiss')}") from error
    return faiss
