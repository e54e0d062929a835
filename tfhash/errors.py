"""TensorFlow's errors as plain Python errors, and what to do where a package is missing."""

import builtins
import contextlib
import re
import sys

# Which Python error an error of TensorFlow becomes. Others (internal, aborted, ...) are bugs, whose
# traceback is worth having.
_PYTHON_ERRORS = {
    "NotFoundError": FileNotFoundError,
    "PermissionDeniedError": PermissionError,
    "DataLossError": OSError,
    "InvalidArgumentError": ValueError,
    "OutOfRangeError": ValueError,
    "UnimplementedError": ValueError,
    "ResourceExhaustedError": MemoryError,
}

# What TensorFlow puts before the reason, in `tf.data` pipelines too.
_BEFORE_REASON = re.compile(
    r"\{\{function_node .*?\}\} *|<stack traces unavailable>\s*|"
    r"Error in user-defined function passed to \S+ transformation with iterator: \S+: "
)
# "2 root error(s) found." and then one line for each.
_FIRST_ROOT_ERROR = re.compile(r"\(0\) [A-Z_]+: *(.*)", re.DOTALL)
# Where TensorFlow names the node, the op and the Python code behind the reason.
_AFTER_REASON = re.compile(
    r"\s*(\[\[\{\{node|\[Op:|Traceback \(most recent call last\)).*", re.DOTALL
)
# The error of `Dataset.batch` for items of different sizes.
_SEVERAL_SHAPES = re.compile(
    r"Cannot batch tensors with different shapes in component \d+\. "
    r"First element had shape (\[.*?\]) and element \d+ had shape (\[.*?\])\.?"
)
# Keras puts the reason in bold between the name of the layer and what the layer was called with.
_REASON_IN_KERAS = re.compile(
    r"Exception encountered when calling .*?\x1b\[1m(.*?)\x1b\[0m", re.DOTALL
)
_PYTHON_ERROR = re.compile(r"([A-Z]\w*): (.*)", re.DOTALL)


def in_words(error):
    """The reason of an error in one line, without the names of nodes, ops, devices and layers.

    Args:
        error: An exception, of TensorFlow or any other.

    Returns:
        A string without a final period, so that a message can continue.

    Example:

    >>> import tensorflow as tf
    >>> try:
    ...     tf.io.decode_jpeg(b"<html>")
    ... except tf.errors.InvalidArgumentError as error:
    ...     print(in_words(error))
    Unknown image file format. One of JPEG, JPEG XL, PNG, GIF, BMP, WebP required
    """
    if not _is_from_tensorflow(error):
        in_keras = _REASON_IN_KERAS.search(str(error))
        message = in_keras[1] if in_keras else str(error)
        return " ".join(message.split()).rstrip(".") or type(error).__name__
    message = _BEFORE_REASON.sub("", error.message or "")
    if root_error := _FIRST_ROOT_ERROR.search(message):
        message = root_error[1]
    message = _AFTER_REASON.sub("", message, count=1)
    if message.startswith("Graph execution error:"):
        # The Python code that made the node stands before the reason, in indented lines.
        lines = [line for line in message.splitlines()[1:] if line and not line[0].isspace()]
        message = " ".join(line for line in lines if not line.startswith("Detected at node"))
    message = _SEVERAL_SHAPES.sub(
        r"items of a batch must have one shape. Received: shapes \1 and \2. Resize images before "
        r"`batch`, as by dataset.map(lambda image, label: (tf.image.resize(image, (h, w)), label))",
        message,
    )
    # TensorFlow writes "PATH; No such file or directory".
    message = re.sub(r"; (?=[A-Z][a-z ]+$)", ": ", message.strip())
    return " ".join(message.split()).rstrip(".") or type(error).__name__


def how_to_install(extra):
    """What a message says where a package of an extra is missing.

    Args:
        extra: Name of the extra.

    Returns:
        A sentence without a final period, so that a message can continue.

    Example:

    >>> print(how_to_install("onnx"))
    Run `pip install '.[onnx]'` in a checkout of tfhash
    """
    return f"Run `pip install '.[{extra}]'` in a checkout of tfhash"


@contextlib.contextmanager
def translated():
    """Re-raises TensorFlow's errors as the matching Python errors.

    A missing or unreadable file becomes an `OSError`, bad contents or values a
    `ValueError`, too little memory a `MemoryError`; a Python function of a `tf.data` pipeline raises
    its own error again. Other errors pass unchanged.

    Raises:
        Exception: What the block raised, as the Python error that matches it.

    Example:

    >>> import tensorflow as tf
    >>> try:
    ...     with translated():
    ...         tf.io.read_file("photos/gone.jpg")
    ... except FileNotFoundError as error:
    ...     print(error)
    photos/gone.jpg: No such file or directory
    """
    try:
        yield
    except Exception as error:
        if not _is_from_tensorflow(error):
            raise
        reason = in_words(error)
        kind = _PYTHON_ERRORS.get(type(error).__name__)
        if match := _PYTHON_ERROR.fullmatch(reason):
            raised = getattr(builtins, match[1], None)
            if isinstance(raised, type) and issubclass(raised, Exception):
                kind, reason = raised, match[2]
        if kind is None:
            raise
        raise kind(reason) from error


def _is_from_tensorflow(error):
    # Where TensorFlow is not loaded, none of its errors can arise.
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and isinstance(error, tensorflow.errors.OpError)
