"""Objectives on the relaxed codes and the labels of a batch.

All are `keras.losses.Loss` objects with the same call arguments, so any of them works in
`HashingModel.compile(hashing_loss=...)` and behind a `HashingLayer`. Labels are integers, or multi-hot
of 0 and 1. Labels that say nothing make an error, or a loss of NaN where values cannot be read: NaN, and
multi-hot labels between 0 and 1, as mixing images and smoothing make them, by which all pairs would be
similar.

Each follows the formula of its paper, with means over batch, pairs and mostly bits in place of sums, so
that its weights mean the same for every batch size and code length. Defaults without a reference were
chosen here.
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

__all__ = [
    "CSQLoss",
    "DCHLoss",
    "DPSHLoss",
    "DTSHLoss",
    "ExponentiatedHashingLoss",
    "GreedyHashLoss",
    "HashNetLoss",
    "OrthoHashLoss",
    "bilinear_pair_loss",
    "class_centers",
    "exponentiated_pair_loss",
]
