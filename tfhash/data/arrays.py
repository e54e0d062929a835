"""Training batches from arrays in memory."""

import functools
import math

import keras
import numpy as np

from tfhash.data import sampling
from tfhash.labels import is_multi_hot


class ArrayBatches(keras.utils.PyDataset):
    """Endless training batches of arrays, for `fit` on every backend of Keras.

    Order and augmentation depend on the seed and the epoch alone, so a run resumed at epoch e sees
    the batches it would have seen without the break. Train with
    `fit(batches, steps_per_epoch=batches.steps_per_epoch, shuffle=False)`.

    Args:
        images: `[n, height, width, channels]`.
        labels: Labels of the images, NumPy: integers `[n]`, or multi-hot `[n, C]`.
        batch_size: Images in a batch, at most n; a smaller last batch of an epoch is dropped.
        seed: Integer >= 0.
        first_epoch: First epoch, counted from 0.
        augmentation: `tfhash.data.Augmentation`; by default none.
        augmented_epochs: Epochs with augmentation, counted from epoch 0.
        items_per_class: Items of one class in a batch of classes x items, >= 2; see
            `tfhash.data.sampling`. By default batches are random.

    Attributes:
        steps_per_epoch: Whole batches in an epoch.

    Raises:
        ValueError: If there are no images, not one label for each, or the augmentation does not
            suit them.

    Example:

    >>> import numpy as np
    >>> batches = ArrayBatches(np.zeros((9, 8, 8, 1), "uint8"), np.arange(9), 4, seed=0)
    >>> batches.steps_per_epoch, batches[7][0].shape
    (2, (4, 8, 8, 1))
    """

    def __init__(
        self,
        images,
        labels,
        batch_size,
        seed,
        first_epoch=0,
        augmentation=None,
        augmented_epochs=math.inf,
        items_per_class=None,
    ):
        super().__init__()
        if len(images) == 0 or len(images) != len(labels):
            raise ValueError(
                "there must be images, and one label for each. "
                f"Received: {len(images)} images and {len(labels)} labels"
            )
        if augmentation:
            augmentation.check(images.shape[1:])
        self.images, self.labels = images, np.asarray(labels)
        self.batch_size = min(batch_size, len(images))
        self.steps_per_epoch = len(images) // self.batch_size
        self.seed = seed
        self.first_epoch = first_epoch
        self.augmentation = augmentation
        self.augmented_epochs = augmented_epochs
        self.items_per_class = items_per_class
        self._order_of_epoch = functools.lru_cache(maxsize=1)(self._draw_order)

    @property
    def num_batches(self):
        return None  # endless

    def __getitem__(self, index):
        epoch, step = divmod(index, self.steps_per_epoch)
        epoch += self.first_epoch
        order = self._order_of_epoch(epoch)
        chosen = order[step * self.batch_size : (step + 1) * self.batch_size]
        images = self.images[chosen]
        if self.augmentation and epoch < self.augmented_epochs:
            images = self.augmentation(images, (self.seed, epoch, step))
        return images, self.labels[chosen]

    def _draw_order(self, epoch):
        return sampling.epoch_order(self.labels, self.seed, epoch, self.items_per_class)


class PartlyLabeledBatches(ArrayBatches):
    """Training batches of arrays in which some images have no label, one epoch at a time.

    An epoch takes the images that have a label, over and over until it is as long as one of all
    images. `tfhash.callbacks.SelfTraining` labels the others during training. Train with
    `fit(batches, shuffle=False)`, without `steps_per_epoch`: Keras then asks for the batches of an
    epoch after it has begun.

    Args:
        images, batch_size, seed, augmentation, augmented_epochs: As in `ArrayBatches`.
        labels: Integer labels `[n]`, NumPy; -1 where there is none.

    Attributes:
        is_labeled: Booleans `[n]`, which images came with a label.
        steps_per_epoch: Whole batches of all images.

    Raises:
        ValueError: As in `ArrayBatches`, or if no image has a label or some may have several.

    Example:

    >>> import numpy as np
    >>> batches = PartlyLabeledBatches(
    ...     np.zeros((9, 8, 8, 1), "uint8"), np.array([0, 1] + 7 * [-1]), 4, seed=0
    ... )
    >>> batches.steps_per_epoch, sorted(batches[0][1].tolist())
    (2, [0, 0, 1, 1])
    """

    def __init__(
        self, images, labels, batch_size, seed, augmentation=None, augmented_epochs=math.inf
    ):
        if is_multi_hot(np.asarray(labels)):
            raise ValueError(
                "`labels` must be integers [n], for pseudo-labels are of one class each. "
                f"Received: labels of shape {np.shape(labels)}"
            )
        super().__init__(
            images,
            np.array(labels),  # a copy, to write pseudo_labels into
            batch_size,
            seed,
            augmentation=augmentation,
            augmented_epochs=augmented_epochs,
        )
        self.is_labeled = self.labels >= 0
        if not self.is_labeled.any():
            raise ValueError(
                "some images must have a label. Received: labels that are all negative"
            )
        self._epoch = 0

    @property
    def num_batches(self):
        return self.steps_per_epoch  # Keras asks again in every epoch

    def begin_epoch(self, epoch, pseudo_labels):
        """Enters an epoch.

        Args:
            epoch: Counted from 0.
            pseudo_labels: Labels in it of the images that came without, in their order; -1 for none.
        """
        self._epoch = epoch
        self.labels[~self.is_labeled] = pseudo_labels
        self._order_of_epoch.cache_clear()

    def __getitem__(self, index):
        return super().__getitem__(self._epoch * self.steps_per_epoch + index)

    def _draw_order(self, epoch):
        rng = np.random.default_rng((self.seed, epoch))
        labeled = np.flatnonzero(self.labels >= 0)
        times = math.ceil(self.steps_per_epoch * self.batch_size / len(labeled))
        return np.concatenate([rng.permutation(labeled) for _ in range(times)])
