"""Times several functions in turn, so that noise of the machine affects all of them."""

import time

# Longer than idle threads of a pool keep spinning.
PAUSE_SECONDS = 0.2

# Short calls are repeated for this long, so that the wake-up time of a CPU does not matter.
MIN_SECONDS = 0.5


def rounds(calls, repeats):
    """Seconds of each call in each round.

    Args:
        calls: Dictionary from name to function.
        repeats: Number of rounds.

    Returns:
        Dictionary from name to a list of seconds, one for each round: the mean over the calls made
        in `MIN_SECONDS`.
    """
    seconds = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            time.sleep(PAUSE_SECONDS)
            started = time.perf_counter()
            count, elapsed = 0, 0.0
            while elapsed < MIN_SECONDS:
                call()
                count, elapsed = count + 1, time.perf_counter() - started
            seconds[name].append(elapsed / count)
    return seconds


def divide(left, right):
    """Ratios of times of the same round."""
    return [a / b for a, b in zip(left, right)]
