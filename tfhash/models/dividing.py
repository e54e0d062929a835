"""What `HashingModel.fit` needs where several devices or processes train together on JAX."""

import math

import keras

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

    Args:
        model: The model.
        arguments: Dictionary of the arguments of `fit`.

    Raises:
        ValueError: If a batch cannot be divided among the devices, the model is on other devices, or
            processes would not take the same steps.
    """
    distribution = devices.distribution()
    if distribution is None:
        return
    _check_place(model, distribution)
    x, batch_size = arguments.get("x"), arguments.get("batch_size") or 32
    _check_type(x, distribution)
    split = arguments.get("validation_split")
    first = _check_sizes(x, batch_size, distribution, 1 - split if split else 1.0)
    if validation_data := arguments.get("validation_data"):
        of_validation = arguments.get("validation_batch_size") or batch_size
        is_pair = isinstance(validation_data, (tuple, list))
        _check_sizes(
            validation_data[0] if is_pair else validation_data, of_validation, distribution
        )
    devices.check_same(
        {
            "number of epochs": arguments.get("epochs", 1),
            "number of finished epochs (their backup must be one directory)": arguments.get(
                "initial_epoch", 0
            ),
            "number of steps": arguments.get("steps_per_epoch") or -1,
            "batch size": first,
            "number of items": len(x) if hasattr(x, "shape") else -1,
        }
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
    for variable in (*model.variables, *model.metrics_variables, *model.optimizer.variables):
        if variable.value.sharding.device_set != expected:
            raise ValueError(
                f"the model must be made and compiled where the distribution over {len(expected)} "
                f"devices is in force. Received: {variable.path} on "
                f"{len(variable.value.sharding.device_set)}. Call "
                "keras.distribution.set_distribution before you make the model"
            )


def _check_type(x, distribution):
    """Keras divides among processes what TensorFlow batched, and nothing else."""
    is_own_share = distribution.num_processes == 1 or not distribution.auto_shard_dataset
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
        parts //= distribution.num_processes
    if hasattr(x, "element_spec"):
        shape = fitting.shape_of_images(x)
        if shape is None or shape[0] is None:
            raise ValueError(
                f"batches are divided among {parts} devices, so all must have one known size. "
                "Received: a dataset whose last batch may be smaller. Batch it by "
                f"batch(size, drop_remainder=True), with a size that is a multiple of {parts}"
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
