"""Configuration files of TensorFlow Serving, beside the versions of a model."""

import os
import pathlib
import warnings

from google.protobuf import text_encoding

from tfhash import files

MODEL_CONFIG, BATCHING_CONFIG = "model.config", "batching.config"

# The numbers of images that a server pads a batch to; the last one is the most that a request may hold.
BATCH_SIZES = (1, 2, 4, 8, 16, 32)

# How long a request waits for others, a fraction of what one image takes on a CPU.
_BATCH_TIMEOUT_MICROS = 1000

_MODEL_CONFIG = """\
# tensorflow_model_server --rest_api_port=8501 --port=8500 --model_config_file=model.config
#
# TensorFlow Serving wants an absolute `base_path`, the directory of the versions as the server sees it.
# Change it when the directory moves, and to "/models/{name}" for a container that mounts it there. A
# single model needs no such file:
#
#   tensorflow_model_server --rest_api_port=8501 --port=8500 --model_name=NAME --model_base_path=DIR
#   docker run -p 8500:8500 -p 8501:8501 -v DIR:/models/NAME -e MODEL_NAME=NAME tensorflow/serving
#
# `tfhash export` writes this file once and keeps what you change.
model_config_list {{
  config {{
    name: "{name}"
    base_path: "{base_path}"
    model_platform: "tensorflow"
  }}
}}
"""

_BATCHING_CONFIG = """\
# tensorflow_model_server ... --enable_batching --batching_parameters_file=batching.config
#
# Requests to one signature that arrive together run as one batch. So:
# - A request of more than `max_batch_size` images is refused.
# - A file that is no image fails all requests of its batch, unless the model was exported with
#   on_error="mask".
# - `encode` and `search` take images of one size: requests of different sizes that meet are refused.
#   They must not be padded, which would change codes. Files may be of any size.
# - `k` must be one value for each query, as in "instances". Where requests of different k meet, each
#   finds as many items as the largest k.
#
# One thread for each CPU runs batches, unless you set num_batch_threads.
#
# `tfhash export` writes this file once and keeps what you change.
max_batch_size {{ value: {largest} }}
batch_timeout_micros {{ value: {timeout} }}
{allowed}
pad_variable_length_inputs: false
"""


def model_name(path):
    """What a server calls the model of a directory: its base name.

    Raises:
        ValueError: If an address cannot hold the name.

    Example:

    >>> model_name("served/photos/")
    'photos'
    """
    name = pathlib.Path(os.path.abspath(path)).name  # without `..`
    if not name or ":" in name:
        raise ValueError(
            "the name of the directory is the name of the model, and must not hold a colon. Received: "
            f"{name!r}"
        )
    return name


def model_config(path):
    """The text of a `ModelServerConfig` for the model of a directory."""
    path = pathlib.Path(os.path.abspath(path))
    return _MODEL_CONFIG.format(name=_escaped(model_name(path)), base_path=_escaped(str(path)))


def batching_config(batch_sizes=BATCH_SIZES):
    """The text of `BatchingParameters` for batches of these sizes, ascending."""
    return _BATCHING_CONFIG.format(
        largest=batch_sizes[-1],
        timeout=_BATCH_TIMEOUT_MICROS,
        allowed="\n".join(f"allowed_batch_sizes: {size}" for size in batch_sizes),
    )


def write_configs(path, batch_sizes=BATCH_SIZES):
    """Writes `model.config` and `batching.config` where there are none.

    Files that hold something else are kept, with a warning.

    Args:
        path: Directory of the versions.
        batch_sizes: See `batching_config`.
    """
    texts = {MODEL_CONFIG: model_config(path), BATCHING_CONFIG: batching_config(batch_sizes)}
    for name, text in texts.items():
        file = pathlib.Path(path, name)
        if not file.exists():
            with files.atomic_write(file) as temporary:
                temporary.write_text(text, encoding="utf-8")
        elif file.read_bytes() != text.encode():
            warnings.warn(
                f"kept {file}, which holds something else than would be written", stacklevel=3
            )


def _escaped(text):
    return text_encoding.CEscape(text.encode("utf-8", "surrogateescape"), as_utf8=False)
