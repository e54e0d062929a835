"""What `HashingModel.fit` does with its arguments first."""

import keras
import numpy as np

from tfhash.data import ArrayBatches, sampling


def arrange_callbacks(arguments):
    """Lets the callback that runs the stages order the others, and start at its backup."""
    callbacks = arguments.get("callbacks")
    if callbacks is None or isinstance(callbacks, keras.callbacks.CallbackList):
        return
    callbacks = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
    runners = [callback for callback in callbacks if hasattr(callback, "arrange_callbacks")]
    if len(runners) > 1:
        raise ValueError(
            f"one callback runs the stages of a `fit`. Received: {len(runners)} of them"
        )
    for runner in runners:
        callbacks = runner.arrange_callbacks(callbacks)
        if done := runner.epochs_done():
            arguments["initial_epoch"] = done
    arguments["callbacks"] = callbacks


def balance_classes(arguments):
    """Replaces arrays by batches of classes x items where random batches lack similar pairs."""
    x, y = arguments.get("x"), arguments.get("y")
    is_weighted = any(arguments.get(f"{kind}_weight") is not None for kind in ("class", "sample"))
    if is_weighted or arguments.get("validation_split") or not arguments.get("shuffle", True):
        return
    if not (isinstance(x, np.ndarray) and isinstance(y, np.ndarray) and len(x) == len(y)):
        return
    batch_size = arguments.get("batch_size") or 32
    items_per_class = sampling.choose_items_per_class(y, batch_size)
    if items_per_class is None:
        return
    if arguments.get("verbose", "auto"):
        similar = sampling.similar_items_per_anchor(y, batch_size)
        print(
            f"A random batch of {batch_size} holds {similar:.2f} similar items per item: training on "
            f"batches of {batch_size // items_per_class} classes x {items_per_class} items instead "
            "(shuffle=False keeps your order)"
        )
    batches = ArrayBatches(
        x,
        y,
        batch_size,
        seed=int(np.random.randint(2**31)),  # drawn from the seed of keras.utils.set_random_seed
        first_epoch=arguments.get("initial_epoch", 0),
        items_per_class=items_per_class,
    )
    # The batches are endless, in order and of one size.
    steps = arguments.get("steps_per_epoch") or batches.steps_per_epoch
    arguments.update(x=batches, y=None, batch_size=None, shuffle=False, steps_per_epoch=steps)


def shape_of_images(x):
    """Shape of the batches `fit` will see, or `None` where only reading them would tell."""
    if isinstance(x, keras.utils.PyDataset):
        x = x[0][0]
    elif hasattr(x, "element_spec"):  # a tf.data.Dataset
        x = x.element_spec[0] if isinstance(x.element_spec, tuple) else x.element_spec
    is_known = getattr(getattr(x, "shape", None), "rank", 0) is not None
    return tuple(x.shape) if hasattr(x, "shape") and is_known else None
