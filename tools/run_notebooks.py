"""Executes the notebooks from a clean kernel, and stores them with what they printed and drew.

    python tools/run_notebooks.py                       # all of them
    python tools/run_notebooks.py quickstart the_method

    python tools/run_notebooks.py --offline             # `your_photos` downloads nothing

Prepared datasets are read from `TFDS_DATA_DIR`, or from `../shared/datasets` where that exists. Offline,
photos are those of CIFAR-10, enlarged, and the file `TFHASH_NOTEBOOK_WEIGHTS` holds the weights of MobileNetV2.
"""

import argparse
import hashlib
import os
import pathlib
import re
import shutil
import sys
import tempfile
import time

import nbformat
from nbclient import NotebookClient

ROOT = pathlib.Path(__file__).parents[1]
FOLDER = ROOT / "notebooks"
NAMES = ("quickstart", "your_photos", "your_keras_model", "serving", "the_method")
PREPARED = ROOT.parent / "shared" / "datasets"

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

# Where the notebooks are opened and installed from.
REPOSITORY = "tfhash/tfhash"

# Lines that TensorFlow's C++ code logs: they tell of the machine, not of the notebook.
LOGGED = re.compile(
    r"^(WARNING: All log messages before absl|To enable the following instructions: |[IWE]\d{4} ).*\n?",
    re.MULTILINE,
)

# Longest time of a cell, in seconds, on a busy machine.
TIMEOUT = 1800


def read(name):
    """A stored notebook."""
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def digest(notebook):
    """SHA-256 of the sources of all cells. It is stored with the outputs, to tell stale ones."""
    sources = "\0".join(f"{cell.cell_type}\n{cell.source}" for cell in notebook.cells)
    return hashlib.sha256(sources.encode()).hexdigest()


def write_photos(directory, most, side, classes=("cat", "dog", "horse", "ship", "truck")):
    """Writes photos of CIFAR-10, enlarged, as `directory/CLASS/PLACE.jpg`.

    Args:
        directory: Path to make.
        most: Photos of each class.
        side: Of the files, in pixels.
        classes: Which.
    """
    import tensorflow_datasets as tfds
    from PIL import Image

    # 20 times as many hold enough of every class.
    images = tfds.load(
        "cifar10", split=f"test[:{20 * most}]", as_supervised=True, data_dir=data_dir()
    )
    written = dict.fromkeys(classes, 0)
    for place, (image, label) in enumerate(images.as_numpy_iterator()):
        name = CIFAR10[label]
        if written.get(name, most) < most:
            written[name] += 1
            folder = pathlib.Path(directory, name)
            folder.mkdir(parents=True, exist_ok=True)
            photo = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)
            photo.save(folder / f"{place:05d}.jpg", quality=90)


def data_dir():
    """Where datasets are prepared; `None` for the choice of tensorflow-datasets."""
    default = str(PREPARED) if PREPARED.is_dir() else None
    return os.environ.get("TFDS_DATA_DIR", default)


def execute(notebook, directory, **variables):
    """Runs all cells of a notebook in place, in a kernel of its own.

    Args:
        notebook: Notebook, as `read` returns it.
        directory: Working directory of the kernel.
        **variables: Environment variables of the kernel, beside those of this process.

    Raises:
        nbclient.exceptions.CellExecutionError: If a cell raises; the message has its source.
    """
    path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PATH": path}
    # The checkout, whatever is installed.
    places = [str(ROOT), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, places))
    if data_dir():
        environment["TFDS_DATA_DIR"] = data_dir()
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(directory)}},
    )
    client.execute(env=environment | variables)
    _drop_log_lines(notebook)
    # The version of Python says nothing about the notebook.
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata["executed"] = digest(notebook)


def _offline(directory):
    """Photos and weights for `your_photos`, in its working directory, so that it shows no path of this machine."""
    write_photos(pathlib.Path(directory, "cifar10"), most=81, side=160)
    variables = {"TFHASH_NOTEBOOK_PHOTOS": "cifar10", "TFHASH_NOTEBOOK_WEIGHTS": "none"}
    if weights := os.environ.get("TFHASH_NOTEBOOK_WEIGHTS"):
        variables["TFHASH_NOTEBOOK_WEIGHTS"] = "mobilenet_v2.weights.h5"
        shutil.copy(weights, pathlib.Path(directory, "mobilenet_v2.weights.h5"))
    return variables


def _drop_log_lines(notebook):
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and output.name == "stderr":
                output.text = LOGGED.sub("", output.text)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("text") != ""]


def main():
    from tfhash.files import atomic_write

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument("--offline", action="store_true", help="download no photos and weights")
    given = parser.parse_args()
    for name in given.names or NAMES:
        notebook = read(name)
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as directory:
            is_offline = given.offline and name == "your_photos"
            execute(notebook, directory, **(_offline(directory) if is_offline else {}))
        with atomic_write(FOLDER / f"{name}.ipynb") as temporary:
            nbformat.write(notebook, temporary)
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
