"""From a Keras model to an ONNX file, by tf2onnx."""

import contextlib
import logging


def write(network, path):
    """Writes a functional model as an ONNX file.

    Keras's own export is not enough: it makes an input of the file of each tensor that a layer holds
    beside its weights, such as the mean of a `Normalization`, and knows no op for the exact GELU.

    Args:
        network: A functional model on Keras's TensorFlow backend that returns a dictionary of tensors.
            Its inputs and outputs keep their names.
        path: File to write.

    Raises:
        ValueError: If an op of the model has no counterpart.
    """
    import tensorflow as tf
    from tf2onnx import convert, tf_loader

    @tf.function
    def call(*inputs):
        return network(list(inputs) if len(inputs) > 1 else inputs[0], training=False)

    concrete = call.get_concrete_function(
        *(tf.TensorSpec(tensor.shape, tensor.dtype, tensor.name) for tensor in network.inputs)
    )
    # Tensors of layers come after the arguments. They become constants, as variables do.
    inputs = {tensor.name: like.name for tensor, like in zip(concrete.inputs, network.inputs)}
    outputs = {tensor.name: name for name, tensor in concrete.structured_outputs.items()}
    with _quiet("tf2onnx", "tensorflow"):
        convert.from_graph_def(
            tf_loader.from_function(concrete, list(inputs), list(outputs)),
            input_names=list(inputs),
            output_names=list(outputs),
            tensors_to_rename={**inputs, **outputs},
            custom_op_handlers={"Erfc": (_erfc, [])},
            output_path=str(path),
        )
    _check(path)


def _erfc(graph, node, name, args):
    """1 - Erf(x), for the op by which TensorFlow computes the exact GELU."""
    import numpy as np
    from tf2onnx import utils

    dtype, shape = graph.get_dtype(node.input[0]), graph.get_shape(node.input[0])
    inputs, outputs = node.input, node.output
    graph.remove_node(name)
    erf = graph.make_node("Erf", inputs, shapes=[shape], dtypes=[dtype])
    one = graph.make_const(utils.make_name("one"), np.ones((), utils.map_onnx_to_numpy_type(dtype)))
    graph.make_node(
        "Sub",
        [one.output[0], erf.output[0]],
        name=name,
        outputs=outputs,
        shapes=[shape],
        dtypes=[dtype],
    )


def _check(path):
    """Raises `ValueError` if a file has ops that ONNX lacks: tf2onnx writes those as they are."""
    import onnx

    nodes = onnx.load(path, load_external_data=False).graph.node
    missing = {node.op_type for node in nodes if not onnx.defs.has(node.op_type, node.domain)}
    if missing:
        raise ValueError(f"it has no op for {', '.join(sorted(missing))}")
    onnx.checker.check_model(str(path))


@contextlib.contextmanager
def _quiet(*names):
    """Hides what loggers say: what is amiss is raised, and TensorFlow warns of what tf2onnx calls."""
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before):
            logger.setLevel(level)
