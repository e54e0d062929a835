"""What happens during `fit`: the two stages, their backup, and retrieval quality."""

from tfhash.callbacks.continuation import TanhContinuation
from tfhash.callbacks.estimate import TimeEstimate
from tfhash.callbacks.retrieval import RetrievalEvaluation
from tfhash.callbacks.two_stage import TwoStageTraining

__all__ = ["RetrievalEvaluation", "TanhContinuation", "TimeEstimate", "TwoStageTraining"]
