"""Says after Ctrl-C how to go on."""

import contextlib


@contextlib.contextmanager
def continued_by(how):
    """Gives a `KeyboardInterrupt` that leaves the block a message.

    Args:
        how: Function without arguments that returns how to continue what was interrupted, in words;
            "" where nothing of it is kept.

    Example:

    >>> try:
    ...     with continued_by(lambda: "the same command continues it"):
    ...         raise KeyboardInterrupt
    ... except KeyboardInterrupt as error:
    ...     print(error)
    the same command continues it
    """
    try:
        yield
    except KeyboardInterrupt as error:
        said = how()
        raise (KeyboardInterrupt(said) if said else KeyboardInterrupt) from error
