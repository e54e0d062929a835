"""Draws queries and the images that were found for them."""

import os

import numpy as np

from tfhash import data, plots
from tfhash.experiments.pictures import NEIGHBORS_SHOWN, QUERIES_SHOWN
from tfhash.experiments.search_results import distance_in_words

# Side of a picture, in pixels.
SIDE = 160


def draw(found, queries, index, path, folder=None):
    """Draws what was found, as `neighbors.png` of a training run.

    Args:
        found: `tfhash.experiments.search_results.Found`.
        queries: `tfhash.experiments.searching.Queries` of images.
        index: `ImageIndex`.
        path: Picture to write, whole or not at all.
        folder: Folder of the indexed images; by default the one that the index remembers.

    Returns:
        What the picture does not show, in sentences.

    Raises:
        ValueError: If it is not known where the images are.
        FileNotFoundError: If their folder does not exist.
    """
    folder = index.find_folder(folder)
    answers = found.answers[:QUERIES_SHOWN]
    shown = [answer.items[:NEIGHBORS_SHOWN] for answer in answers]
    query_names = [answer.query for answer in answers]
    found_names = list(dict.fromkeys(item.name for items in shown for item in items))
    pictures = _thumbnails(folder, found_names)
    query_pictures = _thumbnails("", query_names)
    figure = plots.plot_neighbors(
        [query_pictures.get(name) for name in query_names],
        [[pictures.get(item.name) for item in items] for items in shown],
        None,
        [[distance_in_words(item.distance) for item in items] for items in shown],
        (
            [os.path.basename(name) for name in query_names],
            [[os.path.basename(item.name) for item in items] for items in shown],
        ),
    )
    plots.save_figure(figure, path)
    notes = []
    if len(answers) < len(found.answers):
        notes.append(f"the picture shows {len(answers)} of {len(found.answers):,} queries")
    most = max(len(answer.items) for answer in answers)
    if most > NEIGHBORS_SHOWN:
        notes.append(f"the picture shows {NEIGHBORS_SHOWN} images of a query at most")
    if missing := [name for name in found_names if name not in pictures]:
        notes.append(f"{len(missing):,} images are gray: they cannot be read in {folder} any more")
    return notes


def _thumbnails(folder, names):
    """Pictures as a viewer shows them, on white squares: a dictionary by name of those readable."""
    import tensorflow as tf
    from PIL import Image, ImageOps

    images = data.ImageFiles(folder, names)
    split = images.read(images.names, (SIDE, SIDE, 3))
    pictures = {}
    for place, name in enumerate(split.names):
        with tf.device("CPU"):
            picture = Image.fromarray(split.source.image(tf.constant(place)).numpy())
        fitted = ImageOps.pad(picture, (SIDE, SIDE), Image.Resampling.LANCZOS, "white")
        pictures[name] = np.asarray(fitted)
    return pictures
