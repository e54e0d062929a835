"""What goes wrong between an index and its engine."""


class EngineError(OSError):
    """An engine could not be reached, or did not do what it was asked to; see `connect`.

    What was to be changed is unchanged, unless the message says that this is not known.
    """


class OtherWriterError(EngineError):
    """Another writer changed the index meanwhile, and nothing was changed; see `connect`."""


class ServerError(Exception):
    """An engine's answer to a statement that it refused.

    Attributes:
        code: ClickHouse's number of the error; 0 if there is none.
    """

    def __init__(self, message, code=0):
        super().__init__(message)
        self.code = code
