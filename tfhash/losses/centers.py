"""Binary codes far from each other, one for each class."""

import numpy as np

# Random codes among which each next centre is the one farthest from those before it.
CANDIDATES = 1000


def class_centers(num_classes, bits, seed=0):
    """Centres of the classes, far from each other in Hamming distance.

    Where `bits` is a power of two and there are at most `2 bits` classes, they are rows of a
    Hadamard matrix and of its negative, at least `bits / 2` apart. Elsewhere each is the farthest
    from those before it among random codes of as many +1 as -1.

    Args:
        num_classes: Number of classes, >= 1.
        bits: Length of the codes, >= 1.
        seed: Seed of the random codes.

    Returns:
        NumPy float32 `[num_classes, bits]`, values -1 and +1.

    Example:

    >>> class_centers(3, bits=2).tolist()
    [[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]

    Reference: Yuan, Wang, Zhang, Tay, Jie, Liu and Feng, "Central Similarity Quantization for
    Efficient Image and Video Retrieval" (CVPR 2020); the choice among random codes is
    derived here.
    """
    if bits & (bits - 1) == 0 and num_classes <= 2 * bits:
        hadamard = np.ones((1, 1), "float32")
        while len(hadamard) < bits:
            hadamard = np.kron(np.array([[1, 1], [1, -1]], "float32"), hadamard)
        return np.concatenate([hadamard, -hadamard])[:num_classes]
    rng = np.random.default_rng(seed)
    balanced = np.where(np.arange(bits) % 2, -1, 1).astype("float32")
    centers = np.empty((num_classes, bits), "float32")
    for i in range(num_classes):
        candidates = rng.permuted(np.tile(balanced, (CANDIDATES, 1)), axis=1)
        nearest = (candidates @ centers[:i].T).max(axis=1, initial=-bits)
        centers[i] = candidates[np.argmin(nearest)]
    return centers
