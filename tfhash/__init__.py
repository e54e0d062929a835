"""tfhash learns short binary codes of images with Keras, and retrieves by them.

    from tfhash.callbacks import TwoStageTraining
    from tfhash.models import HashingModel, build_backbone

Modules, each of which imports only from those before it: `labels`, `files`, `codes`, `losses`,
`data`, `layers`, `metrics`, `models`, `callbacks`, `export`, `plots`, `cli`.
"""

__version__ = "0.1.0"
