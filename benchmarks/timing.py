"""Timing calls in turn, so that a noisy moment of the machine meets all of them."""

import time

# Longer than threads that found no more work keep spinning.
PAUSE_SECONDS = 0.2

# A short call is repeated for so long, that the time of waking up a CPU does not count.
LEAST_SECONDS = 0.5


def rounds(calls, repeats):
    """Seconds of each call in each round.

    Args:
        calls: Dictionary from name to function.
        repeats: Number of rounds.

    Returns:
        Dictionary from name to a list of seconds, one for each round: the mean of as many calls as
        fill `LEAST_SECONDS`.
    """
    seconds = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            time.sleep(PAUSE_SECONDS)
            started = time.perf_counter()
            count, elapsed = 0, 0.0
            while elapsed < LEAST_SECONDS:
                call()
                count, elapsed = count + 1, time.perf_counter() - started
            seconds[name].append(elapsed / count)
    return seconds


def divide(left, right):
    """Ratios of what was timed in the same round."""
    return [a / b for a, b in zip(left, right)]
