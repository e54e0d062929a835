"""An interruption in the middle of a run, for tests of resuming."""

import keras


class Killed(BaseException):
    """Acts as a kill: nothing in the code may handle it."""


class KillIn(keras.callbacks.Callback):
    """Interrupts an epoch in a method such as `on_epoch_end`."""

    def __init__(self, epoch, method):
        super().__init__()
        self.epoch = epoch
        setattr(self, method, self._kill)

    def _kill(self, epoch, logs=None):
        if epoch == self.epoch:
            raise Killed
