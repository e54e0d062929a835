"""Keras layers: the hashing head, image scaling and patch whitening."""

from tfhash.layers.hashing import HashingLayer
from tfhash.layers.scaling import ImageScaling
from tfhash.layers.whitening import PatchWhitening

__all__ = ["HashingLayer", "ImageScaling", "PatchWhitening"]
