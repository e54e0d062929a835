"""The compiled libraries: where they are, whether they fit, what they run on."""

import ctypes
import functools
import os
import pathlib
import warnings

_FOLDER = pathlib.Path(__file__).parent


def is_compiled():
    """Tells whether the package was installed with its compiled libraries.

    Example:

    >>> isinstance(is_compiled(), bool)
    True
    """
    return (_FOLDER / "libtfhash_core.so").exists()


@functools.cache
def warn_if_not_compiled():
    """Says once that other operations stand in for the compiled ones, if they do."""
    if not is_compiled():
        warnings.warn(
            "tfhash_ops was installed without its compiled libraries (TFHASH_BUILD_OPS=0); stock "
            "operations give the same results, far more slowly",
            RuntimeWarning,
            stacklevel=3,
        )


def cpu_kernel():
    """Name of the kernel that compares codes on this CPU.

    It is the fastest one the CPU can run, unless the environment variable
    `TFHASH_CPU_KERNEL` names another.

    Returns:
        One of `supported_cpu_kernels()`.

    Raises:
        ImportError: If the package was installed without its compiled libraries.
        ValueError: If `TFHASH_CPU_KERNEL` names a kernel this CPU cannot run.
    """
    name = core().TfhashCpuKernel()
    if name is None:
        raise ValueError(
            "TFHASH_CPU_KERNEL must name a kernel this CPU can run, one of "
            f"{', '.join(supported_cpu_kernels())}, or be unset. "
            f"Received: {os.environ.get('TFHASH_CPU_KERNEL')}"
        )
    return name.decode()


def supported_cpu_kernels():
    """Names of the kernels this CPU can run, the fastest first.

    Returns:
        A list of some of `"avx512"`, `"avx2"`, `"neon"`, and always `"scalar"` at the end.

    Raises:
        ImportError: If the package was installed without its compiled libraries.
    """
    return core().TfhashSupportedCpuKernels().decode().split()


@functools.cache
def core():
    """The library that knows nothing of TensorFlow, as `ctypes.CDLL`.

    Raises:
        ImportError: If it was not built.
    """
    path = _FOLDER / "libtfhash_core.so"
    if not is_compiled():
        raise ImportError(
            f"tfhash_ops was installed without its compiled libraries: expected {path}. Install "
            "it again, without TFHASH_BUILD_OPS=0 and with a C++17 compiler on the machine"
        )
    library = ctypes.CDLL(str(path))
    for name in ("TfhashTensorflowVersion", "TfhashCpuKernel", "TfhashSupportedCpuKernels"):
        getattr(library, name).restype = ctypes.c_char_p
    return library


@functools.cache
def cuda():
    """The library of kernels for NVIDIA GPUs, as `ctypes.CDLL`; None if it was not built."""
    path = _FOLDER / "libtfhash_cuda.so"
    return ctypes.CDLL(str(path)) if path.exists() else None


def tensorflow_ops():
    """The module of compiled TensorFlow ops.

    Raises:
        ImportError: If the library was built for another TensorFlow, or not at all.
    """
    import tensorflow as tf

    built_for = core().TfhashTensorflowVersion().decode()
    if built_for != tf.__version__:
        compiled_for = f"TensorFlow {built_for}" if built_for else "JAX alone"
        raise ImportError(
            f"tfhash_ops was compiled for {compiled_for}, and this is TensorFlow "
            f"{tf.__version__}. Install tfhash again in this environment (pip install "
            "--no-build-isolation --force-reinstall --no-deps), or that TensorFlow"
        )
    return tf.load_op_library(str(_FOLDER / "libtfhash_ops.so"))
