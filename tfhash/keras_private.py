"""The private names of Keras that tfhash uses, each with the reason."""


def sublayers(layer):
    """A layer and all layers below it, each once, parents first.

    Keras has no public walk over layers that a subclass keeps as attributes.
    """
    return list(layer._flatten_layers())


def momentum_of(optimizer, variable):
    """The variable in which an Adam optimizer keeps the mean of a variable's gradients.

    Keras has no public way from a variable to its slots.
    """
    return optimizer._momentums[optimizer._get_variable_index(variable)]
