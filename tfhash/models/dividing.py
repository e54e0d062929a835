"""What `HashingModel.fit` needs where several devices or processes train together on JAX."""

import math
import zlib

import keras
import numpy as np

from tfhash import devices
from tfhash.models import fitting

# They write files, which one process does for all.
WRITERS = (
    keras.callbacks.CSVLogger,
    keras.callbacks.ModelCheckpoint,
    keras.callbacks.TensorBoard,
)


def check(model, arguments):
    """Refuses, before training starts, what several devices cannot train together.

    It looks at this process alone, and waits for no other.

    Args:
        model: The model.
        arguments: Dictionary of the arguments of `fit`.

    Returns:
        Two dictionaries from names to integers, for `compare`; empty without a distribution.

    Raises:
        ValueError: If a batch cannot be divided among the devices, or the model is on other devices.
    """
    distribution = devices.distribution()
    if distribution is None:
        return {}, {}
    _check_place(model, distribution)
    x, batch_size = arguments.get("x"), arguments.get("batch_size") or 32
    split = arguments.get("validation_split")
    frequency = arguments.get("validation_freq", 1)
    same = {
        "number of epochs": arguments.get("epochs", 1),
        "number of finished epochs (their backup must be one directory)": arguments.get(
            "initial_epoch", 0
        ),
        "number of steps": arguments.get("steps_per_epoch") or -1,
        "number of steps of validation": arguments.get("validation_steps") or -1,
        "`validation_freq`": frequency if isinstance(frequency, int) else -1,
        **_lengths(x, batch_size, distribution, 1 - split if split else 1.0),
    }
    firsts = {"training": _checksum(x, arguments.get("y"), batch_size, distribution)}
    x, y, _ = keras.utils.unpack_x_y_sample_weight(arguments.get("validation_data"))
    batch_size = arguments.get("validation_batch_size") or batch_size
    for name, length in _lengths(x, batch_size, distribution).items():
        same[f"{name} of validation"] = length
    firsts["validation"] = _checksum(x, y, batch_size, distribution)
    return same, firsts


def compare(same, firsts):
    """Compares what `check` found in all processes, which wait for each other here.

    Args:
        same: Dictionary of what must be the same in all processes.
        firsts: Dictionary of checksums of first batches, of which one at least must be another; -1
            where there is none.

    Raises:
        ValueError: If processes would not take the same steps, or all train on the same items.
    """
    devices.check_same(same)
    for name, checksums in devices.of_all_processes(firsts).items():
        if len(checksums) > 1 and len(set(checksums)) == 1 and checksums[0] != -1:
            raise ValueError(
                "with auto_shard_dataset=False, each process must pass its own share of the items. "
                f"Received: the same first batch of {name} in all {len(checksums)} processes. Wrap a "
                "`keras.utils.PyDataset` of whole batches in `tfhash.data.ProcessShare`, or pass "
                "other items in each process"
            )


def leave_files_to_first(arguments):
    """Removes the callbacks of Keras that write files, in all processes but the first.

    Raises:
        ValueError: If there is a `BackupAndRestore`, which every process would have to read and one to
            write.
    """
    callbacks = arguments.get("callbacks")
    is_list = not isinstance(callbacks, keras.callbacks.CallbackList)
    if callbacks is None or not is_list or devices.num_processes() == 1:
        return
    callbacks = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
    if any(isinstance(callback, keras.callbacks.BackupAndRestore) for callback in callbacks):
        raise ValueError(
            "`BackupAndRestore` writes one file in every process. Pass "
            "`tfhash.callbacks.TwoStageTraining(..., backup_dir=...)` instead, with a directory that "
            "all processes can read"
        )
    process = devices.process_index()
    if process > 0:
        left = [type(callback).__name__ for callback in callbacks if isinstance(callback, WRITERS)]
        if left and arguments.get("verbose", "auto"):
            print(f"Process {process} leaves {', '.join(left)} to process 0")
        callbacks = [callback for callback in callbacks if not isinstance(callback, WRITERS)]
    arguments["callbacks"] = callbacks


def _check_place(model, distribution):
    """Weights made before a distribution was set stay on one device."""
    expected = set(distribution.device_mesh.backend_mesh.devices.flat)
    optimizer = getattr(model, "optimizer", None)  # Keras refuses to train without one
    of_optimizer = optimizer.variables if optimizer is not None else ()
    for variable in (*model.variables, *model.metrics_variables, *of_optimizer):
        if variable.value.sharding.device_set != expected:
            raise ValueError(
                f"the model must be made and compiled where the distribution over {len(expected)} "
                f"devices is in force. Received: {variable.path} on "
                f"{len(variable.value.sharding.device_set)}. Call "
                "keras.distribution.set_distribution before you make the model"
            )


def _lengths(x, batch_size, distribution, share=1.0):
    """Sizes that must be the same in all processes, by name; -1 where there is none or only reading tells.

    Args:
        x: Images, or a dataset, or `None`.
        batch_size: Size of the batches of arrays.
        distribution: The distribution.
        share: The share of arrays that is trained on.
    """
    items = to_train_on = batches = -1
    if hasattr(x, "element_spec"):
        batches = int(x.cardinality())  # -1 for endless ones, -2 where it is not known
    elif isinstance(x, keras.utils.PyDataset):
        batches = -1 if x.num_batches is None else x.num_batches
    elif hasattr(x, "shape"):
        items, to_train_on = len(x), math.floor(len(x) * share)
    if x is not None:
        _check_type(x, distribution)
    return {
        "batch size": -1 if x is None else _check_sizes(x, batch_size, distribution, share),
        "number of items": items,
        "number of items after `validation_split`": to_train_on,
        "number of batches": batches,
    }


def _checksum(x, y, batch_size, distribution):
    """Checksum of the first batch that this process divides itself, or -1.

    A `tf.data.Dataset` has none: reading it may reshuffle it.
    """
    if devices.num_processes() == 1 or distribution.auto_shard_dataset:
        return -1
    if isinstance(x, keras.utils.PyDataset):
        first = x[0]
    elif hasattr(x, "shape"):
        first = [array[:batch_size] for array in (x, y) if hasattr(array, "shape")]
    else:
        return -1
    checksum = 0
    for array in keras.tree.flatten(first):
        if array is not None:
            checksum = zlib.crc32(np.asarray(array).tobytes(), checksum)
    return checksum


def _check_type(x, distribution):
    """Keras divides among processes what TensorFlow batched, and nothing else."""
    is_own_share = devices.num_processes() == 1 or not distribution.auto_shard_dataset
    if not is_own_share and not hasattr(x, "element_spec"):
        raise ValueError(
            "with several processes, Keras divides a `tf.data.Dataset` of whole batches among them. "
            f"Received: a {type(x).__name__}. Wrap a `keras.utils.PyDataset` of whole batches, such as "
            "`tfhash.data.ArrayBatches`, in `tfhash.data.ProcessShare`, or pass arrays of this process's "
            "share, under keras.distribution.DataParallel(auto_shard_dataset=False)"
        )


def _check_sizes(x, batch_size, distribution, share=1.0):
    """Size of the first batch, -1 where it is not known; all that are known are checked."""
    parts = devices.num_parts()
    is_whole = hasattr(x, "element_spec") and distribution.auto_shard_dataset
    if not is_whole:  # what this process reads
        parts //= devices.num_processes()
    if hasattr(x, "element_spec"):
        shape = fitting.shape_of_images(x)
        if shape is None or shape[0] is None:
            raise ValueError(
                f"batches are divided among {parts} devices, so all must have one known size. "
                "Received: a dataset whose last batch may be smaller. Batch it by "
                f"batch(size, drop_remainder=True), with a size that is a multiple of {parts}; give "
                "images their shape before, by tf.ensure_shape, where they have none"
            )
        sizes = [shape[0]]
    elif isinstance(x, keras.utils.PyDataset):
        last = (x.num_batches or 1) - 1
        sizes = [_length(x[index]) for index in sorted({0, last})]
    elif hasattr(x, "shape"):
        sizes = []
        items = math.floor(len(x) * share)
        for count in (items, len(x) - items):
            sizes += [size for size in (min(batch_size, count), count % batch_size) if size]
    else:
        return -1  # only reading a generator would tell
    for size in sizes:
        if size % parts:
            raise ValueError(
                f"batches are divided among {parts} devices, so their sizes must be multiples of "
                f"{parts}. Received: a batch of {size} items. Choose another `batch_size`, leave out "
                "the rest of the items, or pass `tfhash.data.ArrayBatches`, which does"
            )
    return sizes[0] if sizes else -1


def _length(batch):
    return len(keras.tree.flatten(batch)[0])
