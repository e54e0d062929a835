"""The devices and processes that train together by `keras.distribution`, on Keras's JAX backend."""

import contextlib

import keras
import numpy as np


def distribution():
    """The `keras.distribution.DataParallel` in force; `None` without one, and on other backends.

    Raises:
        ValueError: If another kind of distribution is in force, such as `ModelParallel`.

    Example:

    >>> distribution() is None
    True
    """
    if keras.backend.backend() != "jax":
        return None
    found = keras.distribution.distribution()
    if found is not None and not isinstance(found, keras.distribution.DataParallel):
        raise ValueError(
            "tfhash trains under `keras.distribution.DataParallel`. "
            f"Received: a {type(found).__name__}"
        )
    return found


def num_parts():
    """Number of devices, in all processes, among which a batch is divided; 1 without a distribution.

    Example:

    >>> num_parts()
    1
    """
    found = distribution()
    return 1 if found is None else found.device_mesh.devices.size


def num_processes():
    """Number of processes that train together, 1 without a distribution.

    Example:

    >>> num_processes()
    1
    """
    if distribution() is None:
        return 1
    import jax

    return jax.process_count()


def process_index():
    """Number of this process among those that train together, counted from 0.

    The process 0 writes files.

    Example:

    >>> process_index()
    0
    """
    if num_processes() == 1:
        return 0
    import jax

    return jax.process_index()


@contextlib.contextmanager
def undistributed():
    """Models made inside are on one device of this process.

    Example:

    >>> with undistributed():
    ...     print(distribution())
    None
    """
    before = distribution()
    if before is None:
        yield
        return
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


def of_all_processes(values):
    """Integers of all processes, which wait for each other here.

    Args:
        values: Dictionary from a name to an integer of 64 bits; the same names in all processes.

    Returns:
        Dictionary from each name to the list of the integers of all processes.

    Example:

    >>> of_all_processes({"epochs": 3})
    {'epochs': [3]}
    """
    if num_processes() == 1:
        return {name: [value] for name, value in values.items()}
    from jax.experimental import multihost_utils

    # JAX has integers of 32 bits by default.
    halves = np.array([*values.values()], "int64").view("int32")
    found = np.ascontiguousarray(multihost_utils.process_allgather(halves)).view("int64")
    return dict(zip(values, found.T.tolist()))


@contextlib.contextmanager
def failing_together():
    """If one process raises an error inside, all do; they wait for each other at the end.

    Otherwise, the others would wait forever for what the failed one does not compute.

    Raises:
        ValueError: If another process raised an error.

    Example:

    >>> with failing_together():
    ...     pass
    """
    if num_processes() == 1:
        yield
        return
    try:
        yield
    except Exception:
        of_all_processes({"failed": 1})
        raise
    flags = of_all_processes({"failed": 0})["failed"]
    failed = [process for process, flag in enumerate(flags) if flag]
    if failed:
        raise ValueError(
            "all processes must accept their data and arguments. Received: an error in process "
            f"{', '.join(map(str, failed))}. Look at its message"
        )


def check_same(values):
    """Compares integers of all processes, which wait for each other here.

    Processes that do not take the same steps would wait forever.

    Args:
        values: Dictionary from a name to an integer.

    Raises:
        ValueError: If a value is not the same in all processes.

    Example:

    >>> check_same({"epochs": 3})
    """
    for name, of_processes in of_all_processes(values).items():
        if len(set(of_processes)) > 1:
            raise ValueError(
                f"all processes must have the same {name}. Received: "
                f"{', '.join(map(str, of_processes))} in processes 0 to {len(of_processes) - 1}"
            )
