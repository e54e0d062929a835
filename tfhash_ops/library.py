"""The compiled libraries: finding them, checking their versions, choosing a CPU kernel."""

import ctypes
import functools
import os
import pathlib
import warnings

_FOLDER = pathlib.Path(__file__).parent


def is_compiled():
    """Whether the package was installed with its compiled libraries.

    Example:

    >>> isinstance(is_compiled(), bool)
    True
    """
    return (_FOLDER / "libtfhash_core.so").exists()


@functools.cache
def warn_if_not_compiled():
    """Warns once if the package was installed without its compiled libraries.

    Example: nothing is said where they are, or a second time.

    >>> warn_if_not_compiled()
    """
    if not is_compiled():
        warnings.warn(
            "tfhash_ops was installed without its compiled libraries (TFHASH_BUILD_OPS=0). Stock "
            "TensorFlow or Keras ops replace them: same results, far slower",
            RuntimeWarning,
            stacklevel=3,
        )


def has_xla():
    """Whether the compiled ops also work inside `jit_compile=True` and under JAX.

    They do not where they were compiled against TensorFlow 2.19 or older, whose package lacks
    headers.

    Example:

    >>> isinstance(has_xla(), bool)
    True
    """
    return is_compiled() and bool(core().TfhashHasXla())


def cpu_kernel():
    """Name of the CPU kernel in use: by default the fastest one that this CPU can run.

    The environment variable `TFHASH_CPU_KERNEL` selects another.

    Returns:
        One of `supported_cpu_kernels()`.

    Raises:
        ImportError: If the package was installed without its compiled libraries.
        ValueError: If `TFHASH_CPU_KERNEL` names a kernel that this CPU cannot run.

    Example:

    >>> not is_compiled() or cpu_kernel() in supported_cpu_kernels()
    True
    """
    name = core().TfhashCpuKernel()
    if name is None:
        raise ValueError(
            "TFHASH_CPU_KERNEL must name a kernel that this CPU can run, one of "
            f"{', '.join(supported_cpu_kernels())}, or be unset. "
            f"Received: {os.environ.get('TFHASH_CPU_KERNEL')}"
        )
    return name.decode()


def supported_cpu_kernels():
    """Names of the CPU kernels that this CPU can run, fastest first.

    Returns:
        A list of strings from `"avx512"`, `"avx2"` and `"neon"`, and always `"scalar"` last.

    Raises:
        ImportError: If the package was installed without its compiled libraries.

    Example:

    >>> not is_compiled() or supported_cpu_kernels()[-1] == "scalar"
    True
    """
    return core().TfhashSupportedCpuKernels().decode().split()


def available_cpus():
    """Number of CPUs that this process may use.

    Example:

    >>> available_cpus() >= 1
    True
    """
    has_affinity = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1


@functools.cache
def core():
    """The compiled library that does not depend on TensorFlow, as `ctypes.CDLL`.

    Raises:
        ImportError: If it was not compiled.
    """
    path = _FOLDER / "libtfhash_core.so"
    if not is_compiled():
        raise ImportError(
            f"tfhash_ops was installed without its compiled libraries: {path} does not exist. "
            "Install a C++17 compiler, unset TFHASH_BUILD_OPS, and reinstall tfhash"
        )
    library = ctypes.CDLL(str(path))
    for name in ("TfhashTensorflowVersion", "TfhashCpuKernel", "TfhashSupportedCpuKernels"):
        getattr(library, name).restype = ctypes.c_char_p
    return library


@functools.cache
def cuda():
    """The library of CUDA kernels, as `ctypes.CDLL`; None if it was not compiled."""
    path = _FOLDER / "libtfhash_cuda.so"
    return ctypes.CDLL(str(path)) if path.exists() else None


def tensorflow_ops():
    """The module of compiled TensorFlow ops.

    Raises:
        ImportError: If the library was compiled for another TensorFlow version, or not at all.
    """
    import tensorflow as tf

    built_for = core().TfhashTensorflowVersion().decode()
    if built_for != tf.__version__:
        compiled_for = f"TensorFlow {built_for}" if built_for else "JAX only"
        raise ImportError(
            f"tfhash_ops was compiled for {compiled_for}, but TensorFlow {tf.__version__} is "
            "installed. Reinstall tfhash in this environment (pip install --force-reinstall --no-deps), "
            "or install the TensorFlow it was compiled for"
        )
    return tf.load_op_library(str(_FOLDER / "libtfhash_ops.so"))
