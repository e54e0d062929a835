"""What any useful codes must beat."""

import keras
import numpy as np
from keras import ops

from tfhash import codes
from tfhash.experiments.measurement import measure_among_queries, measure_codes
from tfhash.keras_private import sublayers

UNTRAINED, UNTRAINED_HEAD = "untrained network", "untrained head"


def measure_baselines(splits, variant, progress, untrained, classifier=None, is_pretrained=False):
    """Measures two baselines like any codes.

    Args:
        splits, variant, progress: As in `tfhash.experiments.measurement.measure`.
        untrained: The network before training, see `with_batch_statistics`.
        classifier: The network after pre-training, or `None` if there was none. Its code is the
            number of the predicted class, in as few bits as the classes need; of several labels,
            it predicts one.
        is_pretrained: Whether the backbone of `untrained` was trained before, so that its head alone
            is untrained.

    Returns:
        Dictionary from the baseline's name to its `bits` and `metrics`.
    """
    progress.say("Measuring the baselines")
    name = UNTRAINED_HEAD if is_pretrained else UNTRAINED
    encoders = {name: (untrained.bits, untrained.encode)}
    if classifier is not None:
        encoders["predicted class"] = class_encoder(classifier)
    found = {}
    for name, (bits, encode) in encoders.items():
        queries, database = (encode(split.batches()) for split in (splits.queries, splits.database))
        _, measured = measure_codes(queries, database, splits, bits, variant)
        _, of_unseen = measure_among_queries(queries, splits, bits, variant)
        found[name] = {
            "bits": bits,
            "metrics": measured,
            "unseen_items": {"metrics": of_unseen},
        }
    return found


def with_batch_statistics(model, images, is_pretrained=False):
    """Copies a model and gives its batch normalizations the statistics of these images.

    A network that was never trained has statistics of no images, and nearly all its codes are alike.

    Args:
        model: Built `HashingModel`; it is not changed.
        images: A batch of some hundreds.
        is_pretrained: Whether the backbone has statistics already, so that the head alone gets some.
    """
    network = model.uncompiled_copy()
    part = network.hashing if is_pretrained else network
    layers = [
        layer for layer in sublayers(part) if isinstance(layer, keras.layers.BatchNormalization)
    ]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0  # one batch instead of a moving average
    if is_pretrained:
        network.hashing(_features(network, images), training=True)
    else:
        network(images, training=True)
    for layer, momentum in zip(layers, momenta):
        layer.momentum = momentum
    return network


def _features(network, images, batch_size=32):
    """Features of images, NumPy `[n, f]`; in batches, because images may be large."""
    starts = range(0, len(images), batch_size)
    batches = (network.preprocessing(images[start : start + batch_size]) for start in starts)
    found = [ops.convert_to_numpy(network.backbone(batch, training=False)) for batch in batches]
    return np.concatenate(found).astype("float32")


def class_encoder(classifier):
    """Encodes images by the class that a model predicts.

    Returns:
        `(bits, encode)`: as few bits as the classes need, and a function from images to the packed
        numbers of their classes.
    """
    bits = (classifier.num_classes - 1).bit_length()
    return bits, lambda images: numbers_as_codes(classifier.classify(images), bits)


def numbers_as_codes(numbers, bits):
    """Integers below 2^bits, NumPy `[n]`, as packed codes."""
    as_bytes = numbers.astype("<u4").view("uint8").reshape(-1, 4)
    return as_bytes[:, : codes.packed_length(bits)]
