"""What a server, or its absence, makes the client raise."""


class ServingError(RuntimeError):
    """A server did not answer, or refused a request; see `tfhash.serving.Client`.

    Args:
        message: The whole of it in words, with what to do.
        status, server_message: As the attributes.

    Attributes:
        status: Status of HTTP, such as 404, or the name of gRPC's, such as "NOT_FOUND"; `None` where
            there was no answer that could be read.
        server_message: What the server said; "" where it said nothing.
    """

    def __init__(self, message, status=None, server_message=""):
        super().__init__(message)
        self.status = status
        self.server_message = server_message


def refusal(url, status, server_message, model):
    """The `ServingError` for an error that a server answered with.

    Args:
        url: Address of the server.
        status: As in `ServingError`.
        server_message: What the server said.
        model: The model that was asked for, in words.
    """
    advice = ""
    if status in (404, "NOT_FOUND"):
        advice = f"Check `model_name` and `version`: {model} was asked for"
    elif status in (413, "RESOURCE_EXHAUSTED"):
        advice = "Pass a smaller `batch_size`"
    elif status in (429, 503, "UNAVAILABLE"):
        advice = "It is busy or not ready. Try again later, or pass more `retries`"
    elif status in (401, 403, "UNAUTHENTICATED", "PERMISSION_DENIED"):
        advice = "Check `url`: the server lets this client do nothing"
    said = server_message.rstrip(". \n") or "no message"
    return ServingError(
        f"{url} answered {status}: {said}" + (f". {advice}" if advice else ""),
        status,
        server_message,
    )


def no_answer(url, reason):
    """The `ServingError` where no server could be reached."""
    return ServingError(
        f"no server answers at {url}: {reason}. Check `url`, or start a server: `tfhash serve` or "
        "TensorFlow Serving"
    )


def too_slow(url, timeout):
    """The `ServingError` where an answer took too long."""
    return ServingError(
        f"{url} gave no answer within {timeout:g} seconds. Pass a longer `timeout`, or a smaller "
        "`batch_size`"
    )


def unreadable(url, problem):
    """The `ServingError` for an answer that is none of a model server."""
    return ServingError(
        f"{url} gave an answer that cannot be used: {problem}. Check that a model of tfhash is "
        "served there"
    )
