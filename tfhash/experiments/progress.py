"""What is printed while an experiment runs."""

import contextlib
import math
import sys
import time

import keras

# In a log file, while images are encoded.
SECONDS_BETWEEN_LINES = 60

# Of a training: one for each epoch, or for several where there are more. Bars of so many epochs would
# fill a terminal, too.
MOST_EPOCH_LINES = 100


class Progress:
    """Prints what happens: with bars on a terminal, in whole lines in a log file.

    Args:
        verbose: 0 prints nothing, 1 shows Keras's progress bars, 2 prints lines without control
            characters, one an epoch, or one for several epochs where there are more than
            `MOST_EPOCH_LINES`. `"auto"` is 1 on a terminal and in a notebook, otherwise 2.
    """

    def __init__(self, verbose="auto"):
        if verbose not in ("auto", 0, 1, 2):
            raise ValueError(f'`verbose` must be "auto", 0, 1 or 2. Received: verbose={verbose!r}')
        self.verbose = (1 if _shows_bars() else 2) if verbose == "auto" else int(verbose)

    def say(self, text):
        """Prints a line."""
        if self.verbose:
            print(text, flush=True)

    def callbacks(self, epochs):
        """Callbacks for a `fit` of so many epochs, to be put last."""
        shows_bars = self.verbose == 1 and epochs <= MOST_EPOCH_LINES
        return [EpochLines()] if self.verbose and not shows_bars else []

    def encode(self, model, split, what):
        """Encodes a split, and shows how far it is or how long it took."""
        return self.encode_with(model.encode, split.batches(), len(split), what)

    def encode_with(self, encode, images, count, what):
        """Calls `encode(images, verbose=...)`; `count` images, called `what`."""
        if self.verbose == 1:
            self.say(f"Encoding {what}")
        started = time.perf_counter()
        found = encode(images, verbose=int(self.verbose == 1))
        if self.verbose == 2:
            seconds = time.perf_counter() - started
            self.say(f"encoded {what}: {count:,} images in {seconds:.1f} s")
        return found

    @contextlib.contextmanager
    def counting(self, count, what):
        """Yields a function to be told how many of `count` images, called `what`, are encoded now."""
        if self.verbose == 1:
            self.say(f"Encoding {what}")
            bar = keras.utils.Progbar(count, unit_name="image")
            yield bar.add
            return
        started = said = time.perf_counter()
        done = 0

        def add(images):
            nonlocal done, said
            done += images
            if time.perf_counter() - said > SECONDS_BETWEEN_LINES:
                said = time.perf_counter()
                self.say(f"encoded {done:,} of {count:,} images")

        yield add
        self.say(f"encoded {what}: {done:,} images in {time.perf_counter() - started:.1f} s")


class EpochLines(keras.callbacks.ProgbarLogger):
    """Prints a line for each epoch, or for several, in place of the bar of Keras.

    An epoch with figures of validation, and the last one of a stage, always has a line.
    """

    # Said elsewhere in the line, or the same as the loss.
    HIDDEN = ("stage", "pretrain_loss", "finetune_loss")

    def on_train_begin(self, logs=None):
        # Number, logs, start and end of epochs that have no line yet.
        self._held = []

    def on_epoch_begin(self, epoch, logs=None):
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        pass

    def on_epoch_end(self, epoch, logs=None):
        logs = dict(logs or {})
        if self._held and self._held[-1][1].get("stage") != logs.get("stage"):
            self._print_held()
        self._held.append((epoch, logs, self._started, time.perf_counter()))
        every = math.ceil(self.epochs / MOST_EPOCH_LINES)
        is_last = epoch + 1 == self.epochs or self.model.stop_training
        is_validated = any(name.startswith("val_") for name in logs)
        if (epoch + 1) % every == 0 or is_last or is_validated:
            self._print_held()

    def _print_held(self):
        """A line with the figures of the last of the epochs, and the time of all."""
        _, _, start, _ = self._held[0]
        epoch, logs, _, end = self._held[-1]
        values = ", ".join(
            f"{name.removeprefix('pretrain_').removeprefix('finetune_')} {float(value):.4f}"
            # The loss first.
            for name, value in sorted(logs.items(), key=lambda item: item[0] != "loss")
            if name not in self.HIDDEN
        )
        seconds = f"{end - start:.1f} s"
        time_of = seconds if len(self._held) == 1 else f"{len(self._held)} epochs in {seconds}"
        print(f"epoch {epoch + 1}/{self.epochs}: {values} ({time_of})", flush=True)
        self._held = []


def _shows_bars():
    return sys.stdout.isatty() or "ipykernel" in sys.modules
