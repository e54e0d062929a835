"""Distant binary codes, one per class."""

import numpy as np

# Number of random codes from which the next center is chosen.
CANDIDATES = 1000


def class_centers(num_classes, bits, seed=0):
    """Centers of the classes, far from each other in Hamming distance.

    If `bits` is a power of two and there are at most `2 bits` classes, the centers are the rows of a
    Hadamard matrix with random signs, and their negatives, at least `bits / 2` apart. Otherwise each
    center is the one of many random balanced codes that is farthest from the centers before it, or of
    all codes when no balanced one is left.

    Args:
        num_classes: Number of classes, 1 to `2**bits`.
        bits: Length of the codes, >= 1.
        seed: Seed of the random signs and codes.

    Returns:
        NumPy float32 `[num_classes, bits]`, values -1 and +1; all rows differ.

    Raises:
        ValueError: If there are fewer codes than classes.

    Example:

    >>> class_centers(3, bits=2).tolist()
    [[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]

    Reference: Yuan, Wang, Zhang, Tay, Jie, Liu and Feng, "Central Similarity Quantization for
    Efficient Image and Video Retrieval" (CVPR 2020); the random signs and the choice among
    random codes are derived here.
    """
    if num_classes > 2**bits:
        raise ValueError(
            "`num_classes` must be at most 2**bits, so that each class has a distinct center. "
            f"Received: num_classes={num_classes} and bits={bits}"
        )
    rng = np.random.default_rng(seed)
    if bits & (bits - 1) == 0 and num_classes <= 2 * bits:
        hadamard = np.ones((1, 1), "float32")
        while len(hadamard) < bits:
            hadamard = np.kron(np.array([[1, 1], [1, -1]], "float32"), hadamard)
        # Random signs, because the first rows share columns, whose bits would not separate any classes.
        rows = rng.choice(np.array([-1, 1], "float32"), (bits, 1)) * hadamard
        return np.concatenate([rows, -rows])[:num_classes]
    balanced = np.where(np.arange(bits) % 2, -1, 1).astype("float32")
    centers = np.empty((num_classes, bits), "float32")
    for i in range(num_classes):
        candidates = rng.permuted(np.tile(balanced, (CANDIDATES, 1)), axis=1)
        centers[i], agreement = _farthest(candidates, centers[:i])
        if agreement == bits:  # the center of another class: no balanced code is left
            centers[i], _ = _farthest(_all_codes(bits), centers[:i])
    return centers


def _farthest(candidates, centers):
    """The candidate farthest from its nearest center, and its inner product with that center."""
    agreements = (candidates @ centers.T).max(axis=1, initial=-candidates.shape[1])
    best = np.argmin(agreements)
    return candidates[best], agreements[best]


def _all_codes(bits):
    numbers = np.arange(2**bits)[:, None]
    return np.where(numbers >> np.arange(bits) & 1, -1, 1).astype("float32")
