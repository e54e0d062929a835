"""The state of a training run on disk, safe against a kill at any moment."""

import json
import pathlib
import shutil

from tfhash import errors, files


class Backup:
    """Keeps the state after the last finished epoch in a directory.

    Each epoch writes weights and optimizer to a new file. `state.json` names the current file and is
    replaced last, so there always is one whole state to resume from.

    Args:
        directory: Directory of the state; created when the first epoch ends.
    """

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self._state_path = self.directory / "state.json"

    def read(self):
        """The saved state, a dictionary, or `None` if there is none."""
        if not self._state_path.exists():
            return None
        try:
            return json.loads(self._state_path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(
                f"{self._state_path} is not a training state: {errors.in_words(error)}. "
                f"Remove {self.directory} to start over"
            ) from error

    def load_weights(self, model, state):
        """Loads weights and optimizer of `state` into a model, which enters their stage."""
        model.load_weights(self.directory / state["weights"])

    def remove(self):
        """Removes the directory, the state first, so that a kill leaves no partial backup."""
        self._state_path.unlink(missing_ok=True)
        if self.directory.exists():
            shutil.rmtree(self.directory)

    def save(self, model, state):
        """Saves weights and optimizer of `model` with the JSON-like dictionary `state`."""
        weights = self.directory / f"epoch-{state['epochs_done']:04d}.weights.h5"
        with files.atomic_write(weights) as temporary:
            model.save_weights(temporary)
        files.write_json(self._state_path, {**state, "weights": weights.name})
        for old in self.directory.glob("epoch-*.weights.h5"):
            if old.name != weights.name:
                old.unlink()
