"""The items of the other replicas of a `tf.distribute` strategy.

Under such a strategy each replica computes the loss of its part of a batch. The pairs of a batch are
those of all its items, so the codes and labels of all replicas are gathered first. On JAX, Keras
distributes arrays that already are the whole batch.
"""

import keras


def num_replicas():
    """Number of replicas that train together, 1 without a `tf.distribute` strategy.

    Example:

    >>> num_replicas()
    1
    """
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def gather(*tensors):
    """Joins tensors with those of the other replicas.

    Gradients flow back to all replicas: where each adds the loss of its items, every code gets
    the gradient of the whole batch.

    Args:
        *tensors: Of shape `[n, ...]`, with the n items of this replica.

    Returns:
        The tensors of all replicas, joined along the first axis, and a function that takes values
        `[total, ...]` to those of this replica `[n, ...]`. Outside of a replica, the tensors
        themselves and the identity.

    Example:

    >>> import numpy as np
    >>> labels, own = gather(np.array([0, 1]))
    >>> own(labels).tolist()
    [0, 1]
    """
    # In the context of a strategy but of none of its replicas there is nothing to gather.
    context = _replica_context() if num_replicas() > 1 else None
    if context is None:
        return *tensors, lambda values: values
    import tensorflow as tf

    tensors = tuple(tf.convert_to_tensor(tensor) for tensor in tensors)
    counts = context.all_gather(tf.shape(tensors[0])[:1], axis=0)
    index = context.replica_id_in_sync_group
    begin = tf.reduce_sum(counts[:index])
    end = begin + counts[index]
    # What is gathered has lost its static shape.
    gathered = (
        tf.ensure_shape(context.all_gather(tensor, axis=0), (None, *tensor.shape[1:]))
        for tensor in tensors
    )
    return *gathered, lambda values: values[begin:end]


def check_strategy(strategy):
    """Raises `ValueError` for a `tf.distribute` strategy that losses here were not tested under.

    Args:
        strategy: A strategy, or `None`.

    Example:

    >>> check_strategy(None)
    """
    if strategy is None or keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    experimental = tf.distribute.experimental
    untested = {
        "MultiWorkerMirroredStrategy": (tf.distribute.MultiWorkerMirroredStrategy,),
        "ParameterServerStrategy": (tf.distribute.ParameterServerStrategy,),
        "TPUStrategy": (tf.distribute.TPUStrategy, experimental.TPUStrategy),
        "CentralStorageStrategy": (experimental.CentralStorageStrategy,),
    }
    for name, classes in untested.items():
        if isinstance(strategy, classes):
            raise ValueError(
                "on TensorFlow, tfhash trains under `tf.distribute.MirroredStrategy`, on the devices of "
                f"one process. Received: a {name}. Several processes train together on Keras's JAX "
                "backend: set KERAS_BACKEND=jax, call keras.distribution.initialize and train under "
                "keras.distribution.DataParallel; see docs/devices.md"
            )


def _replica_context():
    import tensorflow as tf

    return tf.distribute.get_replica_context()
