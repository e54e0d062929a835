"""Images in folders."""

import concurrent.futures
import dataclasses
import os
import pathlib

import numpy as np
import tensorflow as tf

from tfhash.data.content import digest, split_by_content
from tfhash.data.images import decode_image, resize_to
from tfhash.data.split import Split, Splits

EXTENSIONS = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp")


@dataclasses.dataclass(frozen=True)
class _Scan:
    """Readable image files below a folder, ordered by path, and those left out."""

    root: pathlib.Path
    paths: list[pathlib.Path]
    digests: list[str]
    skipped: list[str]

    def names(self):
        return [path.relative_to(self.root).as_posix() for path in self.paths]


def load_classes(path, image_shape, query_fraction, validation_fraction, skip_broken):
    """Splits of a folder that has one subfolder per class; see `tfhash.data.load`."""
    root = pathlib.Path(path)
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if len(folders) < 2:
        raise ValueError(
            f"{root} must have one subfolder per class, two or more. "
            f"Received: {_listing([folder.name for folder in folders]) or 'no subfolders'}"
        )
    files_of = {folder.name: _image_files(folder) for folder in folders}
    empty = [name for name, files in files_of.items() if not files]
    if empty:
        raise ValueError(
            f"each class folder of {root} must hold images ({', '.join(EXTENSIONS)}). "
            f"Received: no images in {_listing(empty)}"
        )
    scan = _scan(root, [file for files in files_of.values() for file in files], skip_broken)
    classes = list(files_of)
    label_of = {name: label for label, name in enumerate(classes)}
    labels = np.array([label_of[path.relative_to(root).parts[0]] for path in scan.paths])
    unreadable = sorted(set(classes) - {classes[label] for label in set(labels.tolist())})
    if unreadable:
        raise ValueError(f"no image can be read in the class folders {_listing(unreadable)}")
    queries, validation, train = split_by_content(
        scan.digests, labels, query_fraction, validation_fraction
    )
    names = scan.names()

    def pick(indices):
        return Split.create(
            _images([scan.paths[i] for i in indices], labels[indices], image_shape),
            [names[i] for i in indices],
            labels[indices],
            image_shape,
        )

    return Splits.create(
        source=str(root),
        classes=classes,
        train=pick(train),
        validation=pick(validation),
        queries=pick(queries),
        skipped=scan.skipped,
    )


def load_flat(path, image_shape, skip_broken):
    """All images below a folder, in the order of their paths, with label -1; and those skipped."""
    root = pathlib.Path(path)
    files = _image_files(root)
    if not files:
        raise ValueError(f"no images ({', '.join(EXTENSIONS)}) below {root}")
    scan = _scan(root, files, skip_broken)
    labels = np.full(len(scan.paths), -1)
    images = _images(scan.paths, labels, image_shape)
    split = Split.create(images, scan.names(), labels, image_shape, read_once=True)
    return split, scan.skipped


def _image_files(folder):
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in EXTENSIONS
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _scan(root, files, skip_broken):
    """Reads and decodes every file once, so that a broken one shows before training does."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(_examine, files))
    broken = [
        f"{path.relative_to(root).as_posix()}: {problem}"
        for path, (_, problem) in zip(files, results)
        if problem
    ]
    if broken and not skip_broken:
        raise ValueError(
            f"{len(broken)} of {len(files)} image files in {root} cannot be read: "
            f"{_listing(broken)}. Remove them, or pass skip_broken to leave them out"
        )
    whole = [(path, sha) for path, (sha, problem) in zip(files, results) if not problem]
    if not whole:
        raise ValueError(f"none of the {len(files)} image files in {root} can be read")
    return _Scan(root, [path for path, _ in whole], [sha for _, sha in whole], broken)


def _examine(path):
    """Digest of a file, and what is wrong with it or `None`."""
    try:
        contents = path.read_bytes()
    except OSError as error:
        return None, error.strerror
    if not contents:
        return None, "the file is empty"
    try:
        with tf.device("CPU"):
            decode_image(contents)
    except tf.errors.OpError as error:
        return None, error.message.strip().splitlines()[0][:100]
    return digest(contents), None


def _images(paths, labels, image_shape):
    # Names as bytes, for a file system may hold names that are no valid UTF-8.
    names = tf.constant([os.fsencode(path) for path in paths], tf.string)
    files = tf.data.Dataset.from_tensor_slices((names, np.asarray(labels, "int64")))

    def read(path, label):
        return resize_to(decode_image(tf.io.read_file(path)), image_shape), label

    return files.map(read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def _listing(names, most=5):
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
