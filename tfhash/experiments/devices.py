"""The devices that a run trains on."""

import contextlib

import keras

from tfhash.experiments import environment

# How to try out several devices on a machine that has one.
VIRTUAL = {
    "jax": "XLA_FLAGS=--xla_force_host_platform_device_count={count} (with JAX_PLATFORMS=cpu, where there "
    "is a GPU) makes virtual ones of the CPU, for a test",
    "tensorflow": "KERAS_BACKEND=jax XLA_FLAGS=--xla_force_host_platform_device_count={count} makes "
    "virtual ones of the CPU for JAX, for a test; for TensorFlow, "
    "tf.config.set_logical_device_configuration does in Python",
}


class Devices:
    """Finds so many devices, and lets models train on all of them together.

    Args:
        count: Number of devices, >= 1. The first GPUs are taken, or CPUs where there is no GPU.

    Raises:
        ValueError: If there are fewer, or the backend trains on one alone.

    Example:

    >>> Devices(1).plan(batch_size=64)
    []
    """

    def __init__(self, count):
        self.count = count
        self.names = []
        self._strategy = self._distribution = None
        if count == 1:
            return
        backend = keras.backend.backend()
        if backend not in VIRTUAL:
            raise ValueError(
                "`devices` above 1 needs KERAS_BACKEND=tensorflow or KERAS_BACKEND=jax. "
                f"Received: devices={count} on {backend}"
            )
        found = _tensorflow_devices() if backend == "tensorflow" else _jax_devices()
        if count > len(found):
            raise ValueError(
                f"`devices` must be at most {len(found)}: on {backend}, there is "
                f"{', '.join(found)}. Received: devices={count}. {VIRTUAL[backend].format(count=count)}"
            )
        self.names = found[:count]
        if backend == "tensorflow":
            import tensorflow as tf

            self._strategy = tf.distribute.MirroredStrategy(self.names)
        else:
            self._distribution = keras.distribution.DataParallel(devices=self.names)

    def in_force(self):
        """A context for the whole run."""
        return self._distribution.scope() if self._distribution else contextlib.nullcontext()

    def making_a_model(self):
        """A context for making a model that is to train."""
        return self._strategy.scope() if self._strategy else contextlib.nullcontext()

    def plan(self, batch_size):
        """What trains where, in sentences; none for one device.

        Raises:
            ValueError: If batches of this size cannot be divided.
        """
        if self.count == 1:
            return []
        if batch_size % self.count:
            raise ValueError(
                f"`batch_size` must be a multiple of `devices`, {self.count}. Received: batches of "
                f"{batch_size} items"
            )
        return [
            f"Trains on {self.count} devices ({', '.join(self.names)}): {batch_size // self.count} of "
            f"{batch_size} items of a batch on each, with the pairs of the whole batch"
        ]

    def about_precision(self, dtype_policy):
        """What a precision means for the speed of a CPU, in sentences; none if there is a GPU."""
        if keras.backend.backend() != "tensorflow" or _tensorflow_gpus():
            return []
        has_amx = "amx_bf16" in environment.extensions()
        if has_amx and dtype_policy == "float32":
            return [
                "Tip: this CPU has AMX. --dtype_policy=mixed_bfloat16 trains the built-in backbones in "
                "about half the time"
            ]
        if not has_amx and dtype_policy == "mixed_bfloat16":
            return [
                "Note: this CPU is not known to have AMX. Without it, mixed_bfloat16 is slower than float32"
            ]
        return []


def _tensorflow_gpus():
    import tensorflow as tf

    return tf.config.list_logical_devices("GPU")


def _tensorflow_devices():
    import tensorflow as tf

    found = _tensorflow_gpus() or tf.config.list_logical_devices("CPU")
    return [device.name.removeprefix("/device:") for device in found]


def _jax_devices():
    return keras.distribution.list_devices()
