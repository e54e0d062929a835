"""What any useful codes must beat."""

import keras
import numpy as np
from keras import ops

from tfhash import codes, metrics
from tfhash.experiments.measurement import measure_among_queries, measure_codes
from tfhash.experiments.validation import count_answered
from tfhash.keras_private import sublayers
from tfhash.labels import is_multi_hot
from tfhash.losses import class_centers

UNTRAINED, UNTRAINED_HEAD = "untrained network", "untrained head"
PREDICTED_CLASS, SOFTMAX_CODE = "predicted class", "softmax code"

# Appended to the names of baselines of a classifier that trained as long as the codes.
WHOLE_TRAINING = ", whole training"

# Those nearest to 1 first: of equally good ones the first is taken.
TEMPERATURES = (1.0, 0.5, 2.0, 0.25, 4.0, 8.0, 16.0, 32.0)


class Baselines:
    """Measures baselines like any codes, queries against the database and among each other.

    Args:
        splits, variant, progress: As in `tfhash.experiments.measurement.measure`.

    Attributes:
        found: Dictionary from the name of a baseline to `what` it is, its `bits`, `metrics` and
            `unseen_items`; of the predicted class also its `accuracy` on the queries, if these are of
            classes that training saw; of the softmax code the `temperature`.
    """

    def __init__(self, splits, variant, progress):
        self.splits, self.variant, self.progress = splits, variant, progress
        self.found: dict[str, dict] = {}

    def add_untrained(self, network, is_pretrained=False):
        """Codes of a network before training, see `with_batch_statistics`.

        Args:
            network: `HashingModel`.
            is_pretrained: Whether its backbone was trained before, so that its head alone is
                untrained.
        """
        self.progress.say(f"Measuring the {UNTRAINED_HEAD if is_pretrained else UNTRAINED}")
        name, what = (
            (UNTRAINED_HEAD, "a random projection of the pre-trained features")
            if is_pretrained
            else (UNTRAINED, "the network before training")
        )
        self._add(name, what, network.bits, *map(network.encode, self._batches()))

    def add_classifier(self, classifier, bits, how_long, suffix=""):
        """The class that a classifier predicts, as a number, and the code of its probabilities.

        Args:
            classifier: `HashingModel`; of several labels of an item, it predicts one.
            bits: Length of the codes to compare with.
            how_long: How long it trained, in words.
            suffix: Appended to the names of the baselines.
        """
        self.progress.say(f"Measuring the classifier {how_long}")
        logits = [classifier.predict_logits(batches) for batches in self._batches()]
        class_bits = bits_of_classes(classifier.num_classes)
        self._add(
            PREDICTED_CLASS + suffix,
            f"the class, as a number, that a classifier predicts {how_long}",
            class_bits,
            *(class_codes(of_side, class_bits) for of_side in logits),
        )
        if self.splits.protocol != "unseen-classes":
            accuracy = accuracy_of(logits[0], self.splits.queries.labels)
            self.found[PREDICTED_CLASS + suffix]["accuracy"] = accuracy
        if classifier.num_classes > 2**bits:
            self.progress.say(
                f"no {SOFTMAX_CODE}: {classifier.num_classes:,} classes have no {bits} bits for each"
            )
            return
        codebook = class_centers(classifier.num_classes, bits)
        temperature = 1.0
        if count_answered(self.splits):
            validation = self.splits.validation
            of_validation = classifier.predict_logits(validation.batches())
            temperature = choose_temperature(of_validation, validation.labels, codebook)
        name = SOFTMAX_CODE + suffix
        self._add(
            name,
            f"signs of the mean of fixed codes of the classes, weighted by their probabilities {how_long}",
            bits,
            *(softmax_codes(of_side, codebook, temperature) for of_side in logits),
        )
        self.found[name]["temperature"] = temperature

    def _batches(self):
        return self.splits.queries.batches(), self.splits.database.batches()

    def _add(self, name, what, bits, queries, database):
        _, measured = measure_codes(queries, database, self.splits, bits, self.variant)
        _, of_unseen = measure_among_queries(queries, self.splits, bits, self.variant)
        self.found[name] = {
            "what": what,
            "bits": bits,
            "metrics": measured,
            "unseen_items": {"metrics": of_unseen},
        }


def bits_of_classes(num_classes):
    """Bits that the number of a class needs."""
    return (num_classes - 1).bit_length()


def accuracy_of(logits, labels):
    """Share of items whose class with the largest logit is one of their labels.

    Args:
        logits: NumPy float `[n, C]`.
        labels: Integers `[n]`, or multi-hot `[n, C]`.

    Example:

    >>> accuracy_of(np.array([[0.0, 2.0], [1.0, 0.0]]), np.array([1, 1]))
    0.5
    """
    predicted = np.argmax(logits, axis=1)
    if is_multi_hot(labels):
        return float(np.mean(labels[np.arange(len(labels)), predicted] > 0))
    return float(np.mean(np.reshape(labels, -1) == predicted))


def class_codes(logits, bits):
    """The numbers of the predicted classes as packed codes; logits are NumPy `[n, C]`."""
    return numbers_as_codes(np.argmax(logits, axis=1), bits)


def softmax_codes(logits, codebook, temperature):
    """Packed codes `sign(softmax(logits / temperature) @ codebook)`.

    Where a classifier is sure, this is the code of the class; where it hesitates, one between those of
    the classes in question. The higher the temperature, the more often it hesitates.

    Args:
        logits: NumPy float `[n, C]`.
        codebook: Codes of the classes, NumPy `[C, bits]`, values -1 and +1.
        temperature: Float > 0.

    Returns:
        NumPy `uint8 [n, ceil(bits / 8)]`.

    Example: the second item is between both classes, and all bits of theirs that agree are its own.

    >>> codebook = np.array([[1.0, 1.0, -1.0], [1.0, -1.0, 1.0]])
    >>> softmax_codes(np.array([[0.0, 9.0], [0.2, 0.0]]), codebook, 1.0).tolist()
    [[5], [3]]
    """
    scaled = (logits - logits.max(axis=1, keepdims=True)) / temperature
    weights = np.exp(scaled.astype("float64"))
    # Not divided by their sum, which changes no sign.
    return ops.convert_to_numpy(codes.pack(np.sign(weights @ codebook)))


def choose_temperature(logits, labels, codebook):
    """The temperature of `softmax_codes` with the highest mAP of items among each other.

    Args:
        logits: Of validation items, NumPy `[n, C]`.
        labels: Their labels, integers `[n]` or multi-hot `[n, C]`.
        codebook: As in `softmax_codes`.
    """

    def quality(temperature):
        packed = softmax_codes(logits, codebook, temperature)
        histograms = metrics.leave_one_out_histograms(packed, labels, codebook.shape[1])
        return metrics.mean_average_precision(histograms)

    # Rounded, so that among equals rounding errors do not choose.
    return max(TEMPERATURES, key=lambda temperature: round(quality(temperature), 9))


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


def numbers_as_codes(numbers, bits):
    """Integers below 2^bits, NumPy `[n]`, as packed codes."""
    as_bytes = numbers.astype("<u4").view("uint8").reshape(-1, 4)
    return as_bytes[:, : codes.packed_length(bits)]
