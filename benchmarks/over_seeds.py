"""How the benchmarks write what several seeds gave."""

import math
import statistics


def deviation(values):
    """Standard deviation, NaN where there is one seed alone."""
    return statistics.stdev(values) if len(values) > 1 else math.nan


def mean_and_deviation(values):
    return f"{statistics.mean(values):.4f} ± {deviation(values):.4f}"
