"""How a folder is laid out: classes alone, or official parts that hold classes."""

import dataclasses

import numpy as np

from tfhash.text import listing

# Usual spellings of the parts, in lower case.
SPELLINGS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "queries": ("test", "testing"),
}


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where the images of each part and class of a folder are.

    Attributes:
        folders: Name of the folder of each part: `{"train": ""}` for a folder of classes, otherwise
            as `{"train": "train", "queries": "Test"}`.
        classes: Names of the classes, sorted: subfolders of the training folder.
        notes: How the folder is taken, in words.
    """

    folders: dict[str, str]
    classes: list[str]
    notes: list[str]

    def place(self, name):
        """Part and class of a file or folder by its name, or `None` if it belongs to neither."""
        for part, folder in self.folders.items():
            prefix = f"{folder}/" if folder else ""
            if name.startswith(prefix):
                first, _, rest = name[len(prefix) :].partition("/")
                if rest:
                    return part, first
        return None


def find_layout(root, walked):
    """How a folder is laid out.

    Subfolders called train, val and test, in their usual spellings and any case, are the official
    parts if the training folder has subfolders, which are then the classes. Otherwise the
    subfolders themselves are the classes.

    Args:
        root: Path of the folder, for messages.
        walked: `Walk` through it.

    Raises:
        ValueError: If two folders are the same part, or a part has classes that training lacks.
    """
    parts = _official_parts(root, walked)
    if parts is None:
        return Layout({"train": ""}, _below(walked, ""), [])
    classes = _below(walked, parts["train"])
    notes = [
        "taken as the official split: "
        + ", ".join(f"{folder}/ ({part})" for part, folder in parts.items())
    ]
    for part, folder in parts.items():
        unknown = sorted(set(_below(walked, folder)) - set(classes))
        if unknown:
            raise ValueError(
                f"{root}/{folder} must have classes of {parts['train']}/ alone. Received: "
                f"{listing(unknown)}, which {parts['train']}/ does not have"
            )
        missing = sorted(set(classes) - _classes_with_images(walked, folder))
        if missing and part != "train":
            notes.append(f"{folder}/ has no images of {len(missing):,} classes: {listing(missing)}")
    for part, drawn in (("validation", "validation"), ("queries", "test")):
        if part not in parts:
            notes.append(f"there is no {drawn} folder: {part} are drawn from {parts['train']}/")
    return Layout(parts, classes, notes)


def find_parts(names):
    """Official parts of files by the folders at the top, where labels are not folders.

    Args:
        names: Paths of the files below the folder, with `/`.

    Returns:
        `(parts, notes)`: the part of each file, NumPy, and how the folder is taken, in words. There
        are official parts if every file is in a folder called as a part, some in one for training
        and some in another. Otherwise all are `"train"`.

    Example:

    >>> find_parts(["train/1.jpg", "test/2.jpg"])[0].tolist()
    ['train', 'queries']
    >>> find_parts(["train/1.jpg", "cats/2.jpg"])[0].tolist()
    ['train', 'train']
    """
    part_of = {name: part for part, spellings in SPELLINGS.items() for name in spellings}
    folders = [name.partition("/")[0] for name in names]
    parts = [part_of.get(folder.lower(), "") for folder in folders]
    if "" in parts or "train" not in parts or len(set(parts)) < 2:
        return np.full(len(names), "train"), []
    listed = sorted(set(zip(folders, parts)), key=lambda item: list(SPELLINGS).index(item[1]))
    taken = ", ".join(f"{folder}/ ({part})" for folder, part in listed)
    return np.array(parts), [f"taken as the official split: {taken}"]


def _official_parts(root, walked):
    """Folder of each official part, or `None` if the folder has none."""
    parts = {}
    for part, spellings in SPELLINGS.items():
        folders = [name for name in _below(walked, "") if name.lower() in spellings]
        # A part without class folders is no part: images of unknown class, or a class of that name.
        folders = [name for name in folders if _below(walked, name)]
        if len(folders) > 1:
            raise ValueError(
                f"{root} must have one folder for {part}. Received: {', '.join(folders)}"
            )
        if folders:
            parts[part] = folders[0]
    has_only_train = _below(walked, "") == [parts.get("train")]
    if "train" not in parts or not (len(parts) > 1 or has_only_train or _has_loose_part(walked)):
        return None
    return parts


def _has_loose_part(walked):
    """Whether a folder called as a part holds images without class folders, as a test set may."""
    spellings = SPELLINGS["validation"] + SPELLINGS["queries"]
    return any(name.lower() in spellings for name in _below(walked, ""))


def _below(walked, folder):
    """Names of the subfolders right below a folder."""
    prefix = f"{folder}/" if folder else ""
    names = [name[len(prefix) :] for name in walked.folders if name.startswith(prefix)]
    return sorted(name for name in names if "/" not in name)


def _classes_with_images(walked, folder):
    names = [name[len(folder) + 1 :] for name in walked.files if name.startswith(f"{folder}/")]
    return {name.split("/")[0] for name in names if "/" in name}
