"""Hashing networks: built-in backbones, and the model that puts heads on any backbone."""

from tfhash.models.backbones import BACKBONES, build_backbone
from tfhash.models.fingerprint import fingerprint
from tfhash.models.hashing_model import HashingModel
from tfhash.models.stages import STAGES

__all__ = ["BACKBONES", "STAGES", "HashingModel", "build_backbone", "fingerprint"]
