"""Retrieval quality of binary codes, computed from histograms over the Hamming distance.

Items at the same distance are tied: no ranking among them is right or wrong. A value here
is the expectation over all orders of the ties, unless best or worst order is asked for, so
that it does not depend on the order in which items happen to be stored.

Every mean is taken over the queries that have at least one relevant item in the database;
`count_queries_with_relevant_items` says how many there are.

Where items have several labels, nDCG also counts how many an item shares with the query; it is
computed from `SharedLabelHistograms`.

The same for relaxed queries: `asymmetric_histograms`, `summarize_asymmetric`.
"""

from tfhash.metrics.asymmetric import (
    asymmetric_histograms,
    leave_one_out_asymmetric_histograms,
    summarize_asymmetric,
)
from tfhash.metrics.average_precision import (
    DENOMINATORS,
    TIES,
    WITHOUT_HITS,
    average_precision,
    mean_average_precision,
)
from tfhash.metrics.bits import (
    bit_balance,
    bit_correlation,
    count_distinct_codes,
    count_redundant_bits,
    share_with_code_of_class,
)
from tfhash.metrics.discounted_gain import (
    GAINS,
    SharedLabelHistograms,
    leave_one_out_shared_label_histograms,
    mean_ndcg,
    ndcg,
    shared_label_histograms,
)
from tfhash.metrics.histograms import (
    DistanceHistograms,
    distance_histograms,
    leave_one_out_histograms,
)
from tfhash.metrics.ranking import (
    count_queries_with_relevant_items,
    precision_at_k,
    precision_recall_curve,
    precision_within_radius,
    recall_within_radius,
    summarize,
)

__all__ = [
    "DENOMINATORS",
    "GAINS",
    "TIES",
    "WITHOUT_HITS",
    "DistanceHistograms",
    "SharedLabelHistograms",
    "asymmetric_histograms",
    "average_precision",
    "bit_balance",
    "bit_correlation",
    "count_distinct_codes",
    "count_queries_with_relevant_items",
    "count_redundant_bits",
    "distance_histograms",
    "leave_one_out_asymmetric_histograms",
    "leave_one_out_histograms",
    "leave_one_out_shared_label_histograms",
    "mean_average_precision",
    "mean_ndcg",
    "ndcg",
    "precision_at_k",
    "precision_recall_curve",
    "precision_within_radius",
    "recall_within_radius",
    "share_with_code_of_class",
    "shared_label_histograms",
    "summarize",
    "summarize_asymmetric",
]
