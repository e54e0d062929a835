"""A SavedModel in a session, without what `tf.saved_model.load` adds in Python."""

import tensorflow as tf


class RawSession:
    """A SavedModel loaded by `tf.compat.v1`.

    Its `run` still compares what is fed with the shapes of the placeholders; a server does not.

    Args:
        directory: The version directory.
    """

    def __init__(self, directory):
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        with self._session.graph.as_default():
            loaded = tf.compat.v1.saved_model.load(self._session, ["serve"], str(directory))
        self.signatures = loaded.signature_def

    def run(self, signature, **inputs):
        """Runs a signature; a dictionary of arrays."""
        signature = self.signatures[signature]
        assert set(inputs) == set(signature.inputs)
        feed = {signature.inputs[name].name: value for name, value in inputs.items()}
        fetches = {name: info.name for name, info in signature.outputs.items()}
        return self._session.run(fetches, feed)
