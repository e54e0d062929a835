"""How many bits of the codes of an exported file differ from those of Keras."""

import dataclasses
import importlib
import pathlib

import numpy as np
from keras import ops

from tfhash import codes, encoding
from tfhash.errors import how_to_install
from tfhash.export.inputs import IMAGES, inputs_of

# A relaxed code nearer to 0 may have another sign in another runtime, which sums in another order.
MARGIN = 1e-4

BATCH = 256


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Bits of an exported file and of Keras; see `compare`.

    Args:
        images: Number of images compared.
        bits: Number of bits compared, over all images.
        differing: Bits that differ.
        near_zero: Bits whose relaxed code in Keras is at most `MARGIN` from 0, which need not agree.
        differing_elsewhere: Bits that differ though their relaxed code is farther from 0.
        largest_error: Largest difference of a relaxed code.
    """

    images: int
    bits: int
    differing: int
    near_zero: int
    differing_elsewhere: int
    largest_error: float

    def __str__(self):
        return (
            f"{self.differing:,} of {self.bits:,} bits of {self.images:,} images differ; "
            f"{self.near_zero:,} relaxed codes are within {MARGIN:g} of 0, and of the others "
            f"{self.differing_elsewhere:,} bits differ; relaxed codes differ by up to "
            f"{self.largest_error:.1e}"
        )


def compare(model, path, images, output=None):
    """Compares the codes of an ONNX or LiteRT file with those of the model it was made of.

    Args:
        model: The Keras model.
        path: File of `export_onnx` or `export_litert`.
        images: At least one image, an array as the model takes it; a dictionary of arrays by the names
            of the inputs if it has several.
        output: As it was exported.

    Returns:
        An `Agreement`.

    Raises:
        ImportError: If the extra that runs the file, `onnx` or `litert`, is missing.
        ValueError: If there are no images, or they have another size than the file takes.

    Example:

    >>> from tfhash.export import compare
    >>> print(compare(model, "photos.onnx", images))  # doctest: +SKIP
    0 of 46,080 bits of 1,440 images differ; ...
    """
    taken = inputs_of(model)
    arrays = images if isinstance(images, dict) else {IMAGES: images}
    arrays = {name: np.asarray(arrays[name], spec.dtype) for name, spec in taken.specs.items()}
    count = len(next(iter(arrays.values())))
    if count == 0:
        raise ValueError("`images` must contain at least one image. Received: 0")
    run = run_onnx if pathlib.Path(path).suffix == ".onnx" else run_litert
    found = run(path, arrays)
    expected = np.concatenate(
        [
            encoding.relaxed_codes(
                model,
                model.predict_on_batch(
                    taken.arranged({k: a[i : i + BATCH] for k, a in arrays.items()})
                ),
                output,
            )
            for i in range(0, count, BATCH)
        ]
    ).astype("float32")
    bits = expected.shape[1]
    signs = ops.convert_to_numpy(codes.binarize(expected))
    differ = ops.convert_to_numpy(codes.unpack(found["codes"], bits)) != signs
    near = np.abs(expected) <= MARGIN
    return Agreement(
        images=count,
        bits=differ.size,
        differing=int(differ.sum()),
        near_zero=int(near.sum()),
        differing_elsewhere=int((differ & ~near).sum()),
        largest_error=float(np.abs(found["relaxed_codes"] - expected).max()),
    )


def run_onnx(path, arrays):
    """Outputs of an ONNX file, a dictionary of arrays, for inputs by name. An empty batch gives empty outputs."""
    runtime = _import("onnxruntime", "onnx")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    _check_shapes({taken.name: taken.shape for taken in session.get_inputs()}, arrays)
    names = [output.name for output in session.get_outputs()]
    return _in_batches(lambda batch: dict(zip(names, session.run(names, batch))), arrays)


def run_litert(path, arrays):
    """Outputs of a LiteRT file, a dictionary of arrays, for inputs by name, a batch of at least one."""
    runtime = _import("ai_edge_litert.interpreter", "litert")
    signature = runtime.Interpreter(str(path)).get_signature_runner("serving_default")
    details = signature.get_input_details()
    # The runner would run on another size, or fail in the middle of the network.
    _check_shapes({name: taken["shape_signature"] for name, taken in details.items()}, arrays)
    if any(len(array) == 0 for array in arrays.values()):
        raise ValueError("LiteRT takes at least one image. Received: 0")
    return _in_batches(lambda batch: signature(**batch), arrays)


def _check_shapes(wanted, arrays):
    """Raises `ValueError` for another shape than a file takes, whose unknown sizes are -1 or names."""
    for name, sizes in wanted.items():
        shape = [
            size if isinstance(size, (int, np.integer)) and size >= 0 else None for size in sizes
        ]
        received = np.shape(arrays[name])
        if len(received) != len(shape) or any(
            size not in (None, found) for size, found in zip(shape, received)
        ):
            sizes = ", ".join("n" if size is None else str(size) for size in shape)
            raise ValueError(f"`{name}` must have the shape ({sizes}). Received: {received}")


def _in_batches(run, arrays):
    count = len(next(iter(arrays.values())))
    batches = [
        run({name: array[i : i + BATCH] for name, array in arrays.items()})
        for i in range(0, max(count, 1), BATCH)
    ]
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def _import(module, extra):
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ImportError(
            f"running the file needs {module.split('.')[0]}, which is not installed. "
            f"{how_to_install(extra)}"
        ) from None
