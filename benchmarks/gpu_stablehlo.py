"""Runs the StableHLO that TensorFlow lowers the ops to with JAX, and compares it with the CPU.

For a machine with a GPU and JAX, but no TensorFlow. On a machine with TensorFlow, --write saves the
StableHLO of every op, inputs (some with many ties) and the results of the CPU to a folder. Copy the
folder to the machine with the GPU and run it there. The report counts the results that are equal.

    python benchmarks/gpu_stablehlo.py --write
    python benchmarks/gpu_stablehlo.py

TensorFlow lowers the ops to plain HLO for a GPU, and with TFHASH_BUILD_CUDA=1 also to calls of the CUDA
kernels.
"""

import os
import pathlib

import numpy as np
from absl import app, flags

import tfhash_ops
from tfhash import files
from tfhash.experiments import environment

FLAGS = flags.FLAGS
flags.DEFINE_string("folder", "runs/stablehlo", "Folder of the StableHLO and its inputs.")
flags.DEFINE_bool("write", False, "Write the folder (with TensorFlow) instead of running it.")
flags.DEFINE_enum("platform", "GPU", ["GPU", "CPU"], "Platform that --write lowers for.")
flags.DEFINE_integer("seed", 0, "Seed of the inputs.")
flags.DEFINE_string("output", "benchmarks/results/gpu_stablehlo.json", "Result file.")

LENGTHS = (1, 2, 8, 12, 32)
QUERIES, ITEMS, K = 37, 5_000, 20

# Number of distinct values of a byte of the codes. The fewer, the more ties.
DISTINCT = (256, 2, 1)


def main(_):
    folder = pathlib.Path(FLAGS.folder)
    if FLAGS.write:
        write(folder, FLAGS.platform, FLAGS.seed)
    else:
        files.write_json(pathlib.Path(FLAGS.output), run(folder))


def ops(length):
    """The ops on codes of `length` bytes, as functions of codes and labels of both sides."""
    bits = 8 * length
    return {
        "distance": lambda q, d, ql, dl: tfhash_ops.hamming_distance(q, d),
        "top_k": lambda q, d, ql, dl: tfhash_ops.hamming_top_k(q, d, k=K),
        "within": lambda q, d, ql, dl: tfhash_ops.hamming_within(q, d, radius=bits // 3),
        "histogram": lambda q, d, ql, dl: tfhash_ops.hamming_histogram(q, d, ql, dl, bits=bits),
    }


def write(folder, platform, seed):
    """Writes OP-LENGTH-LOWERING.mlir and OP-LENGTH-DISTINCT.npz."""
    import tensorflow as tf

    folder.mkdir(parents=True, exist_ok=True)
    for length in LENGTHS:
        cases = {distinct: inputs(length, distinct, seed) for distinct in DISTINCT}
        specs = [tf.TensorSpec(side.shape, side.dtype) for side in cases[DISTINCT[0]]]
        for name, op in ops(length).items():
            for distinct, sides in cases.items():
                expected = [np.asarray(part) for part in tf.nest.flatten(op(*sides))]
                np.savez_compressed(
                    folder / f"{name}-{length}-{distinct}.npz",
                    **{f"input_{i}": part for i, part in enumerate(sides)},
                    **{f"expected_{i}": part for i, part in enumerate(expected)},
                )
            for lowering, wanted in {"plain": "0", "handlers": "1"}.items():
                os.environ["TFHASH_XLA_HANDLERS"] = wanted
                text_of = tf.function(op, jit_compile=True).experimental_get_compiler_ir(*specs)
                text = text_of(stage="stablehlo", platform_name=platform)
                if lowering == "plain" or "custom_call" in text:
                    (folder / f"{name}-{length}-{lowering}.mlir").write_text(text, encoding="utf-8")


def inputs(length, distinct, seed):
    """Packed codes and labels of queries and items, in the order of the arguments of the ops."""
    random = np.random.default_rng([seed, length, distinct])
    codes = random.choice(256, distinct, replace=False).astype("uint8")[
        random.integers(0, distinct, (QUERIES + ITEMS, length))
    ]
    labels = random.integers(0, 10, QUERIES + ITEMS)
    return codes[:QUERIES], codes[QUERIES:], labels[:QUERIES], labels[QUERIES:]


def run(folder):
    """Compiles every program of a folder with JAX and runs it on all matching inputs.

    Returns:
        Dictionary for a report.

    Raises:
        AssertionError: If a result differs from that of the CPU.
    """
    import jax
    from jaxlib import xla_client

    import tfhash_ops.jax as hamming

    device = jax.devices()[0]
    if tfhash_ops.is_compiled():
        # The first call registers the handlers with XLA.
        hamming.hamming_distance(*np.zeros((2, 1, 1), "uint8")).block_until_ready()
    report = {
        "device": device.device_kind,
        **environment.describe(["jax", "jaxlib"]),
        "queries": QUERIES,
        "items": ITEMS,
        "equal_results": {},
    }
    programs = sorted(folder.glob("*.mlir"))
    if not programs:
        raise SystemExit(
            f"{folder} holds no programs. Write them with --write on a machine with TensorFlow"
        )
    for program in programs:
        compiled = device.client.compile_and_load(
            program.read_bytes(), xla_client.DeviceList((device,)), xla_client.CompileOptions()
        )
        cases = sorted(folder.glob(f"{program.stem.rpartition('-')[0]}-*.npz"))
        for case in cases:
            with np.load(case) as arrays:
                sides, expected = (in_order(arrays, kind) for kind in ("input", "expected"))
            assert_equal(execute(jax, compiled, sides, device), expected, f"{program} on {case}")
        report["equal_results"][program.stem] = len(cases)
        print(f"{program.stem}: equal on {len(cases)} inputs", flush=True)
    return report


def in_order(arrays, kind):
    return [arrays[f"{kind}_{i}"] for i in range(sum(name.startswith(kind) for name in arrays))]


def execute(jax, compiled, sides, device):
    with jax.enable_x64(True):
        placed = [jax.device_put(side, device) for side in sides]
        results = compiled.execute_sharded(placed).disassemble_into_single_device_arrays()
        return [np.asarray(result[0]) for result in results]


def assert_equal(found, expected, where):
    for part, whole in zip(found, expected, strict=True):
        # Results within a radius are padded to the largest possible size.
        kept = part[tuple(map(slice, whole.shape))]
        np.testing.assert_array_equal(kept, whole, err_msg=where)


if __name__ == "__main__":
    app.run(main)
