"""What TensorBoard shows of retrieval: figures, code health, neighbors, and codes in its projector.

Needs TensorFlow, whose event files these are, on every backend.
"""

import importlib.util
import math
import pathlib

import numpy as np
from keras import ops

import tfhash_ops
from tfhash import codes, files, metrics
from tfhash.labels import count_shared, lists
from tfhash.text import printable

# Below the directory that TensorBoard is pointed at, beside `train` and `validation` of Keras.
RUN = "retrieval"

# Items that are shown: in the projector, whose sprite takes their thumbnails, and as queries.
SAMPLE_ITEMS, QUERIES_SHOWN, NEIGHBORS_SHOWN = 500, 8, 8

CODES, LABELS, SPRITE = "codes.tsv", "labels.tsv", "sprite.png"

# The largest side of a sprite that browsers show.
_SPRITE_SIDE = 8192


def check_installed():
    """Raises `ImportError` unless the packages that write for TensorBoard are installed."""
    for package in ("tensorflow", "tensorboard"):
        if importlib.util.find_spec(package) is None:
            raise ImportError(f"`log_dir` needs {package}. Run `pip install {package}`")


def sample_of(data):
    """Some images and their labels, from all over the data: it may be ordered by class.

    Args:
        data: `(images, labels)` arrays, or a dataset of such batches, which is read once; no more
            than a sample and a batch of it are in memory.

    Returns:
        `(images, labels)`, NumPy, up to `SAMPLE_ITEMS` of each.
    """
    if isinstance(data, (tuple, list)):
        images, labels = (np.asarray(part) for part in data)
    else:
        images, labels = (np.stack(part) for part in zip(*_reservoir(data)))
    chosen = np.linspace(0, len(images) - 1, min(SAMPLE_ITEMS, len(images))).astype(int)
    return images[chosen], labels[chosen]


class RetrievalLog:
    """Event files of the retrieval quality of a model in training.

    Args:
        log_dir: Directory that TensorBoard is pointed at; files are written into `retrieval/` in it.
        images: A sample of held-out images, NumPy `[n, height, width, channels]`, values 0 to 255.
        labels: Their labels: integers `[n]`, or multi-hot `[n, C]`.
        class_names: Names of the classes; by default their numbers are shown.
    """

    def __init__(self, log_dir, images, labels, class_names=None):
        import tensorflow as tf

        self._directory = pathlib.Path(log_dir, RUN)
        self._images, self._labels = images, labels
        self._words = [_in_words(each, class_names) for each in lists(labels)]
        self._writer = tf.summary.create_file_writer(str(self._directory))

    def write(self, step, figures, packed, bits):
        """Writes the figures of an epoch, and the health of the codes.

        Args:
            step: Number of the epoch, from 0.
            figures: Dictionary from a name to a number.
            packed: Packed codes of the queries, `uint8 [n, ceil(bits / 8)]`.
            bits: Length of a code.
        """
        import tensorflow as tf

        correlation = metrics.bit_correlation(packed, bits)
        with self._writer.as_default(step):
            for name, value in figures.items():
                tf.summary.scalar(name, value)
            tf.summary.scalar("codes/distinct_share", _distinct_share(packed))
            tf.summary.histogram("codes/bit_balance", metrics.bit_balance(packed, bits))
            tf.summary.histogram("codes/bit_correlation", correlation[np.triu_indices(bits, k=1)])

    def write_neighbors(self, step, packed):
        """Writes a picture of some queries of the sample with their nearest items in it.

        Args:
            step: Number of the epoch, from 0.
            packed: Packed codes of the sample, `uint8 [n, ceil(bits / 8)]`.
        """
        import tensorflow as tf

        with self._writer.as_default(step):
            tf.summary.image("neighbors", _neighbors(self._images, self._labels, packed)[None])
        self._writer.flush()

    def finish(self, packed, bits):
        """Writes codes of the sample for the embedding projector, with labels and thumbnails.

        Args:
            packed: Packed codes of the sample, `uint8 [n, ceil(bits / 8)]`.
            bits: Length of a code.
        """
        from tensorboard.plugins import projector

        self._writer.close()
        signs = np.asarray(codes.unpack(packed, bits)).astype(int)
        _write(self._directory / CODES, "".join("\t".join(map(str, row)) + "\n" for row in signs))
        _write(self._directory / LABELS, "".join(f"{words}\n" for words in self._words))
        config = projector.ProjectorConfig()
        embedding = config.embeddings.add(
            tensor_name="codes",
            tensor_shape=signs.shape,
            tensor_path=CODES,
            metadata_path=LABELS,
        )
        sides = _write_sprite(self._directory / SPRITE, self._images)
        if sides:
            embedding.sprite.image_path = SPRITE
            embedding.sprite.single_image_dim.extend(sides)
        projector.visualize_embeddings(str(self._directory), config)


def _reservoir(batches):
    """`(image, label)` of a uniform sample, in the order of the data: algorithm R (Vitter, 1985)."""
    rng = np.random.default_rng(0)
    kept, seen = {}, 0  # by place: number of the item, image, label
    for images, labels, *_ in batches:
        images, labels = ops.convert_to_numpy(images), ops.convert_to_numpy(labels)
        numbers = np.arange(seen, seen + len(images))
        places = np.where(numbers < SAMPLE_ITEMS, numbers, rng.integers(numbers + 1))
        for i in np.flatnonzero(places < SAMPLE_ITEMS):
            # Copies, for a view would hold the batch.
            kept[int(places[i])] = int(numbers[i]), np.array(images[i]), np.array(labels[i])
        seen += len(images)
    return [item[1:] for item in sorted(kept.values(), key=lambda item: item[0])]


def _distinct_share(packed):
    return metrics.count_distinct_codes(packed) / len(packed)


def _in_words(labels, class_names):
    """Labels of an item on one line."""
    names = [class_names[label] if class_names else str(label) for label in labels if label >= 0]
    return printable(", ".join(names), longest=200) or "-"


def _neighbors(images, labels, packed):
    """The picture, NumPy `uint8 [height, width, 4]`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from tfhash import plots

    chosen = np.linspace(0, len(packed) - 1, min(QUERIES_SHOWN, len(packed))).astype(int)
    shown = min(NEIGHBORS_SHOWN, len(packed) - 1)
    distances, nearest = (
        np.asarray(part) for part in tfhash_ops.hamming_top_k(packed[chosen], packed, shown + 1)
    )
    # A query is not its own neighbor. It may be missing where more items have its code.
    others = nearest != chosen[:, None]
    others[others.all(axis=1), -1] = False
    rows = len(chosen), shown
    nearest, distances = nearest[others].reshape(rows), distances[others].reshape(rows)
    relevant = np.array(
        [
            count_shared(labels[[query]], labels[items])[0] > 0
            for query, items in zip(chosen, nearest)
        ]
    ).reshape(rows)
    figure = plots.plot_neighbors(images[chosen], images[nearest], relevant, distances)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def _write_sprite(path, images):
    """Writes thumbnails row by row in a square; returns `(width, height)` of one, or none."""
    import tensorflow as tf

    columns = math.ceil(math.sqrt(len(images)))
    height, width = images.shape[1:3]
    shrink = max(1, math.ceil(columns * max(height, width) / _SPRITE_SIDE))
    images = np.clip(images[:, ::shrink, ::shrink], 0, 255).astype(np.uint8)
    height, width = images.shape[1:3]
    missing = columns**2 - len(images)
    images = np.pad(images, ((0, missing), (0, 0), (0, 0), (0, 0)), constant_values=255)
    grid = images.reshape(columns, columns, height, width, -1).swapaxes(1, 2)
    sprite = grid.reshape(columns * height, columns * width, -1)
    with files.atomic_write(path) as temporary:
        temporary.write_bytes(tf.io.encode_png(sprite).numpy())
    return width, height


def _write(path, text):
    with files.atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
