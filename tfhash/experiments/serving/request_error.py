"""What a client did wrong."""


class RequestError(Exception):
    """A request that is not answered.

    Attributes:
        status: Status of HTTP.
        message: What was expected, what was received and what to do.
        headers: More headers of the answer.
    """

    def __init__(self, message, status=400, headers=None):
        super().__init__(message)
        self.message, self.status, self.headers = message, status, headers or {}
