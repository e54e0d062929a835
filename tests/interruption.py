"""An interruption in the middle of a run, for tests of resuming."""


class Killed(BaseException):
    """Acts as a kill: nothing in the code may handle it."""
