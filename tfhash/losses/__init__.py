"""Objectives on the relaxed codes and the labels of a batch.

All of them are `keras.losses.Loss` objects. Those of codes have the same call arguments, so that one
can take the place of another in `HashingModel.compile(hashing_loss=...)` or behind a `HashingLayer`;
`SmoothedCrossentropy` is that of pre-training, on logits. Keras hands labels over in the precision of
the codes, so that integers must be below 2^24.

Each follows its paper's formula, but is a mean over a batch or pairs where the paper has a sum, and
most over bits, so that its weights mean the same for every batch and length of code; where a
docstring names no paper for a default, it was chosen here.
"""

from tfhash.losses.centers import class_centers
from tfhash.losses.csq import CSQLoss
from tfhash.losses.dch import DCHLoss
from tfhash.losses.dpsh import DPSHLoss
from tfhash.losses.dtsh import DTSHLoss
from tfhash.losses.exponentiated import (
    ExponentiatedHashingLoss,
    bilinear_pair_loss,
    exponentiated_pair_loss,
)
from tfhash.losses.greedyhash import GreedyHashLoss
from tfhash.losses.hashnet import HashNetLoss
from tfhash.losses.orthohash import OrthoHashLoss
from tfhash.losses.smoothed import SmoothedCrossentropy

__all__ = [
    "CSQLoss",
    "DCHLoss",
    "DPSHLoss",
    "DTSHLoss",
    "ExponentiatedHashingLoss",
    "GreedyHashLoss",
    "HashNetLoss",
    "OrthoHashLoss",
    "SmoothedCrossentropy",
    "bilinear_pair_loss",
    "class_centers",
    "exponentiated_pair_loss",
]
