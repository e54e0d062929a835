"""Each process's share of training batches."""

import keras

from tfhash import devices


class ProcessShare(keras.utils.PyDataset):
    """What one of several processes reads of batches that all of them train on together.

    Every process makes the same batches, by the same seed, and this divides each of them. Train under
    `keras.distribution.DataParallel(auto_shard_dataset=False)`. With one process it is the batches
    themselves.

    Args:
        batches: A `keras.utils.PyDataset` of the whole batches, such as `tfhash.data.ArrayBatches`. Each
            is made whole in every process.
        process: Number of this process, counted from 0; by default that of the distribution.
        processes: Number of processes; by default that of the distribution.

    Raises:
        ValueError: If `batches` is no such dataset, or a batch has another number of items than a
            multiple of the processes.

    Example:

    >>> import numpy as np
    >>> from tfhash.data import ArrayBatches
    >>> batches = ArrayBatches(np.zeros((8, 8, 8, 1), "uint8"), np.arange(8), 4, seed=0)
    >>> shares = [ProcessShare(batches, process, processes=2) for process in range(2)]
    >>> [len(share[0][1]) for share in shares]
    [2, 2]
    """

    def __init__(self, batches, process=None, processes=None):
        if not isinstance(batches, keras.utils.PyDataset):
            raise ValueError(
                "`batches` must be a keras.utils.PyDataset. A tf.data.Dataset of whole batches is "
                f"divided by Keras. Received: a {type(batches).__name__}"
            )
        super().__init__(
            workers=batches.workers,
            use_multiprocessing=batches.use_multiprocessing,
            max_queue_size=batches.max_queue_size,
        )
        self.batches = batches
        self.process = devices.process_index() if process is None else process
        self.processes = devices.num_processes() if processes is None else processes

    @property
    def num_batches(self):
        return self.batches.num_batches

    def __getitem__(self, index):
        return keras.tree.map_structure(self._own, self.batches[index])

    def on_epoch_begin(self):
        self.batches.on_epoch_begin()

    def on_epoch_end(self):
        self.batches.on_epoch_end()

    def _own(self, array):
        size, rest = divmod(len(array), self.processes)
        if rest:
            raise ValueError(
                f"batches must be divisible among {self.processes} processes. "
                f"Received: a batch of {len(array)} items"
            )
        return array[self.process * size : (self.process + 1) * size]
