"""What `HashingModel.compile` takes."""

import keras

# Arguments of `keras.Model.compile` that stages replace, and what to do instead.
INSTEAD = {
    "loss": "Pass `hashing_loss` for fine-tuning and `classification_loss` for pre-training",
    "metrics": "The logs have the accuracy of pre-training and the saturation of the codes; "
    "`tfhash.callbacks.RetrievalEvaluation` adds the retrieval quality",
}
INSTEAD["loss_weights"] = INSTEAD["loss"]
INSTEAD["weighted_metrics"] = INSTEAD["metrics"]


def check(hashing_loss, classification_loss, others):
    """Raises `TypeError` for what the stages cannot train by."""
    for name in others:
        hint = f". {INSTEAD[name]}" if name in INSTEAD else ""
        raise TypeError(f"`HashingModel.compile` has no argument {name!r}{hint}")
    for name, loss, of_what, example in (
        ("hashing_loss", hashing_loss, "codes", "tfhash.losses.DPSHLoss()"),
        (
            "classification_loss",
            classification_loss,
            "logits",
            "keras.losses.SparseCategoricalCrossentropy(from_logits=True)",
        ),
    ):
        if loss is not None and not isinstance(loss, keras.losses.Loss):
            raise TypeError(
                f"`{name}` must be a keras.losses.Loss of labels and {of_what}, such as {example}; "
                f"a function becomes one as the method `call(labels, {of_what})` of a subclass. "
                f"Received: {name}={loss!r}"
            )
