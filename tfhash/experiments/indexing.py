"""Makes an index of a folder of images, and takes in what has changed there.

    from tfhash import experiments

    run = experiments.Run("runs/photos-32")
    experiments.index_images("photos/", run.model, "photos.index")

What was encoded when a run is interrupted need not be encoded again.
"""

import dataclasses
import os
import time

import numpy as np

from tfhash import data
from tfhash.experiments.code_files import Origin
from tfhash.experiments.datasets import say_summary
from tfhash.experiments.image_index import ImageIndex, check_output
from tfhash.experiments.interruption import continued_by
from tfhash.experiments.progress import Progress
from tfhash.experiments.unfinished import UnfinishedCodes
from tfhash.index import HammingIndex, OtherModelError
from tfhash.models import fingerprint
from tfhash.text import printable

# A portion that is kept when a run is interrupted grows until it takes so long to encode.
PORTION_SECONDS = 10


@dataclasses.dataclass(frozen=True)
class Changes:
    """What became of the images of an index.

    Attributes:
        added, changed, removed, unchanged: Numbers of images.
        summary: What was read and left out, `tfhash.data.Summary`.
    """

    added: int
    changed: int
    removed: int
    unchanged: int
    summary: data.Summary

    @property
    def images(self):
        """Number of images in the index."""
        return self.added + self.changed + self.unchanged

    def __str__(self):
        return (
            f"{self.added:,} added, {self.changed:,} changed, {self.removed:,} removed, "
            f"{self.unchanged:,} unchanged"
        )


def index_images(
    folder,
    model,
    output,
    progress=None,
    *,
    update=False,
    overwrite=False,
    skip_broken=False,
    batch_size=256,
    model_path="",
):
    """Encodes the images of a folder and writes an index of them.

    The codes are those of `model.encode`. Codes are kept beside `output` while images are encoded; an
    interrupted run continues from them when it is started again with the same model and folder.

    An update encodes the images that are new, or whose file has another size or time of change. An
    image keeps its id as long as its name is there; a renamed one is removed and added.

    Args:
        folder: Path of the folder, searched at any depth. `None` updates from the folder that
            `output` was made from.
        model: `HashingModel`.
        output: Path of the index.
        progress: `Progress`; by default nothing is printed.
        update: Take what has not changed from `output`, if it exists.
        overwrite: Encode all images again and replace `output`.
        skip_broken: Leave out image files that cannot be read. Otherwise they are an error that
            names them, after all others were encoded, which a later run need not do again.
        batch_size: Images encoded at a time.
        model_path: Where `tfhash search` finds the model; not needed from Python.

    Returns:
        `Changes`.

    Raises:
        ValueError: If `output` exists and neither `update` nor `overwrite` is set; it was made from
            another folder, which still exists; there are no images; or files are broken.
        tfhash.index.OtherModelError: If the codes to be updated come from another model.
        FileNotFoundError: If the folder does not exist.

    Example:

        run = tfhash.experiments.Run("runs/photos-32")
        changes = tfhash.experiments.index_images("photos/", run.model, "photos.index", update=True)
        print(changes)
    """
    progress = Progress(0) if progress is None else progress
    check_output(output, update, overwrite)
    identity = fingerprint(model)
    before = _before(output, identity) if update and os.path.exists(output) else None
    if folder is None:
        if before is None:
            raise ValueError("`folder` must be given for a new index")
        folder = before.origin.folder
    images = data.ImageFiles.below(folder)
    origin = Origin(
        identity,
        os.path.abspath(model_path) if model_path else before.origin.model_path if before else "",
        os.path.realpath(folder),
    )
    if before is None:
        before = ImageIndex(HammingIndex(model.bits, model=identity), origin, {})
    else:
        _check_folder(before.origin.folder, origin.folder, output, progress)
    id_of = _ids_by_name(before.index)
    stamps = before.stamps or {}
    wanted = [name for name in images.names if stamps.get(id_of.get(name)) != images.stamps[name]]
    unfinished = UnfinishedCodes(output, identity, origin.folder)
    with unfinished.open(overwrite):
        with continued_by(unfinished.how_to_continue):
            codes = _encode(images, wanted, model, unfinished, progress, batch_size)
        try:
            images.check_readable(skip_broken)
        except ValueError as error:
            raise ValueError(f"{error}{_kept_in_words(codes)}") from None
        say_summary(images.summary(), progress)
        changes = _apply(before, id_of, images, codes, wanted)
        if changes.added + changes.changed + changes.removed or before.origin != origin:
            before.origin = origin
            before.save(output)
        unfinished.remove()
    return changes


def _before(output, identity):
    """The index to be updated."""
    before = ImageIndex.load(output, with_stamps=True)
    if before.stamps is None:
        raise ValueError(
            f"{output} was not made of images, so that what has changed is not known. Pass "
            "`overwrite` to make it of images"
        )
    if before.index.model != identity:
        raise OtherModelError(
            f"the codes of {output} come from another model. Give that one, or pass `overwrite` to "
            "encode all images with this one"
        )
    return before


def _check_folder(before, now, output, progress):
    if before == now:
        return
    if os.path.isdir(before):
        raise ValueError(
            f"{output} was made of the images in {before}. Received: {now}. Give another `output`, "
            "or pass `overwrite` to replace it"
        )
    progress.say(f"the images have moved from {printable(before, 200)} to {printable(now, 200)}")


def _ids_by_name(index):
    ids = index.ids
    return dict(zip(index.names_of(ids).tolist(), ids.tolist()))


def _encode(images, wanted, model, unfinished, progress, batch_size):
    """Codes of the readable ones among the wanted images, by name."""
    stamps = images.stamps
    kept = unfinished.read()
    codes = {
        name: kept[name][1] for name in wanted if name in kept and kept[name][0] == stamps[name]
    }
    rest = [name for name in wanted if name not in codes]
    if codes:
        progress.say(
            f"continuing an interrupted run: {len(codes):,} of {len(wanted):,} images are encoded"
        )
    if not rest:
        return codes
    with progress.counting(len(rest), images.root) as add:
        size, done = batch_size, 0
        while done < len(rest):
            started = time.perf_counter()
            portion = rest[done : done + size]
            split = images.read(portion, model.image_shape)
            if len(split):
                made = model.encode(split.batches(batch_size))
                unfinished.add(split.names, [stamps[name] for name in split.names], made)
                codes.update(zip(split.names, made))
            done += len(portion)
            add(len(portion))
            if time.perf_counter() - started < PORTION_SECONDS / 2:
                size *= 2
    return codes


def _kept_in_words(codes):
    if not codes:
        return ""
    return f". The codes of {len(codes):,} others are kept: the same command continues from them"


def _apply(before, id_of, images, codes, wanted):
    """Brings an index and its stamps up to date."""
    added = [name for name in wanted if name in codes and name not in id_of]
    changed = [name for name in wanted if name in codes and name in id_of]
    encoded = set(wanted)
    kept = {name for name in images.names if name not in encoded} | set(changed)
    removed = [name for name in id_of if name not in kept]
    index, stamps = before.index, before.stamps
    ids = [id_of[name] for name in changed]
    gone = [id_of[name] for name in removed]
    index.remove(np.array(ids + gone, np.int64))
    for item in gone:
        del stamps[item]
    if changed:
        index.add(np.stack([codes[name] for name in changed]), ids=ids, names=changed)
    if added:
        new = index.add(np.stack([codes[name] for name in added]), names=added)
        ids += new.tolist()
    stamps.update(zip(ids, (images.stamps[name] for name in changed + added)))
    unchanged = len(index) - len(added) - len(changed)
    return Changes(len(added), len(changed), len(removed), unchanged, images.summary())
