"""Executes the notebooks from a clean kernel, and stores them with what they printed and drew.

    python tools/run_notebooks.py                       # all of them
    python tools/run_notebooks.py quickstart the_method

    python tools/run_notebooks.py --offline             # `your_photos` downloads nothing

Prepared datasets are read from `TFDS_DATA_DIR`, or from `../shared/datasets` where that exists. Offline,
photos are those of CIFAR-10, enlarged, and `TFHASH_NOTEBOOK_WEIGHTS` must name a file with the weights of
MobileNetV2, without its top. Without that file `--offline` runs every notebook but `your_photos`, by name.
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


def environment(**variables):
    """Environment variables of a kernel: those of this process, and those given."""
    path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ.get("PATH", "")])
    found = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PATH": path}
    # The checkout, whatever is installed.
    places = [str(ROOT), found.get("PYTHONPATH", "")]
    found["PYTHONPATH"] = os.pathsep.join(filter(None, places))
    if data_dir():
        found["TFDS_DATA_DIR"] = data_dir()
    return found | variables


def execute(notebook, directory, kernel=None, **variables):
    """Runs all cells of a notebook in place.

    Args:
        notebook: Notebook, as `read` returns it.
        directory: Working directory of the kernel.
        kernel: Manager of a kernel that runs already, with a directory and variables of its own; by
            default a kernel is started for this notebook.
        **variables: Environment variables of the kernel, beside those of this process.

    Raises:
        nbclient.exceptions.CellExecutionError: If a cell raises; the message has its source.
    """
    client = NotebookClient(
        notebook,
        km=kernel,
        timeout=TIMEOUT,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(directory)}},
    )
    client.execute(env=environment(**variables))
    _drop_log_lines(notebook)
    # The version of Python says nothing about the notebook.
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata["executed"] = digest(notebook)


def _offline(directory, weights):
    """Photos and weights for `your_photos`, in its working directory, so that it shows no path of this machine."""
    write_photos(pathlib.Path(directory, "cifar10"), most=81, side=160)
    copied = pathlib.Path(directory, "mobilenet_v2.weights.h5")
    shutil.copy(weights, copied)
    return {"TFHASH_NOTEBOOK_PHOTOS": "cifar10", "TFHASH_NOTEBOOK_WEIGHTS": copied.name}


def _drop_log_lines(notebook):
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and output.name == "stderr":
                output.text = LOGGED.sub("", output.text)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("text") != ""]


def _cpu_of_kernels():
    """Seconds of CPU that kernels used which have ended, and what they started."""
    times = os.times()
    return times.children_user + times.children_system


def main(arguments=None):
    from tfhash.files import atomic_write

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument("--offline", action="store_true", help="download no photos and weights")
    given = parser.parse_args(arguments)
    names = given.names or NAMES
    weights = os.environ.get("TFHASH_NOTEBOOK_WEIGHTS")
    is_offline = given.offline and "your_photos" in names
    if is_offline and not (weights and os.path.isfile(weights)):
        parser.error(
            "--offline needs a file of MobileNetV2's weights without its top: set "
            "TFHASH_NOTEBOOK_WEIGHTS to its path, or name the notebooks to run without your_photos. "
            f"Received: TFHASH_NOTEBOOK_WEIGHTS={weights!r}"
        )
    for name in names:
        notebook = read(name)
        started, used = time.perf_counter(), _cpu_of_kernels()
        with tempfile.TemporaryDirectory() as directory:
            offline = is_offline and name == "your_photos"
            execute(notebook, directory, **(_offline(directory, weights) if offline else {}))
        with atomic_write(FOLDER / f"{name}.ipynb") as temporary:
            nbformat.write(notebook, temporary)
        elapsed, used = time.perf_counter() - started, _cpu_of_kernels() - used
        print(f"{name}: {elapsed:.0f} s, {used:.0f} s of CPU", flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
