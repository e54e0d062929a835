"""What ends a run in the middle, for tests of how it goes on."""


class Killed(BaseException):
    """Stands for a kill: nothing in the code may handle it."""
