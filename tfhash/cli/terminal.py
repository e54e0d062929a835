"""Keeps what libraries write from the user's terminal, but for what the user must know."""

import contextlib
import io
import logging
import os
import select
import sys
import tempfile
import warnings


def import_libraries():
    """Imports TensorFlow, Keras and the compiled ops without their start-up notes.

    TensorFlow's C++ code writes notes on the CPU, oneDNN and CUDA straight to file descriptor 2
    before it reads TF_CPP_MIN_LOG_LEVEL. If the import fails, they are shown.
    """
    # Read when TensorFlow is imported. The faster convolutions of oneDNN are off by default on
    # CPUs with AVX2 alone.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    with _without_stderr():
        import keras  # noqa: F401
        import tensorflow as tf

        import tfhash_ops  # noqa: F401
    # Notes on retracing: a command that encodes with several models traces several functions.
    tf.get_logger().setLevel(logging.ERROR)


def print_any_name():
    """Lets standard output take file names that are not valid UTF-8."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def is_reader_gone():
    """Whether standard output is a pipe that nobody reads any more, as after `| head`."""
    try:
        pipe = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):  # closed, or no file
        return False
    poll = select.poll()
    poll.register(pipe, 0)  # an error is reported without being asked for
    return any(event & select.POLLERR for _, event in poll.poll(0))


def discard_output():
    """Gives up standard output, which cannot be written: Python would try once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def one_line_warnings(name):
    """Shows warnings as one line each, without the line of code that raised them."""

    def show(message, category, filename, lineno, file=None, line=None):
        text = " ".join(str(message).split())
        print(f"tfhash {name}: warning: {text}", file=sys.stderr, flush=True)

    with warnings.catch_warnings():
        for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", category)
        warnings.showwarning = show
        yield


@contextlib.contextmanager
def _without_stderr():
    """Keeps what is written to file descriptor 2, and shows it only if the block raises."""
    sys.stderr.flush()
    try:
        terminal = os.dup(2)
    except OSError:  # closed
        yield
        return
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            _restore(terminal)
            kept.seek(0)
            sys.stderr.write(kept.read().decode(errors="replace"))
            raise
        else:
            _restore(terminal)


def _restore(terminal):
    sys.stderr.flush()
    os.dup2(terminal, 2)
    os.close(terminal)
