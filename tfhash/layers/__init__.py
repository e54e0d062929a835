"""Keras layers: the two heads, image scaling and patch whitening."""

from tfhash.layers.classifier import ClassifierLayer
from tfhash.layers.hashing import HashingLayer
from tfhash.layers.scaling import ImageScaling
from tfhash.layers.whitening import PatchWhitening

__all__ = ["ClassifierLayer", "HashingLayer", "ImageScaling", "PatchWhitening"]
