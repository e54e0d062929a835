"""Keras layers: the hashing head, and what raw images go through before a backbone learns."""

from tfhash.layers.hashing import HashingLayer
from tfhash.layers.scaling import ImageScaling
from tfhash.layers.whitening import PatchWhitening

__all__ = ["HashingLayer", "ImageScaling", "PatchWhitening"]
