"""Error messages of the ops in Python. `cc/core/checks.cc` has those of the compiled code."""

# Distances of longer codes do not fit in 32 bits.
MAX_BYTES = (2**31 - 1) // 8

CODES_TYPE = "`{}` must be packed codes of type uint8. Received: {}"
CODES_SHAPE = (
    "packed codes must have the shapes [q, bytes] and [n, bytes], bytes >= 1. Received: {} for the "
    "queries and {} for the database"
)
CODES_LENGTH = (
    "packed codes must have fewer than 2^28 bytes, because distances are 32-bit integers. "
    "Received: {} for the queries and {} for the database"
)
BITS = "codes of B bits must have ceil(B / 8) bytes. Received: bits = {} and codes of {} bytes"
K = (
    "k must be at least 1 and at most the number of items in the database. Received: k = {} and {} "
    "items"
)
RADIUS = "radius must be at least 0. Received: radius = {}"
INTEGER = "`{}` must be an integer. Received: {}"
LABELS_TYPE = "`{}` must be integers. Received: {}"
