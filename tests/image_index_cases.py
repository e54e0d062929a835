"""What the tests of `tfhash index` share."""

import numpy as np
from PIL import Image

from tfhash.cli import main
from tfhash.experiments import ImageIndex


def contents(path):
    """Codes by name, and ids by name."""
    index = ImageIndex.load(path, with_stamps=True)
    assert set(index.stamps) == set(index.index.ids.tolist())
    codes, ids = index.index.items()
    names = index.index.names_of(ids).tolist()
    return dict(zip(names, map(bytes, codes))), dict(zip(names, ids.tolist()))


def codes_of(photos, run_directory, tmp_path):
    """What `tfhash encode` makes of a folder, by name."""
    output = tmp_path / "codes.npz"
    arguments = [f"--model={run_directory}", f"--images={photos}", f"--output={output}"]
    assert main(["encode", *arguments, "--overwrite", "--skip_broken"]) == 0
    written = np.load(output)
    return dict(zip(written["names"].tolist(), map(bytes, written["codes"])))


def paint(path, value):
    """Writes a small image of one color."""
    Image.new("RGB", (8, 8), (value, 255 - value, value // 2)).save(path)
