"""What happens during `fit`: the two stages, their backup, self-training, retrieval quality."""

from tfhash.callbacks.continuation import TanhContinuation
from tfhash.callbacks.estimate import TimeEstimate
from tfhash.callbacks.retrieval import RetrievalEvaluation
from tfhash.callbacks.self_training import SelfTraining
from tfhash.callbacks.two_stage import TwoStageTraining

__all__ = [
    "RetrievalEvaluation",
    "SelfTraining",
    "TanhContinuation",
    "TimeEstimate",
    "TwoStageTraining",
]
