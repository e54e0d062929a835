"""Trains a network by a recipe, on labeled images and maybe others, and resumes what was interrupted."""

import dataclasses
import warnings

import numpy as np

from tfhash.callbacks import SelfTraining, TanhContinuation, TimeEstimate, TwoStageTraining
from tfhash.data import PartlyLabeledBatches, sampling
from tfhash.experiments import network
from tfhash.experiments.run_directory import PRETRAINED


def fit(
    model,
    recipe,
    train,
    unlabeled,
    seed,
    backup,
    progress,
    callbacks=(),
    own_loss=False,
    classifier_alone=False,
    first_epoch=0,
):
    """Trains both stages, or a classifier for as many epochs.

    Args:
        model: Compiled `HashingModel`.
        recipe: `Recipe`.
        train: `tfhash.data.Split` with labels.
        unlabeled: `tfhash.data.Split` whose images alone are trained on, maybe empty.
        seed: Seed of the order of training.
        backup: Directory that keeps the state of the run, as a `pathlib.Path`; what it holds is
            resumed.
        progress: `Progress`.
        callbacks: Further callbacks, put first.
        own_loss: Whether the model has another loss than the recipe's.
        classifier_alone: Whether to go on with pre-training in place of fine-tuning. The learning rate
            then decays to 0 once, in all epochs.
        first_epoch: Epochs that another run has trained.

    Returns:
        `TwoStageTraining`, which has the logs. The weights at the end of pre-training are in its
        `pretrained_weights`.
    """
    steps = max(1, (len(train) + len(unlabeled)) // recipe.batch_size)
    pretrain_epochs, rates = recipe.pretrain_epochs, recipe
    if classifier_alone:
        pretrain_epochs = recipe.epochs()
        rates = dataclasses.replace(
            recipe, pretrain_epochs=pretrain_epochs, finetune_learning_rate=0.0
        )
    stages = TwoStageTraining(
        pretrain_epochs,
        network.schedule(rates, "pretrain", steps),
        network.schedule(rates, "finetune", steps),
        pretrained_weights=backup / PRETRAINED,
        backup_dir=backup,
        frozen_epochs=recipe.frozen_epochs(),
    )
    epochs_done = stages.epochs_done()
    if epochs_done:
        progress.say(f"Resuming after {epochs_done:,} of {recipe.epochs():,} epochs")
    callbacks = [*callbacks, stages, TimeEstimate()]
    if recipe.loss == "hashnet" and not (own_loss or classifier_alone):
        callbacks.append(TanhContinuation(first_epoch=recipe.pretrain_epochs))
    first_epoch = epochs_done or first_epoch
    batches, self_training = _batches(recipe, train, unlabeled, seed, first_epoch, pretrain_epochs)
    with warnings.catch_warnings():
        if classifier_alone:
            warnings.filterwarnings("ignore", message=".*the hashing head stays untrained")
        model.fit(
            batches,
            # Partly labeled batches know how many they are.
            steps_per_epoch=None if self_training else steps,
            epochs=recipe.epochs(),
            initial_epoch=first_epoch,
            shuffle=False,
            verbose=progress.verbose,
            callbacks=[*self_training, *callbacks, *progress.callbacks(recipe.epochs())],
        )
    return stages


def with_class_batches(recipe, labels, progress):
    """A recipe with batches of classes x items, where random batches lack similar pairs.

    Args:
        recipe: `Recipe`.
        labels: Labels of the training items.
        progress: `Progress`.
    """
    chosen = sampling.choose_items_per_class(labels, recipe.batch_size)
    if not chosen:
        return recipe
    similar = sampling.similar_items_per_anchor(labels, recipe.batch_size)
    progress.say(
        f"A random batch of {recipe.batch_size} holds {similar:.2g} similar images per image, too few "
        f"to learn from: batches are made of {chosen} images per class (--items_per_class=0 for random "
        "batches)"
    )
    return dataclasses.replace(recipe, items_per_class=chosen)


def _batches(recipe, train, unlabeled, seed, first_epoch, pretrain_epochs):
    """Training batches, and the callbacks that they need."""
    if len(unlabeled):
        batches = partly_labeled_batches(train, unlabeled, recipe, seed)
        return batches, [SelfTraining(batches, recipe.supervised_epochs(), pretrain_epochs)]
    batches = train.shuffled_batches(
        recipe.batch_size,
        seed,
        first_epoch,
        recipe.augmentation(),
        recipe.augmented_epochs(),
        recipe.items_per_class or None,
    )
    return batches, []


def partly_labeled_batches(train, unlabeled, recipe, seed):
    """Training batches of labeled images and of others, whose labels training must not see."""
    return PartlyLabeledBatches(
        np.concatenate([train.images(), unlabeled.images()]),
        np.concatenate([train.labels, np.full(len(unlabeled), -1)]),
        recipe.batch_size,
        seed,
        recipe.augmentation(),
        recipe.augmented_epochs(),
    )
