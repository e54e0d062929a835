"""How long training will take."""

import time

import keras


class TimeEstimate(keras.callbacks.Callback):
    """Prints an estimate of the remaining training time after some steps.

    The first steps, in which the network is compiled, and the work of other callbacks between epochs
    do not count. Both stages take about the same time per step. Silent with `verbose=0`, and if the
    number of steps is unknown.

    Args:
        after: Number of steps to time, >= 1.

    Raises:
        ValueError: If `after` is below 1.

    Example:

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile(loss="mse")
    >>> images, labels, estimate = np.zeros((64, 2)), np.zeros(64), TimeEstimate(after=2)
    >>> history = model.fit(
    ...     images, labels, batch_size=4, verbose=2, callbacks=[estimate]
    ... )  # doctest: +ELLIPSIS
    about ... of training to go
    16/16 ...
    """

    # Steps before the timed ones: the network compiles, and one more.
    UNTIMED = 2

    def __init__(self, after=20):
        super().__init__()
        if after < 1:
            raise ValueError(f"`after` must be an integer >= 1. Received: after={after!r}")
        self.after = after

    def on_train_begin(self, logs=None):
        self._steps = 0
        self._seconds = 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        self._ended = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        now = time.perf_counter()
        self._steps += 1
        if self._steps > self.UNTIMED:
            self._seconds += now - self._ended
        self._ended = now
        # Without a known number of steps there is nothing to say.
        is_due = self._steps == self.UNTIMED + self.after
        if is_due and self.params["steps"] and self.params["verbose"]:
            steps = (self.params["epochs"] - self._epoch) * self.params["steps"] - batch - 1
            # A bar of Keras does not end its line.
            start = "\n" if self.params["verbose"] == 1 else ""
            print(f"{start}about {in_words(self._seconds / self.after * steps)} of training to go")


def in_words(seconds):
    """Seconds as people say them."""
    if seconds < 1.5:
        return "a second"
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"
