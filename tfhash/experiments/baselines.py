"""What any useful codes must beat."""

import keras

from tfhash import codes
from tfhash.experiments.measurement import measure_codes
from tfhash.keras_private import sublayers


def measure_baselines(splits, variant, progress, untrained, classifier=None):
    """Measures two baselines like any codes.

    Args:
        splits, variant, progress: As in `tfhash.experiments.measurement.measure`.
        untrained: The network before training, see `with_batch_statistics`.
        classifier: The network after pre-training, or `None` if there was none. Its code is the
            number of the predicted class, in as few bits as the classes need; of several labels,
            it predicts one.

    Returns:
        Dictionary from the baseline's name to its `bits` and `metrics`.
    """
    progress.say("Measuring the baselines")
    encoders = {"untrained network": (untrained.bits, untrained.encode)}
    if classifier is not None:
        encoders["predicted class"] = class_encoder(classifier)
    found = {}
    for name, (bits, encode) in encoders.items():
        queries, database = (encode(split.batches()) for split in (splits.queries, splits.database))
        _, measured = measure_codes(queries, database, splits, bits, variant)
        found[name] = {"bits": bits, "metrics": measured}
    return found


def with_batch_statistics(model, images):
    """Copies a model and gives its batch normalizations the statistics of these images.

    A network that was never trained has statistics of no images, and nearly all its codes are alike.

    Args:
        model: Built `HashingModel`; it is not changed.
        images: A batch of some hundreds.
    """
    network = model.uncompiled_copy()
    layers = [
        layer for layer in sublayers(network) if isinstance(layer, keras.layers.BatchNormalization)
    ]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0  # one batch instead of a moving average
    network(images, training=True)
    for layer, momentum in zip(layers, momenta):
        layer.momentum = momentum
    return network


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
