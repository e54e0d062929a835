"""The flag that names a trained model."""

import dataclasses

from tfhash.experiments.settings import Settings, setting


@dataclasses.dataclass(frozen=True)
class Model(Settings):
    """A trained model."""

    model: str | None = setting(None, "Directory of a run, or a .keras file.")
