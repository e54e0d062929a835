"""What happens during `fit`: the two stages, their backup, and retrieval quality."""

from tfhash.callbacks.retrieval import RetrievalEvaluation
from tfhash.callbacks.two_stage import TwoStageTraining

__all__ = ["RetrievalEvaluation", "TwoStageTraining"]
