"""The private names of Keras that tfhash uses, each with the reason."""


def sublayers(layer):
    """A layer and all layers below it, each once, parents first.

    Keras has no public walk over layers that a subclass keeps as attributes.
    """
    return list(layer._flatten_layers())
